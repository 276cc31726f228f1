# make        environment in .venv, the whole pipeline, its runs in MLflow
# make demo   only the anime heads, as far as their images: minutes; `make` goes on from there
# make test   the quick tests, about a quarter of an hour
# make test-all   and then those that take long
# make drills  kills, full disks, hanging servers and the like; writes the table in docs/reliability.md
# make fuzz   the tests of damaged input, with other examples each time
# make lint   ruff and mypy; make format lets ruff fix what it can
# make ui     MLflow's web page over the runs
# make push   the outputs that dvc.lock names, to DVC's default remote
# make pull   and back; "Not in cache" then lists what is on neither the remote nor this machine
# make remotes  what S3 and SSH need, and what tests them
# make dask   what workers of Dask need, see docs/scale.md
# make slurm  what submits jobs to Slurm from Python, see docs/training.md
# make app    what `lockstep app` needs
# make docs   README.md and docs/ as a site, in site/index.html
# make results  the figures and pictures of a finished `make` into README.md and docs/
# make lock   the newest versions that pyproject.toml allows into requirements*.lock; installs nothing
# make audit  what is known to be unsafe in them
# make licences  docs/licences.md, after `make remotes dask slurm app`
# make clean  remove the outputs, checkpoints and environment (DVC's cache and MLflow's store stay)

PYTHON ?= python3.11
# Where the environment is; the image of Dockerfile has its own.
LOCKSTEP_ENV ?= .venv
BIN := $(LOCKSTEP_ENV)/bin
# Stages say `python`: it must be the environment's.
export PATH := $(abspath $(BIN)):$(PATH)
export VIRTUAL_ENV := $(abspath $(LOCKSTEP_ENV))
# It would hide tools/ from `python -m`.
unexport PYTHONSAFEPATH

.PHONY: all demo env test test-all drills fuzz lint format ui remote push pull remotes dask slurm app docs results lock audit licences clean

all: env
	dvc repro
	lockstep track

demo: env
	dvc repro sample@anime
	@echo 'Look at plots/anime/sample/images.png, strip.png and strips/anime/denoising.gif'

env: $(BIN)/.complete

$(BIN)/.complete: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(LOCKSTEP_ENV)
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

test: env
	pytest --numprocesses auto --maxprocesses 4 $(PYTEST)

test-all: test
	pytest --numprocesses auto --maxprocesses 4 -m long

drills: env
	pytest --numprocesses auto --maxprocesses 4 -m drill --drills=docs/reliability.md

fuzz: env
	pytest --numprocesses auto --maxprocesses 4 --hypothesis-profile random tests/test_fuzz_*.py

lint: env
	ruff check
	ruff format --check
	mypy

format: env
	ruff check --fix
	ruff format

ui: env
	MLFLOW_BACKEND_STORE_URI="$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" mlflow ui

remote: env
	@test -n "$$(dvc config core.remote)" || { \
		echo 'error: no default remote; `dvc remote add --default NAME ADDRESS`, see docs/sharing.md' >&2; exit 1; }

push: remote
	dvc push

pull: remote
	dvc pull --allow-missing
	dvc data status

remotes: env
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-remotes.lock

dask: env
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-dask.lock

slurm: env
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-slurm.lock

app: env
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-app.lock

docs: env
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-docs.lock
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict

results: env
	$(BIN)/python -m tools.results
	$(BIN)/python -m tools.pipeline
	$(BIN)/python -m tools.scale

lock:
	$(PYTHON) -m venv .scratch/lock
	.scratch/lock/bin/python -m pip install --quiet --upgrade uv
	tools/lock .scratch/lock/bin/uv

audit:
	$(PYTHON) -m venv .scratch/audit
	.scratch/audit/bin/python -m pip install --quiet --upgrade pip-audit
	cat requirements*.lock > .scratch/audit/all.txt
	.scratch/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement .scratch/audit/all.txt

licences: env
	python -m tools.licences

clean:
	rm -rf .venv .scratch autoencoders data evaluators models noisy_classifiers plots samples site strips tables

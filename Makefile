# make        environment in .venv, the whole pipeline, its runs in MLflow
# make demo   only the anime heads, as far as their images: minutes; `make` goes on from there
# make test   the tests, in minutes
# make test-all   and then those that take long
# make lint   ruff and mypy
# make ui     MLflow's web page over the runs
# make push   the outputs that dvc.lock names, to DVC's default remote
# make pull   and back; "Not in cache" then lists what is on neither the remote nor this machine
# make remotes  what S3 and SSH need, and what tests them
# make app    what `lockstep app` needs
# make docs   README.md and docs/ as a site, in site/index.html
# make clean  remove the outputs, checkpoints and environment (DVC's cache and MLflow's store stay)

PYTHON ?= python3.11
BIN := .venv/bin
# Stages say `python`: it must be the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv

.PHONY: all demo env test test-all lint ui remote push pull remotes app docs clean

all: env
	dvc repro
	lockstep track

demo: env
	dvc repro sample@anime
	@echo 'Look at plots/anime/sample/images.png, strip.png and strips/anime/denoising.gif'

env: $(BIN)/.complete

$(BIN)/.complete: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

test: env
	pytest --numprocesses auto --maxprocesses 4

test-all: test
	pytest --numprocesses auto --maxprocesses 4 -m long

lint: env
	ruff check
	ruff format --check
	mypy

ui: env
	mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}"

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

app: env
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-app.lock

docs: env
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-docs.lock
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict

clean:
	rm -rf .venv .scratch autoencoders data evaluators models plots samples site strips tables

# The environment alone, for a checkout that is mounted at /lockstep:
#
#   docker build --build-arg UID=$(id -u) --tag lockstep .
#   docker run --rm -it -v "$PWD:/lockstep" lockstep                  # make
#   docker run --rm -it -v "$PWD:/lockstep" --gpus all lockstep bash
#
# The torch of requirements.lock has CUDA in it: with `--gpus all` it uses the GPU, without the CPU.
FROM python:3.11.14-slim-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make openssh-client \
    && rm -rf /var/lib/apt/lists/*

# Outputs in the checkout belong to whoever has this number.
ARG UID=1000
RUN useradd --create-home --shell /bin/bash --uid "$UID" lockstep
USER $UID

# In the home folder: a development container makes that its user's.
ENV LOCKSTEP_ENV=/home/lockstep/env
ENV PATH=$LOCKSTEP_ENV/bin:$PATH PIP_NO_CACHE_DIR=1
WORKDIR /lockstep
COPY requirements.lock /tmp/requirements.lock
RUN python -m venv "$LOCKSTEP_ENV" \
    && python -m pip install --no-deps --requirement /tmp/requirements.lock
CMD ["make"]

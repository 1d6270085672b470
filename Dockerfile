# The pipeline on the current stack: Python 3.13, TFX 1.21, TensorFlow 2.21, from the hashed lock.
#   docker build --target pipeline --tag fovea:0.1.0 .
FROM python:3.13.9-slim-trixie AS build
# One package of the lock has no wheel (pyfarmhash); the compiler stays in this stage.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /fovea
COPY Makefile pyproject.toml requirements.lock README.md ./
COPY scripts scripts
COPY models models
COPY serving serving
COPY components components
COPY pipeline pipeline
RUN make setup

FROM python:3.13.9-slim-trixie AS pipeline
# The folders are made here for volumes to take over their owner.
RUN useradd --uid 10001 --create-home fovea \
 && install --directory --owner=fovea --group=fovea /state /state/models /artifacts
WORKDIR /fovea
COPY --from=build /fovea /fovea
COPY examples examples
# Libraries that keep caches at home (Matplotlib, Keras) keep them in /tmp: the rest may be read-only.
ENV PATH=/fovea/.venv/bin:$PATH \
    FOVEA_HOME=/state \
    HOME=/tmp \
    PYTHONUNBUFFERED=1
USER 10001:10001
ENTRYPOINT ["fovea"]
CMD ["--help"]

# MLflow's server: the very version that the pipeline talks with, and the driver of its database.
FROM pipeline AS mlflow
USER root
COPY scripts/postgresql.lock scripts/postgresql.lock
RUN uv pip install --no-cache --python .venv/bin/python --require-hashes -r scripts/postgresql.lock
USER 10001:10001
ENTRYPOINT ["mlflow"]
CMD ["server", "--help"]

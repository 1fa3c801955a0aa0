# The training side of unbundle: the packages that a Prefect worker's runs import. Their code is that
# of the clone in which they work (infra/kubernetes/worker.yaml).
#   docker build -f infra/worker.Dockerfile -t unbundle-worker .
FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /home/unbundle unbundle
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY unbundle unbundle
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[train,orchestrate]' \
    && pip check --disable-pip-version-check
# The root file system may be read-only: what packages write goes to /tmp.
ENV PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    PREFECT_HOME=/tmp/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DVC_NO_ANALYTICS=1 \
    DVC_SITE_CACHE_DIR=/tmp/dvc \
    DO_NOT_TRACK=1
WORKDIR /srv/unbundle
USER 10001
CMD ["prefect", "worker", "start", "--pool", "unbundle", "--type", "process"]

# Two images from one file:
#   docker build --target producer -t omero-import-fleet-producer:0.1.0 .    for acquisition hosts, without omero-py
#   docker build --target worker -t omero-import-fleet-worker:0.1.0 .        the default
# All packages are pinned with hashes; zeroc-ice, which PyPI has as source only, is compiled once (about 2 minutes).

FROM python:3.12-slim-bookworm AS base
ENV PATH=/opt/fleet/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    HOME=/tmp
WORKDIR /src


FROM base AS ice
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libbz2-dev libssl-dev \
    && rm -rf /var/lib/apt/lists/*
COPY tools/build_ice.py tools/
RUN ["python", "tools/build_ice.py", "--cache", "/ice"]


FROM base AS package
COPY requirements/build.txt requirements/
RUN ["pip", "install", "--no-deps", "--require-hashes", "--requirement", "requirements/build.txt"]
COPY pyproject.toml README.md LICENSE ./
COPY common/ common/
COPY producer/ producer/
COPY worker/ worker/
RUN ["pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "/wheels", "."]


FROM base AS producer-environment
RUN ["python", "-m", "venv", "/opt/fleet"]
COPY requirements/producer.txt requirements/
RUN pip install --no-deps --require-hashes --requirement requirements/producer.txt
COPY --from=package /wheels/ /wheels/
RUN pip install --no-deps --no-index /wheels/*.whl && pip check


FROM base AS worker-environment
RUN ["python", "-m", "venv", "/opt/fleet"]
COPY --from=ice /ice/wheels/ /ice/
RUN pip install --no-deps --no-index /ice/*.whl
COPY requirements/worker.txt requirements/
RUN pip install --no-deps --require-hashes --requirement requirements/worker.txt
COPY --from=package /wheels/ /wheels/
RUN pip install --no-deps --no-index /wheels/*.whl && pip check


FROM base AS runtime
LABEL org.opencontainers.image.title="omero-import-fleet" \
      org.opencontainers.image.licenses="GPL-2.0-or-later"
# Numeric, so that Kubernetes can see that it is not root.
RUN groupadd --gid 10001 fleet && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp fleet
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["omero-fleet"]


FROM runtime AS producer
# A new volume takes its owner from here.
USER root
RUN install --directory --mode 0700 --owner 10001 --group 10001 /var/spool/omero-fleet
USER 10001:10001
ENV OMERO_FLEET_PRODUCER__SPOOL=/var/spool/omero-fleet
COPY --from=producer-environment /opt/fleet /opt/fleet
CMD ["--help"]


FROM runtime AS worker
COPY --from=worker-environment /opt/fleet /opt/fleet
EXPOSE 9101
# The port is that of the settings; liveness does not depend on RabbitMQ or OMERO.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=4 \
    CMD ["python", "-c", "from urllib.request import urlopen; from fleet_common.settings import load; urlopen(f'http://127.0.0.1:{load().metrics.port}/healthz', timeout=5)"]
CMD ["work"]

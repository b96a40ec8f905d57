# Image satseg/mlflow: the MLflow server of docker-compose.yaml. Built by `make images`.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm

FROM ${BASE_IMAGE} AS packages
WORKDIR /build
COPY docker/requirements/mlflow.txt packages.txt
RUN python3 -m venv /opt/mlflow && /opt/mlflow/bin/pip install --no-cache-dir --no-deps --quiet -r packages.txt

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --no-create-home --home-dir /tmp mlflow
COPY --from=packages /opt/mlflow /opt/mlflow
COPY --chmod=755 docker/mlflow-start.sh /usr/local/bin/mlflow-start
ENV PATH=/opt/mlflow/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
EXPOSE 5000
ENTRYPOINT ["mlflow-start"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/health', timeout=5)"]
ARG VERSION=0
ARG GIT_COMMIT=unknown
LABEL org.opencontainers.image.title="satseg mlflow" \
      org.opencontainers.image.description="MLflow server with PostgreSQL, S3 and logins" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"

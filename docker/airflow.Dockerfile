# Image satseg/airflow: the orchestrator (API server, scheduler, DAG processor, triggerer, Celery workers). It holds no
# machine learning: stages run in satseg/satseg and satseg/satseg-gpu. Built by `make images`; needs BuildKit.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm

FROM ${BASE_IMAGE} AS tools
WORKDIR /build
COPY requirements.txt .
RUN grep -E '^(uv|setuptools)==' requirements.txt > tools.txt && \
    python3 -m venv /opt/tools && \
    /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check -r tools.txt

FROM tools AS packages
COPY docker/requirements/airflow.txt packages.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    python3 -m venv --without-pip /opt/satseg && \
    /opt/tools/bin/uv pip install --python /opt/satseg/bin/python --link-mode copy --compile-bytecode --no-deps \
        -r packages.txt

# a layer of its own: another commit does not copy the packages again
FROM packages AS code
COPY pyproject.toml README.md LICENSE ./
COPY include include
RUN /opt/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . && \
    /opt/tools/bin/uv pip install --python /opt/satseg/bin/python --compile-bytecode --no-deps dist/*.whl && \
    mkdir -p /code/lib/python3.11/site-packages /code/bin && \
    mv /opt/satseg/lib/python3.11/site-packages/satseg* /code/lib/python3.11/site-packages/ && \
    mv /opt/satseg/bin/satseg /code/bin/

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --no-create-home --home-dir /tmp satseg && install -d -o satseg /workspace /opt/airflow/home
COPY --from=packages /opt/satseg /opt/satseg
# the plugin reads dataset versions, which are commits and tags
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY --from=code /code /opt/satseg
COPY --chmod=755 docker/airflow-health /usr/local/bin/
COPY airflow.cfg /opt/airflow/
COPY dags /opt/airflow/dags
COPY plugins /opt/airflow/plugins
COPY include/projects /opt/satseg/projects
ENV PATH=/opt/satseg/bin:$PATH \
    HOME=/tmp \
    AIRFLOW_HOME=/opt/airflow/home \
    AIRFLOW_CONFIG=/opt/airflow/airflow.cfg \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/airflow/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/airflow/plugins \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SATSEG_PROJECTS_DIR=/opt/satseg/projects \
    SATSEG_RUNNER=docker \
    SATSEG_WORKSPACE=/workspace
USER 10001
WORKDIR /opt/airflow
EXPOSE 8080
ENTRYPOINT ["airflow"]
CMD ["version"]
HEALTHCHECK --interval=60s --timeout=45s --start-period=120s CMD ["airflow-health"]
ARG VERSION=0
ARG GIT_COMMIT=unknown
ENV SATSEG_CODE_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="satseg airflow" \
      org.opencontainers.image.description="Airflow with satseg's DAGs and operators" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"

# Image satseg/worker, for Kubernetes: Airflow and the stages in one, because a pod has no Docker engine to start
# stages in. Both images hold the same versions in the same folder.  docker build -f docker/kubernetes/worker.Dockerfile .
ARG AIRFLOW_IMAGE=satseg/airflow:0.1.0
ARG STAGE_IMAGE=satseg/satseg-gpu:0.1.0

FROM ${AIRFLOW_IMAGE} AS airflow

FROM ${STAGE_IMAGE}
COPY --from=airflow /opt/satseg /opt/satseg
COPY --from=airflow /opt/airflow /opt/airflow
ENV AIRFLOW_HOME=/opt/airflow/home \
    AIRFLOW_CONFIG=/opt/airflow/airflow.cfg \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/airflow/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/airflow/plugins \
    SATSEG_RUNNER=subprocess
# the chart's probes run `/entrypoint airflow jobs check …`, as in Apache's image
USER 0
RUN printf '#!/bin/sh\nexec "$@"\n' > /entrypoint && chmod 755 /entrypoint
USER 10001
WORKDIR /opt/airflow
ENTRYPOINT []
LABEL org.opencontainers.image.title="satseg worker"

#!/bin/sh
# Before Airflow starts, and again after an upgrade: database, first user, pool `gpu`.
set -eu
mkdir -p /workspace/airflow/logs /workspace/drift /workspace/incoming
airflow db migrate
airflow users create --username admin --role Admin --email admin@localhost --firstname satseg --lastname admin \
  --password "$AIRFLOW_ADMIN_PASSWORD"
airflow pools set gpu "$GPU_SLOTS" "One slot per GPU of all workers (one without): tasks that train or predict."

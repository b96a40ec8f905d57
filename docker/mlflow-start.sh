#!/bin/sh
# Starts MLflow's server. Logins stand in the same database as the runs; clients reach artifacts through the server, so
# that only it holds the key to the bucket.
set -eu
umask 077
config="${TMPDIR:-/tmp}/mlflow-auth.ini"
cat > "$config" <<INI
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = ${MLFLOW_DATABASE:?}
admin_username = ${MLFLOW_AUTH_ADMIN_USERNAME:?}
admin_password = ${MLFLOW_AUTH_ADMIN_PASSWORD:?}
INI
export MLFLOW_AUTH_CONFIG_PATH="$config" MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
exec mlflow server --host "${MLFLOW_HOST:-0.0.0.0}" --port "${MLFLOW_PORT:-5000}" --workers "${MLFLOW_WORKERS:-2}" \
  --backend-store-uri "$MLFLOW_DATABASE" --artifacts-destination "${MLFLOW_BUCKET:?}" --serve-artifacts \
  --allowed-hosts "${MLFLOW_ALLOWED_HOSTS:?}" --app-name basic-auth

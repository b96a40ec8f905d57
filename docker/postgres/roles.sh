#!/bin/bash
# Runs once, when the data folder is new: a database and a role for each service, none of which can enter another's.
set -euo pipefail
for name in airflow celery mlflow; do
  variable="${name^^}_DB_PASSWORD"
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    --set name="$name" --set password="${!variable:?}" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done

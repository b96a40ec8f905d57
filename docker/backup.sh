#!/bin/bash
# Backup and restore of what cannot be made again: the three databases, the models and dataset versions in MinIO, and of
# the workspace the data repository, audit log, drift reports and Airflow's task logs. Patches, runs and maps are left
# out: they are made again from these. In compose: `docker compose run --rm backup [restore NAME]`.
set -euo pipefail
umask 077
: "${BACKUPS:?folder of the backups}" "${OBJECTS:?folder of MinIO}" "${WORKSPACE:?workspace}"
DATABASES=(airflow celery mlflow)
FOLDERS=(data audit drift originals airflow/logs)

backup() {
  local name folder there=()
  name="$(date --utc +%Y-%m-%dT%H-%M-%SZ)"
  folder="$BACKUPS/.unfinished-$name"
  mkdir -p "$folder"
  # databases first: an artifact that a row names was written before the row
  for database in "${DATABASES[@]}"; do
    pg_dump --format=custom --file="$folder/$database.dump" "$database"
  done
  tar --create --file="$folder/objects.tar" --directory="$OBJECTS" .
  for path in "${FOLDERS[@]}"; do
    if [ -e "$WORKSPACE/$path" ]; then there+=("$path"); fi
  done
  tar --create --file="$folder/workspace.tar" --directory="$WORKSPACE" --files-from=<(printf '%s\n' "${there[@]}")
  (cd "$folder" && sha256sum -- *.dump *.tar > SHA256SUMS)
  mv "$folder" "$BACKUPS/$name"
  find "$BACKUPS" -mindepth 1 -maxdepth 1 -type d -mtime "+${KEEP_DAYS:-30}" -exec rm -rf {} +
  echo "$BACKUPS/$name"
}

restore() {
  local folder="$BACKUPS/$1" database
  [ -d "$folder" ] || { echo "No backup $1 in $BACKUPS. There are: $(ls "$BACKUPS")" >&2; exit 2; }
  (cd "$folder" && sha256sum --check --quiet SHA256SUMS) || { echo "$folder is damaged; nothing was changed." >&2; exit 3; }
  for database in "${DATABASES[@]}"; do
    if [ "$(psql --no-psqlrc -Atc "SELECT count(*) FROM pg_stat_activity WHERE datname = '$database'" postgres)" != 0 ]; then
      echo "Database $database is in use; nothing was changed. Stop the other services first: docker compose stop" >&2
      exit 75
    fi
  done
  for database in "${DATABASES[@]}"; do
    dropdb --if-exists "$database"
    createdb --owner="$database" "$database"
    psql --no-psqlrc --quiet -c "REVOKE CONNECT ON DATABASE $database FROM PUBLIC" postgres
    pg_restore --exit-on-error --dbname="$database" "$folder/$database.dump"
  done
  tar --extract --file="$folder/objects.tar" --directory="$OBJECTS"
  tar --extract --file="$folder/workspace.tar" --directory="$WORKSPACE"
  echo "Restored $folder"
}

case "${1:-backup}" in
  backup) backup ;;
  restore) restore "${2:?name of the backup, such as 2026-11-23T02-00-00Z}" ;;
  *) echo "backup.sh [backup | restore NAME]" >&2; exit 2 ;;
esac

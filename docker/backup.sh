#!/bin/bash
# Backup and restore of what cannot be made again: the three databases, the models and dataset versions in MinIO, and of
# the workspace the data repository, audit log, drift reports and Airflow's task logs. Patches, runs and maps are left
# out: they are made again from these. In compose: `docker compose run --rm backup [restore NAME]`.
set -euo pipefail
umask 077
: "${BACKUPS:?folder of the backups}" "${OBJECTS:?folder of MinIO}" "${WORKSPACE:?workspace}"
DATABASES=(airflow celery mlflow)
FOLDERS=(data audit drift originals airflow/logs)

# Services go on while they are packed: a log that grows, an object that is replaced is no failure (tar's exit code 1).
pack() { tar --create "$@" || [ $? -eq 1 ]; }

backup() {
  local name there=()
  name="$(date --utc +%Y-%m-%dT%H-%M-%SZ)"
  folder="$BACKUPS/.unfinished-$name"
  trap 'rm -rf "$folder"' EXIT  # a full disk is not filled further every night
  mkdir -p "$folder"
  # databases first: an artifact that a row names was written before the row
  for database in "${DATABASES[@]}"; do
    pg_dump --format=custom --file="$folder/$database.dump" "$database"
  done
  pack --file="$folder/objects.tar" --directory="$OBJECTS" .
  for path in "${FOLDERS[@]}"; do
    if [ -e "$WORKSPACE/$path" ]; then there+=("$path"); fi
  done
  pack --file="$folder/workspace.tar" --directory="$WORKSPACE" --files-from=<(printf '%s\n' "${there[@]}")
  (cd "$folder" && sha256sum -- *.dump *.tar > SHA256SUMS)
  mv "$folder" "$BACKUPS/$name"
  find "$BACKUPS" -mindepth 1 -maxdepth 1 -type d -mtime "+${KEEP_DAYS:-30}" -exec rm -rf {} +
  echo "$BACKUPS/$name"
}

sql() { psql --no-psqlrc --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 "$@" postgres; }

drop() { for database in "${DATABASES[@]}"; do dropdb --if-exists "${database}_$1"; done; }

# All of them or none: a rename fails while there is a session, and lets none in before the end of the transaction. The
# restored ones stay closed until the files are back as well.
exchange() {
  for database in "${DATABASES[@]}"; do
    echo "SELECT 'ALTER DATABASE $database RENAME TO ${database}_replaced' FROM pg_database WHERE datname = '$database' \\gexec"
    echo "ALTER DATABASE ${database}_restored RENAME TO $database;"
    echo "ALTER DATABASE $database ALLOW_CONNECTIONS false;"
  done | sql --single-transaction
}

restore() {
  local folder="$BACKUPS/$1" stop="nothing was changed. Stop the other services first: docker compose stop" busy
  [ -d "$folder" ] || { echo "No backup $1 in $BACKUPS. There are: $(ls "$BACKUPS")" >&2; exit 2; }
  (cd "$folder" && sha256sum --check --quiet SHA256SUMS) || { echo "$folder is damaged; nothing was changed." >&2; exit 3; }
  for database in "${DATABASES[@]}"; do
    busy="SELECT count(*) FROM pg_stat_activity WHERE datname = '$database' AND backend_type = 'client backend'"
    [ "$(sql --command "$busy")" = 0 ] || { echo "Database $database is in use; $stop" >&2; exit 75; }
  done
  export PGOPTIONS=--client-min-messages=warning
  drop replaced
  drop restored
  trap 'drop restored' EXIT
  for database in "${DATABASES[@]}"; do
    createdb --owner="$database" "${database}_restored"
    sql --command "REVOKE CONNECT ON DATABASE ${database}_restored FROM PUBLIC"
    pg_restore --exit-on-error --dbname="${database}_restored" "$folder/$database.dump"
  done
  exchange || { echo "The databases could not be exchanged; $stop" >&2; exit 75; }
  trap 'echo "The restore is not whole; the databases stay closed. Mend the cause and run it again." >&2' EXIT
  tar --extract --file="$folder/objects.tar" --directory="$OBJECTS"
  tar --extract --file="$folder/workspace.tar" --directory="$WORKSPACE"
  for database in "${DATABASES[@]}"; do sql --command "ALTER DATABASE $database ALLOW_CONNECTIONS true"; done
  trap - EXIT
  drop replaced
  echo "Restored $folder"
}

case "${1:-backup}" in
  backup) backup ;;
  restore) restore "${2:?name of the backup, such as 2026-11-23T02-00-00Z}" ;;
  *) echo "backup.sh [backup | restore NAME]" >&2; exit 2 ;;
esac

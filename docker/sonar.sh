#!/usr/bin/env bash
# Coverage of the tests into SonarQube.  docker compose --profile quality up -d sonarqube; SONAR_TOKEN=… docker/sonar.sh
set -euo pipefail
cd "$(dirname "$0")/.."
: "${SONAR_TOKEN:?make one in SonarQube: My Account > Security}"
.venv/bin/python -m pytest -m "not full and not celery" --cov --cov-report=xml --junitxml=tests.xml
docker run --rm --network host --user "$(id -u):$(id -g)" --volume "$PWD:/usr/src" \
  --env SONAR_HOST_URL="${SONAR_HOST_URL:-http://127.0.0.1:9002}" --env SONAR_TOKEN \
  "${SONAR_SCANNER_IMAGE:-sonarsource/sonar-scanner-cli:11.1.1}"

#!/usr/bin/env bash
# Parses deploy/airflow with Airflow itself, and runs what its first tasks would. Airflow has an environment of
# its own in .airflow, made from requirements/airflow.txt; where it cannot be made, this fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
uv=uv; uv --version >/dev/null 2>&1 || uv=.uv/bin/uv
locked=requirements/airflow.txt

if ! cmp --silent "$locked" .airflow/installed.txt; then
    "$uv" venv --quiet --clear --python .venv/bin/python .airflow
    "$uv" pip install --quiet --python .airflow/bin/python --requirement "$locked"
    cp "$locked" .airflow/installed.txt
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
printf 'name: airflow-check\nimport: []\n' >"$folder/pipeline.yaml"
steps=$(.venv/bin/python -c 'from nearfeed_standalone.pipeline.definition import STEPS; print(*STEPS)')
export AIRFLOW_HOME=$folder/airflow AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__LOGGING__LOGGING_LEVEL=WARNING
export NEARFEED_COMMAND=$PWD/.venv/bin/nearfeed NEARFEED_PIPELINE=$folder/pipeline.yaml NEARFEED_DATA_DIR=$folder/data
# shellcheck disable=SC2086
.airflow/bin/python tools/airflow/check.py $steps

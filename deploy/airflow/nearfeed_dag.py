"""Nearfeed's pipeline as an Airflow DAG: one task per step, in order, with the state that Nearfeed keeps.

A task calls `nearfeed pipeline step`; README.md beside this file tells what it needs, and its variables.
"""

import os
import shlex
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

COMMAND = os.environ.get("NEARFEED_COMMAND", "nearfeed")
PIPELINE = os.environ.get("NEARFEED_PIPELINE", "default")
SCHEDULE = os.environ.get("NEARFEED_SCHEDULE", "17 3 * * *")
OPTIONS = os.environ.get("NEARFEED_PIPELINE_OPTIONS", "")
# A refusal by the gate is an answer, which asking again does not change.
RETRIES = {"import": 2, "train": 1, "evaluate": 1, "gate": 0, "load": 2, "activate": 2}

with DAG(
    dag_id="nearfeed",
    description="Retrain on what Nearfeed holds, and serve the new run if it is good enough.",
    schedule=SCHEDULE,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retry_delay": timedelta(minutes=5), "execution_timeout": timedelta(hours=8)},
    tags=["nearfeed"],
) as dag:
    chain(
        *(
            BashOperator(
                task_id=step,
                bash_command=f"{COMMAND} pipeline step {step} {shlex.quote(PIPELINE)} "
                f"--run {{{{ run_id | replace(' ', '_') }}}} {OPTIONS}".strip(),
                retries=retries,
            )
            for step, retries in RETRIES.items()
        )
    )

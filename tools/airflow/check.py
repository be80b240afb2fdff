"""What must hold of the DAG. Runs in Airflow's environment; the arguments are the steps of a pipeline."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).parents[2] / "deploy" / "airflow"
RUN_ID = "scheduled__2026-01-31T03:17:00+00:00"
RUN_HERE = ("import", "train")


def main(steps: list[str]) -> None:
    bag = DagBag(dag_folder=DAGS)
    assert not bag.import_errors, bag.import_errors
    assert list(bag.dags) == ["nearfeed"], list(bag.dags)
    dag = bag.dags["nearfeed"]
    assert [task.task_id for task in dag.topological_sort()] == steps, dag.task_ids
    for before, after in pairwise(steps):
        assert dag.get_task(before).downstream_task_ids == {after}, (before, after)
    assert dag.schedule == "17 3 * * *", dag.schedule
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    retries = {task.task_id: task.retries for task in dag.tasks}
    assert retries["gate"] == 0, retries
    assert all(retries[step] > 0 for step in steps if step != "gate"), retries
    sys.stdout.write(f"  Airflow takes the DAG: {' > '.join(steps)}\n")
    for step in RUN_HERE:
        run(dag.get_task(step), step)


def run(task, step: str) -> None:
    """Does what a worker would; the pipeline of the check has nothing but an empty import."""
    command = task.render_template(task.bash_command, {"run_id": RUN_ID}, task.get_template_env())
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = "Nothing to import" if step == "import" else f"has no step {step}"
    assert expected in done.stdout, done.stdout
    sys.stdout.write(f"  the command of {step} does what it should\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""What the CronJob runs is a pipeline that this version can read."""

from pathlib import Path
from typing import Any

import yaml

from nearfeed_standalone.pipeline.definition import read_pipeline

BASE = Path(__file__).parents[2] / "deploy" / "k8s" / "base"


def test_the_cronjob_runs_the_pipeline_beside_it() -> None:
    cronjob: Any = next(yaml.safe_load_all((BASE / "train.yaml").read_text()))
    pod = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "nearfeed-standalone"
    assert container["args"] == ["pipeline", "run", "/etc/nearfeed/pipeline.yaml", "--services-elsewhere"]
    assert {"name": "pipeline", "mountPath": "/etc/nearfeed", "readOnly": True} in container["volumeMounts"]
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    assert {"name": "nearfeed-pipeline", "files": ["pipeline.yaml"]} in kustomization["configMapGenerator"]
    assert {"name": "pipeline", "configMap": {"name": "nearfeed-pipeline"}} in pod["volumes"]
    assert read_pipeline(str(BASE / "pipeline.yaml")).steps == [
        "train",
        "evaluate",
        "gate",
        "load",
        "activate",
    ]

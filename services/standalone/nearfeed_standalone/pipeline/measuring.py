"""The steps `evaluate` and `gate`: how well a run finds what readers went on to read, and if that will do."""

import csv
from collections.abc import Generator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import select

from nearfeed_contracts.runs import Manifest, open_run, run_url
from nearfeed_contracts.tables import active_space_name, spaces
from nearfeed_runtime.operations import Listed, Progress, Said, Step
from nearfeed_runtime.sql import read_connection
from nearfeed_standalone.pipeline.context import Context, Outputs, StepError, Work
from nearfeed_standalone.pipeline.definition import ACTIVE, Evaluate, Gate
from nearfeed_standalone.pipeline.fingerprints import Json, data_in, digest

Metrics = dict[str, float]
_SHOWN = ("recall@20", "ndcg@20")
_EVERYBODY = "all"


def evaluate_inputs(context: Context, section: Evaluate, outputs: Outputs) -> Json:
    return {
        "run": outputs["train"],
        "data": data_in(context.engine),
        "models": section.models,
    }


def evaluate_run(context: Context, section: Evaluate, outputs: Outputs) -> Work:
    """Puts out metrics of the run and of the models it is compared with.

    A run has learned from what it would be asked to find. So it is measured by its trainer, which tells in
    the manifest how a model of the readings before the cut, and models beside it, find those behind it.
    What it does not tell is ranked in this step, by the same rule; a run of which nothing is told must
    then have been trained on what lies before the cut alone.
    """
    name = outputs["train"]["run"]
    manifest = open_run(run_url(context.settings.runs_url, name), verify=False).manifest
    told = metrics_of_manifest(manifest)
    own = told.pop(manifest.model, None)
    asked = [model for model in section.models if model not in told] + ([] if own else [name])
    ranked = (yield from _rank(context, asked)) if asked else {}
    own = own or ranked.pop(name)
    models = {model: told.get(model) or ranked[model] for model in section.models}
    yield _table(name, own, models, told)
    return {"run": name, "metrics": own, "models": models}


def metrics_of_manifest(manifest: Manifest) -> dict[str, Metrics]:
    """By model the means that a manifest tells."""
    models = manifest.metrics.get("models")
    return {model: _means(values) for model, values in models.items()} if isinstance(models, dict) else {}


def _means(values: Any) -> Metrics:
    told = values.items() if isinstance(values, dict) else ()
    return {
        metric: float(value["mean"]) for metric, value in told if isinstance(value, dict) and "mean" in value
    }


def _rank(context: Context, models: list[str]) -> Generator[Step, None, dict[str, Metrics]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.csv"
        for step in context.run("evaluate", {"models": models, "csv": str(path)}):
            if isinstance(step, Progress):
                yield step
        return _read(path)


def _read(path: Path) -> dict[str, Metrics]:
    found: dict[str, Metrics] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["slice"] == _EVERYBODY:
                found.setdefault(row["model"], {})[f"{row['metric']}@{row['k']}"] = float(row["mean"])
    return found


def _table(run: str, own: Metrics, models: Mapping[str, Metrics], told: Mapping[str, Metrics]) -> Listed:
    rows = [(name, *_shown(found), "trainer" if name in told else "step") for name, found in models.items()]
    return Listed(("model", *_SHOWN, "measured by"), ((run, *_shown(own), ""), *rows))


def _shown(metrics: Metrics) -> list[str]:
    return [f"{metrics[name]:.4f}" if name in metrics else "-" for name in _SHOWN]


def gate_inputs(context: Context, section: Gate, outputs: Outputs) -> Json:
    found = outputs["evaluate"]
    compared = _compared_manifest(context, found["run"]) if ACTIVE in section.may_lie_below else None
    active = None if compared is None else digest(compared.model_dump(mode="json"))
    return {"evaluation": found, "rule": section.model_dump(), "active": active}


def pass_gate(context: Context, section: Gate, outputs: Outputs) -> Work:
    """Raises StepError for a run that lies further below than it may."""
    found = outputs["evaluate"]
    own = _value(found["run"], found["metrics"], section.metric)
    faults = []
    for name, allowance in section.may_lie_below.items():
        other = yield from _other(context, name, section.metric, found)
        if other is not None and own < other - allowance:
            faults.append(f"that of {name} {other:.4f} (it may lie {allowance:g} below)")
    if faults:
        raise StepError(
            f"The gate refuses run {found['run']}: its {section.metric} is {own:.4f}, {', '.join(faults)}; "
            "the space that is served stays, so train on more readings, or allow more in gate.may_lie_below."
        )
    yield Said(f"Run {found['run']} passes with a {section.metric} of {own:.4f}.")
    return {"run": found["run"], section.metric: own}


def _other(context: Context, name: str, metric: str, found: Json) -> Generator[Step, None, float | None]:
    if name != ACTIVE:
        return _value(name, found["models"][name], metric)
    manifest = _compared_manifest(context, found["run"])
    if manifest is None:
        yield Said("No other run is served yet, with which it could be compared.")
        return None
    value = metrics_of_manifest(manifest).get(manifest.model, {}).get(metric)
    if value is None:
        yield Said(f"Run {manifest.space}, which is served, tells no {metric}; it is not compared with it.")
    return value


def _value(model: str, metrics: Metrics, metric: str) -> float:
    if metric not in metrics:
        raise StepError(f"gate.metric: {model} tells no {metric}; it tells {', '.join(sorted(metrics))}.")
    return metrics[metric]


def _compared_manifest(context: Context, run: str) -> Manifest | None:
    """That of the space that is served; None where there is none, or the run is served itself."""
    with read_connection(context.engine) as connection:
        text = connection.scalar(select(spaces.c.manifest).where(spaces.c.space == active_space_name()))
    manifest = None if text is None else Manifest.model_validate_json(text)
    return None if manifest is None or manifest.space == run else manifest

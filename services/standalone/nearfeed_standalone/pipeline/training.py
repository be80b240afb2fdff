"""The step `train`: a run of all data that Nearfeed holds."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from nearfeed_contracts.runs import Run, list_runs
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_runtime.operations import Said
from nearfeed_runtime.settings import load_settings
from nearfeed_standalone.pipeline.context import Context, Outputs, StepError, Work
from nearfeed_standalone.pipeline.fingerprints import ALL_DATA, READINGS, Json, data_in, digest_of_run

# These say where a training runs, not what comes out.
_PLACES = {
    "data_dir", "vectors_url", "database_url", "log_url", "runs_url",
    "log_level", "health_port", "device", "reconcile_seconds",
}  # fmt: skip


def train_inputs(context: Context, options: Mapping[str, Any], _outputs: Outputs) -> Json:
    """The data, the options, and all settings that training may look at.

    The model that is trained without `model` reads posts and readings; of others nothing is known.
    """
    settings = load_settings(EmbedderSettings, data_dir=context.settings.data_dir)
    return {
        "data": data_in(context.engine, ALL_DATA if options.get("model") else READINGS),
        "options": dict(options),
        "settings": settings.model_dump(mode="json", exclude=_PLACES),
        "nearfeed": version("nearfeed"),
    }


def train_run(context: Context, options: Mapping[str, Any], _outputs: Outputs) -> Work:
    """Puts out the name of the run that was written, and the digest of what it holds."""
    before = set(_runs(context))
    context.train(options)
    written = {name: run for name, run in _runs(context).items() if name not in before}
    if len(written) != 1:
        told = f"{len(written)} runs ({', '.join(written)})" if written else "no run"
        raise StepError(
            f"Training has left {told} in {context.settings.runs_url}, not one; "
            "see that nothing else trains or removes runs there, and run the pipeline again."
        )
    ((name, run),) = written.items()
    yield Said(f"Run {name} was trained.")
    return {"run": name, "digest": digest_of_run(run.manifest)}


def run_stands(context: Context, output: Json) -> bool:
    """Whether the run is still in the store as it was written."""
    run = _runs(context).get(output["run"])
    return run is not None and digest_of_run(run.manifest) == output["digest"]


def _runs(context: Context) -> dict[str, Run]:
    return {run.manifest.space: run for run in list_runs(context.settings.runs_url)}

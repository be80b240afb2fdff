"""What an operator may ask the embedder for."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import from_micros, to_micros
from nearfeed_contracts.runs import list_runs, open_run, run_url
from nearfeed_embedder.dataset import Dataset, TooLittleDataError, check_trainable
from nearfeed_embedder.load import read_dataset
from nearfeed_embedder.named import name_and_settings
from nearfeed_embedder.processes import rank
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.trainers.options import Chosen, choose_options, chosen_again
from nearfeed_embedder.trainers.table import DEFAULT, trainer_named
from nearfeed_embedder.trainers.task import Task, Training
from nearfeed_runtime.operations import Listed, Said, Step

_K = 20


class TimeError(NearfeedError):
    """A time on the command line that is none."""


def train_run(
    settings: EmbedderSettings,
    engine: Engine,
    *,
    model: str = DEFAULT,
    until: str | None = None,
    force: bool = False,
    **options: float | None,
) -> Iterator[Step]:
    """Trains on all posts and readings, evaluates, and writes a run; says where it is.

    `model` is a trainer's name, with options as in als:factors=64; `options` are more of them. Readings at
    the ISO time `until` and later are left out. Raises UnknownTrainerError, UnknownOptionError,
    SettingsError, TimeError, TooLittleDataError, and RefusedModelError for a model below popularity unless
    `force` is set.
    """
    name, given = name_and_settings(model)
    chosen = choose_options(name, trainer_named(name), settings, [*given, *_given(options)])
    if rank() > 0:
        return _follow(name, chosen.settings)
    yield from _train(chosen, engine, until, force=force)


def retrain_run(
    settings: EmbedderSettings, engine: Engine, *, run: str, force: bool = False
) -> Iterator[Step]:
    """Trains a run of the store again, by its manifest, on the readings up to its last one.

    Raises NotFoundError, UnknownRecipeError, and what `train_run` raises.
    """
    manifest = open_run(run_url(settings.runs_url, run)).manifest
    if rank() > 0:
        return _follow(manifest.model, settings)
    last = manifest.data.last
    until = (last + timedelta(microseconds=1)).isoformat() if last else None
    if manifest.model != DEFAULT:
        return (yield from _train(chosen_again(manifest, settings), engine, until, force=force))
    # torch and dgl take seconds to import, which other trainers need not wait for.
    from nearfeed_embedder.recipe import recipe_of_run
    from nearfeed_embedder.trainers.pinsage_linear import train_by

    recipe = recipe_of_run(settings, manifest)
    dataset, _ = yield from _dataset(recipe.settings, engine, until)
    yield from _with_summary(settings, train_by(recipe, dataset, force=force))


def _train(chosen: Chosen, engine: Engine, until: str | None, *, force: bool) -> Iterator[Step]:
    dataset, end = yield from _dataset(chosen.settings, engine, until)
    task = Task(chosen.settings, engine, dataset, end, force, chosen.configuration)
    yield from _with_summary(chosen.settings, chosen.trainer.function(task, **chosen.options))


def _with_summary(settings: EmbedderSettings, training: Training) -> Iterator[Step]:
    manifest = yield from training
    yield metrics_table(manifest.model, manifest.metrics)
    yield Said(f"Run {manifest.space} is in {settings.runs_url}/{manifest.space}.")


def _dataset(
    settings: EmbedderSettings, engine: Engine, until: str | None
) -> Stage[tuple[Dataset, int | None]]:
    """What lies before a time, and that time in microseconds since 1970."""
    end = None if until is None else _micros_of(until)
    dataset = yield from read_dataset(engine, settings.weight_rule)
    if end is not None:
        first = dataset.readings.time.min(initial=end)
        dataset = dataset.before(end)
        if dataset.posts and not len(dataset.readings):
            raise TooLittleDataError(
                f"There are no readings before {until}: the first is of {from_micros(first).isoformat()}."
            )
    check_trainable(dataset)
    return dataset, end


def _micros_of(until: str) -> int:
    try:
        time = datetime.fromisoformat(until)
    except ValueError:
        raise TimeError(f"--until: {until!r} is no time such as 2026-01-31T18:00:00Z.") from None
    return to_micros(time if time.tzinfo else time.replace(tzinfo=UTC))


def _follow(model: str, settings: EmbedderSettings) -> None:
    """Processes that train together; of other models than the default, the first one trains alone."""
    if model != DEFAULT:
        return
    from nearfeed_embedder.devices import device_of
    from nearfeed_embedder.graph.data_parallel import follow

    follow(device_of(settings.device))


def list_trained(runs_url: str) -> Iterator[Step]:
    """Lists all runs with what their evaluation found."""
    rows = [
        (
            run.manifest.space,
            run.manifest.model,
            f"{run.manifest.created_at:%Y-%m-%d %H:%M}",
            str(run.manifest.data.readings),
            *(_mean(run.manifest.metrics, run.manifest.model, metric) for metric in _METRICS),
        )
        for run in list_runs(runs_url)
    ]
    if rows:
        yield Listed(("run", "model", "made", "readings", *_METRICS), tuple(rows))
    else:
        yield Said(f"There are no runs in {runs_url} yet; make one with `train`.")


def evaluate_models(settings: EmbedderSettings, engine: Engine, **arguments: Any) -> Iterator[Step]:
    """What `nearfeed_embedder.comparison.operation.evaluate` tells of models."""
    # scipy, polars and numpy's parts take a second to import, and no server waits for it.
    from nearfeed_embedder.comparison.operation import evaluate

    yield from evaluate(settings, engine, **arguments)


def metrics_table(model: str, metrics: Mapping[str, Any]) -> Step:
    """The metrics of a manifest, with 95 % intervals over readers."""
    if not metrics.get("models"):
        return Said("The run could not be evaluated: too few readers have read on after the cut.")
    rows = [
        (name, *(_interval(values[metric]) for metric in _METRICS)) for name, values in _rows(model, metrics)
    ]
    return Listed((f"{metrics['readers']} readers", *_METRICS), tuple(rows))


_METRICS = (f"recall@{_K}", f"ndcg@{_K}")


def _rows(model: str, metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    gains = [(f"{model} over {name}", values) for name, values in metrics["gains"].items()]
    return [*metrics["models"].items(), *gains]


def _interval(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"


def _mean(metrics: Mapping[str, Any], model: str, metric: str) -> str:
    try:
        return f"{metrics['models'][model][metric]['mean']:.4f}"
    except (KeyError, TypeError):
        return "-"


def _given(options: Mapping[str, float | None]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in options.items() if value is not None]

"""`evaluate`: a split, models, and what is told of them."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from nearfeed_contracts.runs import Run
from nearfeed_embedder.comparison.blends import Blend, blend_of, by_fusion
from nearfeed_embedder.comparison.models import DEFAULT, Baseline, UnfitModelError, baseline_of, inputs_of
from nearfeed_embedder.comparison.report import tables_of, write_csv
from nearfeed_embedder.comparison.results import Line, lines_of, rankings_of
from nearfeed_embedder.comparison.runs import open_model, scorer_of_run
from nearfeed_embedder.comparison.sources import Source, read_split
from nearfeed_embedder.evaluation.ranking import Ranking
from nearfeed_embedder.evaluation.slices import empty_slices
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.evaluation.vectors import Vectors
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import Stage
from nearfeed_runtime.operations import Progress, Said, Step

Rankings = dict[str, dict[str, Ranking]]
Single = Baseline | Run
Model = Single | Blend[Single]


def evaluate(
    settings: EmbedderSettings,
    engine: Engine,
    *,
    models: Sequence[str] = (),
    reference: str | None = None,
    csv: str | None = None,
    **source: Any,
) -> Iterator[Step]:
    """Ranks all posts by each model for every reader of a split, and tells how well.

    `source` has the fields of `Source`. Models are baselines with settings, names of runs or their
    folders, and blends of these; all baselines that the data allow where none is named. Gains are over
    `reference`, the first model where it is not given. Raises NearfeedError for what cannot be read or made.
    """
    asked = list(dict.fromkeys([*(models or DEFAULT), *([reference] if reference else [])]))
    opened = {name: _opened(settings.runs_url, name) for name in asked}
    split = yield from read_split(Source(**source), engine, settings.weight_rule)
    for sentence in split.told:
        yield Said(sentence)
    if empty := empty_slices(split):
        yield Said(f"Slices that hold nobody here: {', '.join(empty)}.")
    wants_text = any(_needs_text(model) for model in opened.values())
    text_vectors = (yield from _text_vectors(settings, split)) if wants_text else None
    rankings = yield from _rank(opened, split, text_vectors, optional=not models)
    reference = reference or next(iter(rankings))
    lines = yield from _lines(rankings, reference, split)
    yield from tables_of(lines, reference)
    if csv:
        write_csv(Path(csv), lines, reference)
        yield Said(f"All metrics and slices with their intervals are in {csv}.")


def _rank(
    opened: Mapping[str, Model], split: Split, text_vectors: Vectors | None, *, optional: bool
) -> Generator[Step, None, Rankings]:
    rankings: Rankings = {}
    for number, (name, model) in enumerate(opened.items()):
        yield Progress("Evaluating", number, len(opened))
        try:
            scorer, remark = _scorer(model, split, text_vectors)
        except UnfitModelError as error:
            if not optional:
                raise
            yield Said(f"Left out: {error}")
            continue
        if remark:
            yield Said(f"{name}: {remark}")
        rankings[name] = rankings_of(scorer, split)
    yield Progress("Evaluating", len(opened), len(opened))
    return rankings


def _opened(runs_url: str, asked: str) -> Model:
    def single(name: str) -> Single:
        return baseline_of(name) or open_model(runs_url, name)

    return blend_of(asked, single) or single(asked)


def _needs_text(model: Model) -> bool:
    if isinstance(model, Blend):
        return any(_needs_text(member) for member in model.models.values())
    return isinstance(model, Baseline) and model.needs_text


def _scorer(model: Model, split: Split, text_vectors: Vectors | None) -> tuple[Scorer, str]:
    """The scorer, and what a reader of its figures must know."""
    if isinstance(model, Baseline):
        return model.scorer(inputs_of(split, text_vectors)), ""
    if isinstance(model, Run):
        return scorer_of_run(model, split)
    members = {name: _scorer(member, split, text_vectors) for name, member in model.models.items()}
    scorers = {name: scorer for name, (scorer, _) in members.items()}
    remarks = [f"of {name}, {remark}" for name, (_, remark) in members.items() if remark]
    return by_fusion(scorers, model.weights, split, model.k, model.depth), " ".join(remarks)


def _lines(rankings: Rankings, reference: str, split: Split) -> Stage[list[Line]]:
    lines: list[Line] = []
    for number, (name, found) in enumerate(rankings.items(), 1):
        lines += lines_of(name, found, rankings[reference], split)
        yield Progress("Drawing intervals", number, len(rankings))
    return lines


def _text_vectors(settings: EmbedderSettings, split: Split) -> Stage[Vectors | None]:
    """Of the text model as it is, without fine-tuning; None where there are no texts."""
    if split.texts is None:
        return None
    # torch and transformers take seconds to import, which other models need not wait for.
    from nearfeed_embedder.devices import device_of
    from nearfeed_embedder.text.cache import VectorCache
    from nearfeed_embedder.text.encode import encode_in_steps
    from nearfeed_embedder.text.model import fingerprint, load_text_model

    device = device_of(settings.device)
    text = load_text_model(settings.text_model, settings.text_pooling, settings.text_tokens, device)
    cache = VectorCache(settings.data_dir / "text-vectors.db", fingerprint(text))
    return (yield from encode_in_steps(text, split.texts, batch=settings.text_batch, cache=cache))

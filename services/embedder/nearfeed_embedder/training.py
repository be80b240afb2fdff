"""From a dataset to a run: texts, an evaluation of a model of the past, and the model of everything."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import Manifest
from nearfeed_core.splits import TimeSplit, split_by_time
from nearfeed_embedder.baselines.item_knn import item_knn
from nearfeed_embedder.baselines.popularity import popularity
from nearfeed_embedder.dataset import Dataset, Readings, can_train_on
from nearfeed_embedder.devices import device_of
from nearfeed_embedder.encoder import Encoder
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.compare import compare
from nearfeed_embedder.evaluation.ranking import RECALL, Ranking, rank
from nearfeed_embedder.evaluation.vectors import by_vectors
from nearfeed_embedder.graph.features import Features, features_of, vocabulary_of
from nearfeed_embedder.graph.pinsage import Shape
from nearfeed_embedder.graph.train import Trained, TrainRule, Validate, train
from nearfeed_embedder.run import MODEL, Outcome, blocks_of, write_run
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.text.cache import VectorCache
from nearfeed_embedder.text.encode import encode_in_steps
from nearfeed_embedder.text.model import TextModel, TextVectors, fingerprint, load_text_model
from nearfeed_embedder.text.simcse import fine_tune
from nearfeed_runtime.operations import Progress, Step

_TEXT_SETTINGS = {
    "text_model",
    "text_pooling",
    "text_tokens",
    "text_batch",
    "text_epochs",
    "text_samples",
}


class RefusedModelError(ConflictError):
    """A model that is worse than popularity."""


@dataclass(frozen=True)
class Inputs:
    """What every training starts from."""

    dataset: Dataset
    features: Features
    shape: Shape
    rule: TrainRule
    seed: int
    device: torch.device

    def train(
        self,
        readings: Readings,
        stage: str,
        *,
        stop_after: int | None = None,
        validate: Validate | None = None,
    ) -> Stage[Trained]:
        return train(
            self.features,
            readings,
            self.dataset.half_life_days,
            self.shape,
            self.rule,
            seed=self.seed,
            device=self.device,
            stage=stage,
            stop_after=stop_after,
            validate=validate,
        )

    def split(self, readings: Readings) -> TimeSplit:
        return split_by_time(readings.reader, readings.item, readings.time, len(self.features))


def train_and_write(
    settings: EmbedderSettings, dataset: Dataset, *, force: bool
) -> Generator[Step, None, Manifest]:
    """Returns the manifest of the run that it wrote. Raises RefusedModelError and TextModelError."""
    device = device_of(settings.device)
    text, vectors = yield from text_vectors(settings, dataset, device)
    vocabulary = vocabulary_of(dataset.posts)
    shape = Shape(text.dim, len(vocabulary.communities), len(vocabulary.tags), settings.dim)
    rule = TrainRule(epochs=settings.epochs)
    features = features_of(dataset.posts, vectors, vocabulary)
    inputs = Inputs(dataset, features, shape, rule, settings.seed, device)
    epochs, metrics = yield from evaluate(inputs)
    check_worth(metrics, force=force)
    trained = yield from inputs.train(dataset.readings, "Training (all)", stop_after=epochs)
    yield Progress("Writing run", 0, 1)
    encoder = Encoder(text, trained.network, vocabulary)
    configuration = _configuration(settings, inputs, epochs)
    outcome = Outcome(trained.vectors, trained.shifts, encoder, metrics, configuration)
    manifest = write_run(settings.runs_url, dataset, outcome)
    yield Progress("Writing run", 1, 1)
    return manifest


def text_vectors(
    settings: EmbedderSettings, dataset: Dataset, device: torch.device
) -> Stage[tuple[TextModel, TextVectors]]:
    """The fine-tuned text model, and the unit vectors (n, text dim) of all posts."""
    texts = [post.text for post in dataset.posts]
    text = load_text_model(settings.text_model, settings.text_pooling, settings.text_tokens, device)
    yield from fine_tune(
        text,
        texts,
        epochs=settings.text_epochs,
        batch=settings.text_batch,
        samples=settings.text_samples,
        seed=settings.seed,
    )
    cache = VectorCache(settings.data_dir / "text-vectors.db", fingerprint(text))
    vectors = yield from encode_in_steps(text, texts, batch=settings.text_batch, cache=cache)
    return text, vectors


def evaluate(inputs: Inputs) -> Stage[tuple[int, dict[str, Any]]]:
    """How many epochs to train, and metrics of a model that was trained before the cut.

    Before the cut lies a second one, by which the epochs are chosen. The metrics are {} where nobody
    has read on after the cut.
    """
    readings = inputs.dataset.readings
    split = inputs.split(readings)
    past = readings.take(split.train)
    if not split.held_out or not can_train_on(past):
        return inputs.rule.epochs, {}
    epochs = yield from choose_epochs(inputs, past)
    trained = yield from inputs.train(past, "Training (evaluation)", stop_after=epochs)
    held_out = split_dataset(inputs.dataset, split)
    blocks = blocks_of(inputs.shape.dim)
    scorers = {
        MODEL: by_vectors(trained.vectors, trained.vectors, blocks, held_out.history),
        "popularity": popularity(held_out.train),
        "item-knn": item_knn(held_out.train, held_out.history),
    }
    rankings: dict[str, Ranking] = {}
    for name, scorer in scorers.items():
        rankings[name] = rank(scorer, held_out)
        yield Progress("Evaluating", len(rankings), len(scorers))
    return epochs, {"cut": from_micros(split.cut).isoformat(), **compare(MODEL, rankings)}


def choose_epochs(inputs: Inputs, readings: Readings) -> Stage[int]:
    """The epoch of the best recall in what was read after a cut of its own."""
    split = inputs.split(readings)
    earlier = readings.take(split.train)
    if not split.held_out or not can_train_on(earlier):
        return inputs.rule.epochs
    held_out = split_dataset(replace(inputs.dataset, readings=readings), split)
    blocks = blocks_of(inputs.shape.dim)

    def recall(vectors: TextVectors) -> float:
        return rank(by_vectors(vectors, vectors, blocks, held_out.history), held_out).mean(RECALL)

    trained = yield from inputs.train(earlier, "Choosing epochs", validate=recall)
    return trained.epochs


def check_worth(metrics: Mapping[str, Any], *, force: bool) -> None:
    """Raises RefusedModelError for a recall below that of popularity."""
    if not metrics or force:
        return
    own, popular = (metrics["models"][name][RECALL]["mean"] for name in (MODEL, "popularity"))
    if own < popular:
        raise RefusedModelError(
            f"No run was written: its {RECALL} is {own:.4f}, that of popularity is {popular:.4f}; "
            "train on more readings or for more epochs, or write it all the same with --force."
        )


def _configuration(settings: EmbedderSettings, inputs: Inputs, epochs: int) -> dict[str, Any]:
    text = settings.model_dump(
        include={"text_model", "text_pooling", "text_tokens", "text_batch", "text_epochs"}
    )
    return {
        **text,
        "seed": inputs.seed,
        "device": str(inputs.device),
        "weights": settings.weights,
        "half_life_days": settings.half_life_days,
        "epochs": epochs,
        "shape": inputs.shape.to_json(),
        "training": inputs.rule.to_json(),
    }

"""From a dataset to a run: texts, an evaluation of a model of the past, and the model of everything."""

import math
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from nearfeed_contracts.runs import Block, Manifest
from nearfeed_core.splits import TimeSplit, split_by_time
from nearfeed_embedder.comparison.quality_gate import check_quality, metrics_of
from nearfeed_embedder.dataset import Dataset, Readings, can_train_on
from nearfeed_embedder.devices import device_of
from nearfeed_embedder.encoder import Encoder
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.ranking import RECALL, rank
from nearfeed_embedder.evaluation.split import Scorer, Split, column_counts, matrix_of
from nearfeed_embedder.evaluation.vectors import by_vectors
from nearfeed_embedder.graph.data_parallel import train
from nearfeed_embedder.graph.features import Features, Vocabulary, features_of, vocabulary_of
from nearfeed_embedder.graph.pinsage import Shape
from nearfeed_embedder.graph.train import Trained, TrainRule, Validate, fitted
from nearfeed_embedder.linear.autoencoder import LinearRule, fit_roles
from nearfeed_embedder.newcomers import Known, Newcomers, Unread, fit_newcomers
from nearfeed_embedder.parts import Parts, blocks_of, parts_of
from nearfeed_embedder.reach import contest, drawn_as_new, fair_reach, histories
from nearfeed_embedder.recipe import Recipe
from nearfeed_embedder.run import MODEL, Outcome, write_run
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.text.cache import VectorCache
from nearfeed_embedder.text.encode import encode_in_steps
from nearfeed_embedder.text.model import TextModel, TextVectors, fingerprint, load_text_model
from nearfeed_embedder.text.simcse import fine_tune, pairs_of
from nearfeed_runtime.operations import Progress, Step

RIDGES = (30.0, 100.0, 300.0)
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
DEFAULT_SCALE = 0.5


@dataclass(frozen=True)
class Inputs:
    """What every training starts from."""

    dataset: Dataset
    features: Features
    shape: Shape
    rule: TrainRule
    linear: LinearRule
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

    def join(
        self, trained: Trained, readings: Readings, ridge: float, scale: float | None = None
    ) -> "Joined":
        """The network's part beside the linear one of the same readings.

        With the `scale` of the network's part new posts get their share of the places.
        """
        readers = int(readings.reader.max(initial=-1)) + 1
        read = matrix_of(readings.reader, readings.item, (readers, len(self.features)))
        roles = fit_roles(read, replace(self.linear, ridge=ridge))
        posts = Unread(self.features, trained.as_new)
        known = Known(Parts(trained.vectors, roles.vectors, roles.contexts), roles.known, column_counts(read))
        newcomers = fit_newcomers(posts, known)
        if scale is not None:
            newcomers = replace(newcomers, reach=self.reach(posts, known, readings, scale))
        as_new = newcomers.parts(posts)
        return Joined(parts_of(trained.vectors, roles, known.readers_of > 0, as_new), as_new, newcomers)

    def reach(self, posts: Unread, known: Known, readings: Readings, scale: float) -> float:
        """With which known posts, were they new, would get the share of places that they have of readings."""
        rng = np.random.default_rng(self.seed)
        new = drawn_as_new(known.rows, rng)
        if not len(new):
            return 1.0
        is_new = np.isin(np.arange(len(posts)), new)
        history = histories(
            readings.take(~is_new[readings.item]), len(posts), self.dataset.half_life_days, rng
        )
        pretended = fit_newcomers(posts, known.without(is_new)).parts(posts.take(new))
        share = known.readers_of[is_new].sum() / known.readers_of[known.rows].sum()
        rivals = known.rows & ~is_new
        return fair_reach(contest(known.parts, rivals, pretended, history, self.blocks(scale)), share)

    def blocks(self, scale: float) -> tuple[Block, ...]:
        return blocks_of(self.shape.dim, self.linear.dim, scale)

    def split(self, readings: Readings) -> TimeSplit:
        return split_by_time(readings.reader, readings.item, readings.time, len(self.features))


@dataclass(frozen=True)
class Joined:
    """The parts of all posts, those of the same posts if they were new, and what gives these."""

    parts: Parts
    as_new: Parts
    newcomers: Newcomers


@dataclass(frozen=True)
class Choice:
    """What has proved best on readings that were held out; `scale` is what PinSage counts beside the rest."""

    epochs: int
    ridge: float
    scale: float


def train_and_write(recipe: Recipe, dataset: Dataset, *, force: bool) -> Generator[Step, None, Manifest]:
    """Returns the manifest of the run that it wrote. Raises RefusedModelError and TextModelError."""
    settings = recipe.settings
    device = device_of(settings.device)
    text, vectors = yield from text_vectors(settings, dataset, device)
    vocabulary = vocabulary_of(dataset.posts)
    inputs = inputs_of(recipe, dataset, vectors, vocabulary)
    choice, metrics = yield from evaluate(inputs)
    check_quality(MODEL, metrics, force=force)
    trained = yield from inputs.train(dataset.readings, "Training (all)", stop_after=choice.epochs)
    joined = inputs.join(trained, dataset.readings, choice.ridge, choice.scale)
    yield Progress("Writing run", 0, 1)
    outcome = Outcome(
        joined.parts,
        joined.as_new,
        inputs.blocks(choice.scale),
        Encoder(text, trained.network, vocabulary, joined.newcomers),
        metrics,
        {**recipe.to_json(), "device": str(device), "choice": asdict(choice)},
    )
    manifest = write_run(settings.runs_url, dataset, outcome)
    yield Progress("Writing run", 1, 1)
    return manifest


def inputs_of(recipe: Recipe, dataset: Dataset, text: TextVectors, vocabulary: Vocabulary) -> Inputs:
    """With the text vectors (n, text dim) of the dataset's posts."""
    features = features_of(dataset.posts, text, vocabulary)
    shape, rule = fitted(recipe.shape_for(text.shape[1], vocabulary), recipe.training, features)
    settings = recipe.settings
    return Inputs(dataset, features, shape, rule, recipe.linear, settings.seed, device_of(settings.device))


def text_vectors(
    settings: EmbedderSettings, dataset: Dataset, device: torch.device
) -> Stage[tuple[TextModel, TextVectors]]:
    """The fine-tuned text model, and the unit vectors (n, text dim) of all posts."""
    texts = [post.text for post in dataset.posts]
    text = load_text_model(settings.text_model, settings.text_pooling, settings.text_tokens, device)
    yield from fine_tune(
        text,
        pairs_of(texts, settings.text_objective),
        epochs=settings.text_epochs,
        batch=settings.text_batch,
        samples=settings.text_samples,
        seed=settings.seed,
    )
    cache = VectorCache(settings.data_dir / "text-vectors.db", fingerprint(text))
    vectors = yield from encode_in_steps(text, texts, batch=settings.text_batch, cache=cache)
    return text, vectors


def evaluate(inputs: Inputs) -> Stage[tuple[Choice, dict[str, Any]]]:
    """What to train with, and metrics of a model that was trained before the cut.

    Before the cut lies a second one, by which the choice is made. The metrics are {} where nobody has
    read on after the cut.
    """
    readings = inputs.dataset.readings
    split = inputs.split(readings)
    past = readings.take(split.train)
    if not split.held_out or not can_train_on(past):
        return default_choice(inputs), {}
    choice = yield from choose_by_time(inputs, past)
    trained = yield from inputs.train(past, "Training (evaluation)", stop_after=choice.epochs)
    parts = inputs.join(trained, past, choice.ridge).parts
    held_out = split_dataset(inputs.dataset, split)
    scorers = scorers_of(parts, inputs.blocks(choice.scale), held_out)
    return choice, (yield from metrics_of(MODEL, scorers, held_out))


def scorers_of(parts: Parts, blocks: tuple[Block, ...], split: Split) -> dict[str, Scorer]:
    """The whole model, and each of its parts alone."""
    graph, linear = (block.model_copy(update={"start": 0}) for block in blocks)
    return {
        MODEL: by_vectors(parts.vectors, parts.contexts, blocks, split.history),
        "pinsage": by_vectors(parts.graph, parts.graph, [graph], split.history),
        "linear": by_vectors(parts.linear_vectors, parts.linear_contexts, [linear], split.history),
    }


def default_choice(inputs: Inputs) -> Choice:
    """Where nothing can be held out to choose by."""
    return Choice(inputs.rule.epochs, inputs.linear.ridge, DEFAULT_SCALE)


def choose_by_time(inputs: Inputs, readings: Readings) -> Stage[Choice]:
    """By the recall in what was read after a cut of its own."""
    split = inputs.split(readings)
    earlier = readings.take(split.train)
    if not split.held_out or not can_train_on(earlier):
        return default_choice(inputs)
    held_out = split_dataset(replace(inputs.dataset, readings=readings), split)
    choice, _ = yield from choose(inputs, earlier, held_out)
    return choice


def choose(inputs: Inputs, readings: Readings, held_out: Split) -> Stage[tuple[Choice, Parts]]:
    """The epoch of the best recall of PinSage alone, then ridge and scale of that of the whole.

    With the parts of the model that was chosen, which has learned from the same readings.
    """

    def recall_alone(vectors: TextVectors) -> float:
        alone = by_vectors(vectors, vectors, [Block(start=0, dim=inputs.shape.dim)], held_out.history)
        return rank(alone, held_out).mean(RECALL)

    def recall(parts: Parts, scale: float) -> float:
        scorer = by_vectors(parts.vectors, parts.contexts, inputs.blocks(scale), held_out.history)
        return rank(scorer, held_out).mean(RECALL)

    trained = yield from inputs.train(readings, "Choosing", validate=recall_alone)
    best = -math.inf
    for ridge in RIDGES:
        parts = inputs.join(trained, readings, ridge).parts
        values = {scale: recall(parts, scale) for scale in SCALES}
        scale = max(SCALES, key=values.__getitem__)
        if values[scale] > best:
            best, choice, chosen = values[scale], Choice(trained.epochs, ridge, scale), parts
    return choice, chosen

"""Hides a tenth of the posts from training, and looks for them by text, community and tags alone.

    python -m benchmarks.new_posts --items FILE --interactions FILE [--seeds 5]

For each seed the default model is chosen by time, and trained, without any reading of the posts that were
drawn; the words for communities and tags are those of the other posts. The text model is taken as it is.
Writes benchmarks/results/new_posts.csv, a row per model and seed and one of the means; docs/new-posts.md
tells what its columns are.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results_file import put_rows
from nearfeed_core.bootstrap import bootstrap_mean
from nearfeed_embedder.baselines.text import text
from nearfeed_embedder.comparison.files import read_files
from nearfeed_embedder.dataset import Dataset, Rows
from nearfeed_embedder.devices import device_of
from nearfeed_embedder.evaluation.hidden import Hidden, hide_posts, split_hidden
from nearfeed_embedder.evaluation.ranking import RECALL, K, Ranking, rank
from nearfeed_embedder.evaluation.split import Scorer, Scores, Split
from nearfeed_embedder.graph.features import vocabulary_of
from nearfeed_embedder.newcomers import unit_bags
from nearfeed_embedder.recipe import recipe_of
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish
from nearfeed_embedder.text.model import TextVectors
from nearfeed_embedder.training import Inputs, choose_by_time, inputs_of, scorers_of, text_vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

RESULTS = Path(__file__).parent / "results" / "new_posts.csv"
MEAN = "mean"
TIMES = 1.5
NEW_SHARE = f"new_share@{K}"
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=Path, required=True)
    parser.add_argument("--interactions", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=5, help="0 to 4 have been tuned on")
    given = parser.parse_args()
    settings = EmbedderSettings(text_epochs=0)
    dataset = read_files(given.interactions, given.items, settings.weight_rule)
    vectors = finish(text_vectors(settings, dataset, device_of(settings.device)))[1]
    rows: list[Row] = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for row in measured(settings.model_copy(update={"seed": seed}), dataset, vectors):
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
            rows.append(row)
    put_rows(RESULTS, [*rows, *means(rows)], of=itemgetter("model", "seed"))


def measured(settings: EmbedderSettings, dataset: Dataset, vectors: TextVectors) -> Iterator[Row]:
    """One row per model, of one seed."""
    hidden = hide_posts(dataset.readings, len(dataset.posts), seed=settings.seed)
    split = split_hidden(dataset, hidden)
    inputs = inputs_without(settings, dataset, vectors, hidden)
    scorers = {**trained(inputs, hidden, split), **baselines(inputs, split)}
    reference = rank(scorers["text"], split, among=split.new_items)
    share = float(hidden.posts[dataset.readings.item].mean())
    for name, scorer in scorers.items():
        yield {"model": name, "seed": str(settings.seed), **row_of(scorer, split, reference, share)}


def inputs_without(
    settings: EmbedderSettings, dataset: Dataset, vectors: TextVectors, hidden: Hidden
) -> Inputs:
    """What is trained on where nothing is known of the hidden posts; of these the features are kept."""
    old = [post for post, new in zip(dataset.posts, hidden.posts, strict=True) if not new]
    vocabulary = vocabulary_of(old)
    learned = replace(dataset, readings=dataset.readings.take(hidden.train))
    return inputs_of(recipe_of(settings), learned, vectors, vocabulary)


def trained(inputs: Inputs, hidden: Hidden, split: Split) -> dict[str, Scorer]:
    """The whole model and its parts, which give vectors to hidden posts as to any new post."""
    readings = inputs.dataset.readings
    choice = finish(choose_by_time(inputs, readings))
    network = finish(inputs.train(readings, "Training", stop_after=choice.epochs))
    joined = inputs.join(network, readings, choice.ridge, choice.scale)
    sys.stdout.write(f"{hidden.posts.sum()} posts hidden; {choice}, reach {joined.newcomers.reach:.2f}\n")
    return scorers_of(joined.parts, inputs.blocks(choice.scale), split)


def baselines(inputs: Inputs, split: Split) -> dict[str, Scorer]:
    """Text alone, what a reader's posts and a post have in common, and chance."""
    features, rng = inputs.features, np.random.default_rng(inputs.seed)
    return {
        "text": text(features.text.numpy(), split.history),
        "tags": overlap(unit_bags(features.tags.numpy()), split.history),
        "community": overlap(unit_bags(features.community.numpy()[:, None]), split.history),
        "random": lambda readers: rng.random((len(readers), split.n_items), np.float32),
    }


def overlap(bags: "csr_matrix", history: "csr_matrix") -> Scorer:
    """By the weighted sum of cosines of bags (items, words)."""

    def score(readers: Rows) -> Scores:
        return np.asarray((history[readers] @ bags @ bags.T).toarray(), np.float32)

    return score


def row_of(scorer: Scorer, split: Split, text_alone: Ranking, share_of_readings: float) -> Row:
    """The figures of one model: hidden posts among themselves, and beside the others."""
    new = split.new_items
    alone, whole = rank(scorer, split, among=new), rank(scorer, split)
    recall, of_text = alone.values[RECALL], text_alone.values[RECALL]
    interval, over = bootstrap_mean(recall), bootstrap_mean(recall - TIMES * of_text)
    return {
        "readers": len(alone.readers),
        "recall": _figure(interval.mean),
        "recall_low": _figure(interval.low),
        "recall_high": _figure(interval.high),
        "ratio_to_text": _figure(interval.mean / of_text.mean()),
        "over_1.5_text_low": _figure(over.low),
        "over_1.5_text_high": _figure(over.high),
        "new_share": _figure(whole.mean(NEW_SHARE)),
        "new_share_of_candidates": _figure(new.sum() / split.candidates.sum()),
        "new_share_of_readings": _figure(share_of_readings),
        "recall_new_beside_old": _figure(rank(scorer, split, wanted=new).mean(RECALL)),
        "recall_old_beside_new": _figure(rank(scorer, split, wanted=~new).mean(RECALL)),
        "recall_old_alone": _figure(rank(scorer, split, among=~new).mean(RECALL)),
    }


def means(rows: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Of all seeds; bounds of a mean are the lowest and the highest seed, its ratio is that of the means."""
    of_text = np.mean([float(row["recall"]) for row in rows if row["model"] == "text"])
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        columns = {name: np.array([float(row[name]) for row in own]) for name in own[0] if name != "model"}
        mean = {name: _figure(values.mean()) for name, values in columns.items()}
        recall = columns["recall"]
        yield {
            **mean,
            "model": model,
            "seed": MEAN,
            "recall_low": _figure(recall.min()),
            "recall_high": _figure(recall.max()),
            "ratio_to_text": _figure(recall.mean() / of_text),
            "over_1.5_text_low": "",
            "over_1.5_text_high": "",
        }


def _figure(value: float) -> str:
    return f"{value:.4f}"


if __name__ == "__main__":
    main()

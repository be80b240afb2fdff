"""Measures text models before and after fine-tuning, and writes benchmarks/results/text.csv.

    python -m benchmarks.text --reviews FILE --sts FILE [FILE ...] [--on dev|test] [--objectives ...]

FILES of --sts are .tsv of KorSTS or .csv of (sentence, sentence, score); they are told apart by their names.
Reviews are lines of JSON with `text` and `film_id`. The text model is fine-tuned on 60 % of the reviews of
four fifths of the films: unsupervised, and supervised by pairs of reviews of one film. It is then asked for
other reviews of the same film among reviews that were held out, of those films and of new ones.

Choose with --on dev, which writes nothing, and measure once with --on test, which writes the CSV.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.geometry import alignment, uniformity
from benchmarks.results_file import put_rows
from benchmarks.text_data import Reviews, Sts, pairs_of_films, read_reviews, read_sts, split_reviews
from nearfeed_core.bootstrap import bootstrap_means
from nearfeed_core.metrics import hits_of, ndcg, recall, top_k
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish
from nearfeed_embedder.text.encode import encode
from nearfeed_embedder.text.model import TextModel, TextVectors, load_text_model
from nearfeed_embedder.text.simcse import LEARNING_RATE, TUNED_SHARE, Pair, fine_tune, pairs_of

RESULTS = Path(__file__).parent / "results" / "text.csv"
BASE = "base"
K = 20
ALIKE = 4.0
Row = dict[str, Any]
ByFilm = NDArray[np.float64]


def main() -> None:
    given = arguments()
    if given.bfloat16:  # Autocast holds for the thread that asks for it alone.
        torch.set_num_threads(1)
    reviews = split_reviews(read_reviews(given.reviews), given.seed)
    held_out = {"known films": reviews[given.on], "new films": reviews[f"{given.on}-new"]}
    sts = {file.stem: read_sts(file) for file in given.sts}
    rows: list[Row] = []
    base: dict[str, ByFilm] = {}
    with torch.autocast("cpu", torch.bfloat16, enabled=given.bfloat16):
        for name in (BASE, *given.objectives):
            model, told = tuned(name, reviews["train"], given)
            for row in measured(model, sts, held_out, base):
                sys.stdout.write(f"{name:<13} {row}\n")
                sys.stdout.flush()
                rows.append({"model": name, **row, "trained": told})
    if given.on == "test":
        put_rows(RESULTS, rows, of=lambda row: (row["model"], row["data"], row["measure"]))


def arguments() -> argparse.Namespace:
    defaults = EmbedderSettings.model_fields
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reviews", type=Path, required=True)
    parser.add_argument("--sts", type=Path, nargs="+", required=True)
    parser.add_argument("--on", choices=["dev", "test"], default="dev")
    parser.add_argument("--objectives", nargs="*", default=["unsupervised", "supervised"])
    parser.add_argument("--text-model", default=defaults["text_model"].default)
    parser.add_argument("--epochs", type=int, default=defaults["text_epochs"].default)
    parser.add_argument("--batch", type=int, default=defaults["text_batch"].default)
    parser.add_argument("--samples", type=int, default=defaults["text_samples"].default)
    parser.add_argument("--tokens", type=int, default=defaults["text_tokens"].default)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--share", type=float, default=TUNED_SHARE, help="of the weights that were learned")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="multiply so, on one thread")
    return parser.parse_args()


def tuned(name: str, train: Reviews, given: argparse.Namespace) -> tuple[TextModel, str]:
    """A model, and how it was made."""
    model = load_text_model(given.text_model, "mean", given.tokens, torch.device("cpu"))
    if name == BASE:
        return model, ""
    losses = finish(
        fine_tune(
            model,
            pairs_to_learn(name, train, given.seed),
            epochs=given.epochs,
            batch=given.batch,
            samples=given.samples,
            seed=given.seed,
            learning_rate=given.learning_rate,
            share=given.share,
        )
    )
    precision = "bfloat16" if given.bfloat16 else "float32"
    told = f"{len(losses)} steps of {given.batch}, rate {given.learning_rate:g}, share {given.share:g}"
    return model, f"{told}, {given.tokens} tokens, {precision}"


def pairs_to_learn(objective: str, train: Reviews, seed: int) -> list[Pair]:
    """Reviews have no titles: what is supervised here is that two are of one film."""
    if objective == "unsupervised":
        return pairs_of(train.texts, "unsupervised")
    return pairs_of_films(train, seed)


def measured(
    model: TextModel, sts: dict[str, Sts], held_out: dict[str, Reviews], base: dict[str, ByFilm]
) -> Iterator[Row]:
    """All measures of one model; `base` takes those by film of the first one, and gains are over them."""
    for name, pairs in sts.items():
        yield from sts_rows(name, pairs, encode(model, pairs.first), encode(model, pairs.second))
    for name, reviews in held_out.items():
        vectors = encode(model, reviews.texts)
        by_film = same_film(vectors, reviews.films)
        yield from film_rows(name, by_film, base.setdefault(name, by_film))
        first, second = pairs_within(reviews.films)
        yield row_of(name, "alignment", alignment(vectors[first], vectors[second]))
        yield row_of(name, "uniformity", uniformity(vectors))


def sts_rows(name: str, pairs: Sts, first: TextVectors, second: TextVectors) -> Iterator[Row]:
    """Spearman's correlation of cosine and score, the alignment of pairs above 4, and uniformity."""
    yield row_of(name, "spearman", float(spearmanr((first * second).sum(axis=1), pairs.scores).statistic))
    close = pairs.scores > ALIKE
    yield row_of(name, "alignment", alignment(first[close], second[close]))
    different = np.unique(np.concatenate([first, second]), axis=0)
    yield row_of(name, "uniformity", uniformity(different))


def film_rows(name: str, by_film: ByFilm, base: ByFilm) -> Iterator[Row]:
    """Means over films, with the gains over the base, each with its bootstrap interval over films."""
    means, gains = bootstrap_means(by_film), bootstrap_means(by_film - base)
    for measure, mean, gain in zip((f"recall@{K}", f"ndcg@{K}"), means, gains, strict=True):
        yield row_of(
            name,
            measure,
            mean.mean,
            interval=f"[{mean.low:.4f}, {mean.high:.4f}]",
            gain=f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]",
        )


def same_film(vectors: TextVectors, films: NDArray[np.int64]) -> ByFilm:
    """recall and NDCG of the other reviews of a film (films, 2), each review asking among all others."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    targets = films[:, None] == films
    np.fill_diagonal(targets, False)
    hits, relevant = hits_of(top_k(scores, K), targets), targets.sum(axis=1)
    values = np.stack([recall(hits, relevant, K), ndcg(hits, relevant, K)], axis=1)
    return np.stack([values[films == film].mean(axis=0) for film in np.unique(films)])


def pairs_within(films: NDArray[np.int64]) -> Sequence[NDArray[np.intp]]:
    """The rows of all pairs of one film."""
    return np.nonzero(np.triu(films[:, None] == films, k=1))


def row_of(data: str, measure: str, value: float, interval: str = "", gain: str = "") -> Row:
    return {
        "data": data,
        "measure": measure,
        "value": f"{value:.4f}",
        "interval": interval,
        "gain_over_base": gain,
    }


if __name__ == "__main__":
    main()

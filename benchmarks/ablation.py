"""What the parts of the default model contribute, on given lists.

    python -m benchmarks.ablation --train FILE --valid FILE --test FILE

The files are those of `benchmarks.lists`. Each variant differs from the default by what its name says, and
is scored on the valid list; test is left alone. Writes benchmarks/results/ablation.csv.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

from benchmarks.lists import add_files, inputs_of, trained
from benchmarks.results_file import put_rows
from nearfeed_contracts.runs import Block
from nearfeed_embedder.comparison.lists import read_lists
from nearfeed_embedder.evaluation.ranking import NDCG, RECALL, rank
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.evaluation.vectors import by_vectors
from nearfeed_embedder.linear.autoencoder import LinearRule, fit_roles
from nearfeed_embedder.run import MODEL
from nearfeed_embedder.stages import finish
from nearfeed_embedder.training import Inputs

RESULTS = Path(__file__).parent / "results" / "ablation.csv"
LINEAR = {
    "linear": {},
    "linear, 64 dimensions": {"dim": 64},
    "linear, 256 dimensions": {"dim": 256},
    "linear, no dropout": {"dropout": 0.0},
    "linear, all readers alike": {"reader_power": 0.0},
}
Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_files(parser)
    given = parser.parse_args()
    split = read_lists(given.train, given.valid, given.test).split("valid")
    rows: list[Row] = []
    for row in [*linear_rows(split), *whole_rows(inputs_of(split, given), split)]:
        sys.stdout.write(f"{row}\n")
        rows.append(row)
    put_rows(RESULTS, rows, of=itemgetter("variant"))


def linear_rows(split: Split) -> Iterator[Row]:
    for name, changes in LINEAR.items():
        rule = replace(LinearRule(), **changes)
        started = time.perf_counter()
        roles = fit_roles(split.train, rule)
        seconds = time.perf_counter() - started
        blocks = [Block(start=0, dim=rule.dim, pooling="sum")]
        yield _row(name, by_vectors(roles.vectors, roles.contexts, blocks, split.history), split, seconds)


def whole_rows(inputs: Inputs, split: Split) -> Iterator[Row]:
    """PinSage alone and beside the linear part, in the default's form and without what it has."""
    networks = {
        "PinSage": inputs,
        "PinSage without neighbours": replace(inputs, shape=replace(inputs.shape, layers=0)),
        "PinSage from an empty start": replace(inputs, rule=replace(inputs.rule, id_scale=0.0)),
    }
    for name, changed in networks.items():
        started = time.perf_counter()
        _, scorers = finish(trained(changed, split, split))
        seconds = time.perf_counter() - started
        yield _row(name, scorers["pinsage"], split, seconds)
        yield _row(f"linear beside {name}", scorers[MODEL], split, seconds)


def _row(name: str, scorer: Scorer, split: Split, seconds: float) -> Row:
    ranking = rank(scorer, split)
    values = {metric: f"{ranking.mean(metric):.4f}" for metric in (RECALL, NDCG)}
    return {"variant": name, "readers": str(len(ranking.readers)), **values, "seconds": f"{seconds:.0f}"}


if __name__ == "__main__":
    main()

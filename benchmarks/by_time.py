"""The default model of the past against all baselines, by what readers read later.

    python -m benchmarks.by_time --items FILE --interactions FILE

The files are in the import format. Readings are cut at 70 % of all in time; what is trained and chosen has
seen those before the cut alone. Writes benchmarks/results/by_time.csv.
"""

import argparse
import sys
from operator import itemgetter
from pathlib import Path

from benchmarks.lists import scored
from benchmarks.results_file import put_rows
from nearfeed_embedder.comparison.files import read_files
from nearfeed_embedder.comparison.models import DEFAULT, baseline_of
from nearfeed_embedder.comparison.models import inputs_of as inputs_of_baselines
from nearfeed_embedder.devices import device_of
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.graph.features import vocabulary_of
from nearfeed_embedder.recipe import recipe_of
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish
from nearfeed_embedder.text.model import TextVectors
from nearfeed_embedder.training import Inputs, choose_by_time, inputs_of, scorers_of, text_vectors

RESULTS = Path(__file__).parent / "results" / "by_time.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=Path, required=True)
    parser.add_argument("--interactions", type=Path, required=True)
    given = parser.parse_args()
    settings = EmbedderSettings()
    dataset = read_files(given.interactions, given.items, settings.weight_rule)
    device = device_of(settings.device)
    _, vectors = finish(text_vectors(settings, dataset, device))
    inputs = inputs_of(recipe_of(settings), dataset, vectors, vocabulary_of(dataset.posts))
    scorers, split = of_the_past(inputs)
    rows = []
    for row in scored({**scorers, **baselines(split, vectors)}, split):
        sys.stdout.write(f"{row}\n")
        rows.append(row)
    put_rows(RESULTS, rows, of=itemgetter("model"))


def of_the_past(inputs: Inputs) -> tuple[dict[str, Scorer], Split]:
    """The whole model and its parts, by what lies before the cut."""
    by_time = inputs.split(inputs.dataset.readings)
    past = inputs.dataset.readings.take(by_time.train)
    choice = finish(choose_by_time(inputs, past))
    network = finish(inputs.train(past, "Training", stop_after=choice.epochs))
    parts = inputs.join(network, past, choice.ridge).parts
    split = split_dataset(inputs.dataset, by_time)
    return scorers_of(parts, inputs.blocks(choice.scale), split), split


def baselines(split: Split, vectors: TextVectors) -> dict[str, Scorer]:
    """Those of `nearfeed evaluate`."""
    made = {name: baseline_of(name) for name in DEFAULT}
    given = inputs_of_baselines(split, vectors)
    return {name: baseline.scorer(given) for name, baseline in made.items() if baseline}


if __name__ == "__main__":
    main()

"""A process of a group: trains on the tasteful community until it gets no better. torchrun starts it.

Arguments: a file for the vectors, the step at which a process dies (0: none), and which one.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from taste import ALL_WORDS, bag_of_words, make_dataset

from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.graph import data_parallel
from nearfeed_embedder.graph import train as one_process
from nearfeed_embedder.graph.features import features_of, vocabulary_of
from nearfeed_embedder.graph.pinsage import Shape
from nearfeed_embedder.graph.train import Trained, TrainRule
from nearfeed_embedder.processes import rank
from nearfeed_embedder.stages import finish

CPU = torch.device("cpu")
# Readers do not divide evenly among two processes, and a last batch has a single row for both.
RULE = TrainRule(epochs=6, folds=3, draws=1, readers_at_once=7, patience=2)


def best_of_six() -> Callable[[np.ndarray], float]:
    """Says that the third epoch is the best one, so that training ends after the fifth."""
    values: Iterator[float] = iter([0.1, 0.2, 0.5, 0.4, 0.3, 0.9])
    return lambda _vectors: next(values)


def trained(dataset: Dataset) -> Trained:
    vocabulary = vocabulary_of(dataset.posts)
    features = features_of(dataset.posts, bag_of_words(dataset.posts), vocabulary)
    shape = Shape(len(ALL_WORDS), len(vocabulary.communities), len(vocabulary.tags), dim=16, hidden=32)
    data = (features, dataset.readings, dataset.half_life_days, shape, RULE)
    return finish(data_parallel.train(*data, seed=3, device=CPU, validate=best_of_six()))


def die_at(step: int) -> None:
    """Ends this process in the midst of a step, as the kernel would for want of memory."""
    add_gradients, steps = one_process.add_gradients, iter(range(1, step))

    def add(model: torch.nn.Module) -> None:
        if next(steps, None) is None:
            os._exit(9)
        add_gradients(model)

    one_process.add_gradients = add


def main(file: Path, step: int, dying: int) -> None:
    if step and dying == rank():
        die_at(step)
    if rank() > 0:
        data_parallel.follow(CPU)
        return
    with data_parallel.leading(CPU):
        made = trained(make_dataset(readers=61))
    np.savez(file, vectors=made.vectors, as_new=made.as_new, epochs=made.epochs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

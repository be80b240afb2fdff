"""Running experiments as this process last read them, and which bucket of users each has."""

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import Gauge
from sqlalchemy import Connection, Engine, select

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.tables import reader_units
from nearfeed_recommender.experiments.records import Experiment, list_experiments, newest_revision
from nearfeed_recommender.experiments.schema import BUCKETS, Place
from nearfeed_runtime.sql import read_connection

Ranges = tuple[tuple[int, int], ...]


def resized(present: Ranges, taken_by_others: Iterable[Ranges], size: int) -> Ranges:
    """`present` made larger or smaller: who was in stays in while it grows.

    Raises ConflictError where the layer has not so many buckets left.
    """
    own = members(present)
    if size <= len(own):
        return ranges_of(own[:size])
    taken = {bucket for ranges in taken_by_others for bucket in members(ranges)} | set(own)
    free = [bucket for bucket in range(BUCKETS) if bucket not in taken]
    lacking = size - len(own)
    if lacking > len(free):
        most = (len(own) + len(free)) / BUCKETS
        raise ConflictError(
            f"Of this layer {most:.1%} is free, and {size / BUCKETS:.1%} is asked for; take less, or stop "
            "another experiment of the layer."
        )
    return ranges_of([*own, *free[:lacking]])


def members(ranges: Ranges) -> list[int]:
    """The buckets of ranges, in their order."""
    return [bucket for first, end in ranges for bucket in range(first, end)]


def ranges_of(buckets: Collection[int]) -> Ranges:
    """Buckets as ranges (first, end), in their order."""
    ranges: list[tuple[int, int]] = []
    for bucket in buckets:
        if ranges and ranges[-1][1] == bucket:
            ranges[-1] = (ranges[-1][0], bucket + 1)
        else:
            ranges.append((bucket, bucket + 1))
    return tuple(ranges)


def size_of(share: float) -> int:
    """How many buckets a share of a layer is, one at least."""
    return max(1, round(share * BUCKETS))


RUNNING = Gauge("nearfeed_experiments_running", "The experiments that this process serves.")


@dataclass(frozen=True)
class Layer:
    """The experiment of each of the buckets of a layer at one place."""

    name: str
    buckets: tuple[Experiment | None, ...]


@dataclass(frozen=True)
class Running:
    """The layers of the places at which experiments run; `merged` tells whether any ids of readers were."""

    revision: int = 0
    layers: Mapping[Place, Layer] = field(default_factory=dict)
    merged: bool = False


class LiveExperiments:
    """Any thread may read it, and any may refresh it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._current = Running()
        self._refreshing = threading.Lock()

    @property
    def current(self) -> Running:
        """What a request reads once, and keeps to its end."""
        return self._current

    def refresh(self) -> bool:
        """Looks for changes, and tells whether there were any; without, it costs a look into an index."""
        with self._refreshing, read_connection(self._engine) as connection:
            revision, merged = newest_revision(connection), self._current.merged or has_merged(connection)
            if (revision, merged) == (self._current.revision, self._current.merged):
                return False
            running = list_experiments(connection, "running")
            self._current = Running(revision, layers_of(running), merged)
        RUNNING.set(len(running))
        return True


def layers_of(running: Iterable[Experiment]) -> dict[Place, Layer]:
    """The layers of the places at which these experiments run; those at one place share a layer."""
    slots: dict[Place, tuple[str, list[Experiment | None]]] = {}
    for experiment in running:
        design = experiment.design
        _, buckets = slots.setdefault(design.place, (design.layer_name, [None] * BUCKETS))
        for bucket in members(experiment.traffic.buckets):
            buckets[bucket] = experiment
    return {place: Layer(name, tuple(buckets)) for place, (name, buckets) in slots.items()}


def has_merged(connection: Connection) -> bool:
    """Whether any reader is assigned by an id that is not theirs."""
    return connection.scalar(select(reader_units.c.user_id).limit(1)) is not None

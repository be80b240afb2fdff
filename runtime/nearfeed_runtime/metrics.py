"""Metrics of several processes as one exposition for Prometheus.

A process that is started with PROMETHEUS_MULTIPROC_DIR in its environment writes its values to files of that
folder, which another process reads; prometheus_client looks at it once, when it is imported.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest, multiprocess
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def exposition(children: Path | None = None) -> bytes:
    """The metrics of this process, and of those that write theirs to `children`, added up.

    Where this process writes to a folder itself, the metrics of all processes that do.
    """
    own = os.environ.get(FOLDER)
    if own is not None:
        return generate_latest(_of_folder(own))
    if children is None:
        return generate_latest()
    return generate_latest(_Sum([REGISTRY, _of_folder(str(children))]))


def mark_ended(pid: int, folder: Path | None = None) -> None:
    """Takes away what a process that has ended had in gauges of living processes."""
    multiprocess.mark_process_dead(pid, folder and str(folder))  # type: ignore[no-untyped-call]


def _of_folder(path: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path)  # type: ignore[no-untyped-call]
    return registry


class _Sum(Collector):
    """Several registries as one: samples of the same name and labels are added."""

    def __init__(self, registries: Iterable[CollectorRegistry]) -> None:
        self._registries = list(registries)

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for registry in self._registries:
            for found in registry.collect():
                known = families.get(found.name)
                if known is None:
                    families[found.name] = found
                else:
                    known.samples = _added([*known.samples, *found.samples])
        return families.values()


def _added(samples: Iterable[Sample]) -> list[Sample]:
    sums: dict[tuple[str, frozenset[tuple[str, str]]], Sample] = {}
    for sample in samples:
        key = sample.name, frozenset(sample.labels.items())
        known = sums.get(key)
        sums[key] = sample if known is None else sample._replace(value=known.value + sample.value)
    return list(sums.values())

"""The buckets of a layer: an experiment takes free ones, and gives back those that it took last."""

from collections.abc import Collection, Iterable

from nearfeed_contracts.errors import ConflictError
from nearfeed_recommender.experiments.schema import BUCKETS

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

"""How rankings of several sources become one."""

from collections.abc import Iterator, Sequence

from nearfeed_recommender.pages import Entry


def interleave(*rankings: Sequence[Entry]) -> list[Entry]:
    """Takes from each ranking in turn, each post once."""
    merged: dict[str, Entry] = {}
    for depth in range(max(map(len, rankings), default=0)):
        for ranking in rankings:
            if depth < len(ranking):
                merged.setdefault(ranking[depth].item_id, ranking[depth])
    return list(merged.values())


def reserve_places(ranked: Sequence[Entry], reserved: Sequence[Entry], every: int) -> list[Entry]:
    """Gives each `every`-th place to the best reserved post that has none yet; the others keep their order.

    Where the reserved posts are the best anyway, nothing changes but where they are said to come from.
    """
    placed: dict[str, Entry] = {}
    usual, special = _unplaced(ranked, placed), _unplaced(reserved, placed)
    while True:
        special_place = (len(placed) + 1) % every == 0
        entry = (next(special, None) if special_place else None) or next(usual, None)
        if entry is None:
            return list(placed.values())
        placed[entry.item_id] = entry


def _unplaced(ranking: Sequence[Entry], placed: dict[str, Entry]) -> Iterator[Entry]:
    return (entry for entry in ranking if entry.item_id not in placed)

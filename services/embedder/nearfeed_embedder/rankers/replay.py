"""Groups from past readings, for an app that has not served anything yet.

Readings are gone through again in windows of time. Candidates come from models that have learned from what
lay before the window, the inputs are as they were at the moment of each request, and what the reader read
next is what the posts are graded by.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.fusion import fused
from nearfeed_core.metrics import NOTHING, top_k
from nearfeed_core.ranking_inputs import PostInputs, reader_of
from nearfeed_embedder.baselines.als import als
from nearfeed_embedder.baselines.item_knn import item_knn
from nearfeed_embedder.dataset import Dataset, Readings, Rows, profile
from nearfeed_embedder.evaluation.split import Scorer, matrix_of
from nearfeed_embedder.rankers.catalogue import Catalogue
from nearfeed_embedder.rankers.examples import DAY_MICROS, LABEL_DAYS, Group
from nearfeed_embedder.stages import Stage, finish
from nearfeed_runtime.operations import Progress

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Scores = NDArray[np.float32]
MODELS: Mapping[str, Callable[..., Scorer]] = {"item-knn": item_knn, "als": als}
POPULAR, LATEST, TOWER = "popular", "latest", "youtube-dnn"
DEFAULT_SOURCES = (POPULAR, *MODELS, LATEST)
SOURCES = (*DEFAULT_SOURCES, TOWER)
WINDOWS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_AT_ONCE = 128


class UnknownSourceError(NearfeedError):
    """A source that a replay does not have."""


@dataclass(frozen=True)
class ReplayRule:
    """Which sources there are and how many posts each gives, how many are ranked and kept.

    `requests` of a window are replayed at most, `each` of one reader; `negatives` posts that were not read
    are kept of a group, or all where it is None. Readings of others are known up to the very moment, or
    unless `live` up to the window.
    """

    sources: tuple[str, ...] = DEFAULT_SOURCES
    limit: int = 200
    depth: int = 200
    popular_days: float = 30.0
    requests: int = 1_000
    each: int = 10
    negatives: int | None = 50
    seed: int = 0
    live: bool = True


@dataclass(frozen=True)
class Request:
    """A reader at a time: `past` are rows of the readings that lie before it, `targets` what was read next.

    Readings of others are known up to `known_until`.
    """

    served_at: int
    known_until: int
    past: Rows
    targets: Rows


@dataclass(frozen=True)
class History:
    """Readings and posts, with the readings by time as well."""

    dataset: Dataset
    catalogue: Catalogue
    by_time: Rows = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_time", np.argsort(self.readings.time, kind="stable"))

    @property
    def readings(self) -> Readings:
        return self.dataset.readings

    def readers_between(self, start: int, end: int) -> NDArray[np.intp]:
        """How many readers each post had in [start, end)."""
        times = self.readings.time[self.by_time]
        first, last = np.searchsorted(times, [start, end])
        items = self.readings.item[self.by_time[first:last]]
        return np.bincount(items, minlength=len(self.dataset.posts))


def sources_of(names: str) -> tuple[str, ...]:
    """Those that are named as in popular+als. Raises UnknownSourceError."""
    sources = tuple(names.split("+"))
    if unknown := [name for name in sources if name not in SOURCES]:
        raise UnknownSourceError(
            f"sources: {unknown[0]!r} is none of a replay's sources {', '.join(SOURCES)}."
        )
    return sources


def replay(history: History, rule: ReplayRule) -> Stage[list[Group]]:
    """Groups of all windows, in the order of time of the windows."""
    times = np.sort(history.readings.time)
    ends = [int(times[min(int(share * len(times)), len(times) - 1)]) for share in WINDOWS]
    rng = np.random.default_rng(rule.seed)
    groups: list[Group] = []
    for number, (start, end) in enumerate(pairwise(ends)):
        yield Progress("Replaying readings", number, len(WINDOWS) - 1)
        requests = requests_between(history.readings, start, end, rule, rng)
        groups += [sampled(group, rule, rng) for group in replayed(history, start, requests, rule)]
    yield Progress("Replaying readings", len(WINDOWS) - 1, len(WINDOWS) - 1)
    return groups


def requests_between(
    readings: Readings,
    start: int,
    end: int,
    rule: ReplayRule,
    rng: np.random.Generator,
) -> list[Request]:
    """Random readings within [start, end) as moments at which a reader came for more.

    Only moments before which the reader had read something.
    """
    requests = []
    for rows in readings.rows_by_reader():
        times = readings.time[rows]
        moments = np.unique(times[(times >= start) & (times < end) & (times > times[0])])
        for moment in rng.choice(moments, min(rule.each, len(moments)), replace=False):
            before = np.searchsorted(times, moment)
            after = np.searchsorted(times, moment + int(LABEL_DAYS * DAY_MICROS))
            known = int(moment) if rule.live else start
            requests.append(Request(int(moment), known, rows[:before], rows[before:after]))
    chosen = np.sort(rng.permutation(len(requests))[: rule.requests])
    return [requests[number] for number in chosen]


def replayed(
    history: History, models_until: int, requests: Sequence[Request], rule: ReplayRule
) -> Iterator[Group]:
    """The group of each request: the best of the fused sources, in their order.

    The models have learned from the readings before `models_until`.
    """
    shape = (len(requests), len(history.dataset.posts))
    scorers = _scorers(history, models_until, requests, rule, shape)
    for start in range(0, len(requests), _AT_ONCE):
        part = requests[start : start + _AT_ONCE]
        counts = np.stack([_counts(history, request, rule) for request in part])
        scored = _scores(history, scorers, np.arange(start, start + len(part)), counts, rule)
        found = {name: _best(history, scores, part, rule.limit) for name, scores in scored.items()}
        for place, request in enumerate(part):
            rankings = {name: items[place] for name, items in found.items()}
            yield _group(history, request, rankings, counts[place], rule)


def sampled(group: Group, rule: ReplayRule, rng: np.random.Generator) -> Group:
    """With all posts that were read and a random few of the others, in their order."""
    unread = np.flatnonzero(group.grades == 0)
    if rule.negatives is None or len(unread) <= rule.negatives:
        return group
    kept = np.concatenate(
        [np.flatnonzero(group.grades > 0), rng.choice(unread, rule.negatives, replace=False)]
    )
    kept.sort()
    posts = tuple(group.posts[row] for row in kept)
    return Group(group.reader, posts, tuple(group.positions[row] for row in kept), group.grades[kept])


def _scorers(
    history: History, until: int, requests: Sequence[Request], rule: ReplayRule, shape: tuple[int, int]
) -> dict[str, Scorer]:
    readings = history.readings
    past = readings.take(readings.time < until)
    readers = int(readings.reader.max(initial=-1)) + 1
    train = matrix_of(past.reader, past.item, (readers, shape[1]))
    profiles = [profile(readings, request.past, history.dataset.half_life_days) for request in requests]
    rows = np.repeat(np.arange(len(requests)), [len(items) for items, _ in profiles])
    described = matrix_of(
        rows,
        np.concatenate([np.empty(0, np.intp), *(items for items, _ in profiles)]),
        shape,
        np.concatenate([np.empty(0), *(weights for _, weights in profiles)]),
    )
    scorers = {name: MODELS[name](train, described) for name in rule.sources if name in MODELS}
    if TOWER in rule.sources:
        scorers[TOWER] = _tower(history.dataset.before(until), described, rule.seed)
    return scorers


def _tower(past: Dataset, described: "csr_matrix", seed: int) -> Scorer:
    """By the chance that a tower gives to each post."""
    # torch takes seconds to import, which other sources need not wait for.
    from nearfeed_embedder.towers.scoring import fit_past, scorer_of
    from nearfeed_embedder.towers.youtube import TowerRule

    model, _ = finish(fit_past(past, TowerRule(), seed))
    score = scorer_of(model, described)

    def chances(rows: Rows) -> Scores:
        logits = score(rows)
        return np.asarray(np.exp(logits - logits.max(axis=1, keepdims=True)))

    return chances


def _scores(
    history: History, scorers: Mapping[str, Scorer], part: Rows, counts: Rows, rule: ReplayRule
) -> dict[str, Scores]:
    """(requests, posts) of each source; what is not above 0 is not given by it."""
    found: dict[str, Scores] = {}
    for name in rule.sources:
        if name == POPULAR:
            found[name] = counts.astype(np.float32)
        elif name == LATEST:
            newest_last = np.argsort(np.argsort(history.catalogue.published, kind="stable")) + 1
            found[name] = np.broadcast_to(newest_last.astype(np.float32), counts.shape)
        else:
            found[name] = scorers[name](part)
    return found


def _counts(history: History, request: Request, rule: ReplayRule) -> NDArray[np.intp]:
    since = request.known_until - int(rule.popular_days * DAY_MICROS)
    return history.readers_between(since, request.known_until)


def _best(history: History, scores: Scores, requests: Sequence[Request], limit: int) -> list[list[int]]:
    """Per request the best posts that had appeared by then and that the reader had not read."""
    allowed = np.array(scores)
    allowed[allowed <= 0] = -np.inf
    for row, request in enumerate(requests):
        allowed[row, history.readings.item[request.past]] = -np.inf
        allowed[row, history.catalogue.published > request.served_at] = -np.inf
    ranked = top_k(allowed, limit)
    return [[int(item) for item in row if item != NOTHING] for row in ranked]


def _group(
    history: History,
    request: Request,
    rankings: Mapping[str, Sequence[int]],
    counts: NDArray[np.intp],
    rule: ReplayRule,
) -> Group:
    posts = history.dataset.posts
    named = {name: [posts[item].item_id for item in items] for name, items in rankings.items()}
    place = {posts[item].item_id: item for items in rankings.values() for item in items}
    ranks: dict[str, dict[str, int]] = {item_id: {} for item_id in place}
    for name, item_ids in named.items():
        for rank, item_id in enumerate(item_ids, start=1):
            ranks[item_id][name] = rank
    best = list(fused(named, dict.fromkeys(named, 1.0)))[: rule.depth]
    weights = dict(
        zip(history.readings.item[request.targets], history.readings.weight[request.targets], strict=True)
    )
    items, weighed = profile(history.readings, request.past, history.dataset.half_life_days)
    return Group(
        reader_of(request.served_at, history.catalogue.weighed(items, weighed)),
        tuple(
            _post(history.catalogue, place[item_id], int(counts[place[item_id]]), ranks[item_id])
            for item_id in best
        ),
        (0,) * len(best),
        np.array([weights.get(place[item_id], 0.0) for item_id in best], np.float32),
    )


def _post(catalogue: Catalogue, item: int, readers: int, ranks: Mapping[str, int]) -> PostInputs:
    post = catalogue.posts[item]
    return PostInputs(
        post.item_id,
        post.community_id,
        catalogue.authors[item],
        int(catalogue.published[item]),
        post.tags,
        readers,
        ranks,
    )

"""Searches in the vector store: with the reader's vector, and with those of what they read last."""

from dataclasses import replace
from itertools import chain

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import Filter, Hit
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.config.schema import SimilarSource, VectorsSource
from nearfeed_recommender.posts import Audience, has_posts_since
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.readers.profiles import load_profile
from nearfeed_recommender.readers.user_vectors import live_spaces, stored_vector
from nearfeed_runtime.sql import reading


class NoSpaceError(ConflictError):
    """There is no space to search in, though there are readings."""


def from_vectors(serving: Serving, request: Request, source: VectorsSource, audience: Audience) -> list[Hit]:
    """One filtered search; nothing for a reader without a vector."""
    space = _space_of(serving, request, source.model)
    if space is None:
        return []
    where = audience.filter()
    if source.hours is not None:
        where = _younger_than(where, request.now - int(source.hours * HOUR_MICROS))
        with reading(serving.engine) as connection:
            if not has_posts_since(connection, audience, where.published_after or 0):
                return []
    pooled = _reader_vector(serving, request, space)
    if pooled is None:
        return []
    tower = serving.models.tower_of(space)
    vector = tower.query(pooled) if tower else pooled
    return serving.breaker.ask(lambda: serving.store.search(space, vector, source.limit, where))


def from_similar(serving: Serving, request: Request, source: SimilarSource, audience: Audience) -> list[Hit]:
    """What is closest to each of the last readings; a post has the best of its scores."""
    space = _space_of(serving, request, source.model)
    last = [item for item, _ in request.readings[: source.readings]]
    if space is None or not last:
        return []
    where = audience.filter()
    where = replace(where, exclude_item_ids=where.exclude_item_ids | frozenset(last))

    def search() -> list[Hit]:
        vectors = list(serving.vectors.of(space, last).values())
        found = serving.store.search_many(space, vectors, source.limit, where)
        return _best_of(list(chain(*found)))

    return serving.breaker.ask(search)


def _space_of(serving: Serving, request: Request, model: str) -> str | None:
    """None where nothing can be found: there is no space yet, and nothing was read that it would hold."""
    space = serving.models.space_of(model) or request.space
    if space is None and request.audience.seen:
        raise NoSpaceError("no space is active yet: load a run with `nearfeed load RUN --activate`.")
    return space


def _younger_than(where: Filter, since: int) -> Filter:
    return replace(where, published_after=max(since, where.published_after or since))


def _reader_vector(serving: Serving, request: Request, space: str) -> VectorArray | None:
    """The stored vector, or one computed now where it is stale or missing; None without readings."""
    if not request.readings:
        return None
    if space == request.space and request.vector is not None:
        return request.vector
    with reading(serving.engine) as connection:
        if (
            space != request.space
            and (stored := stored_vector(connection, space, request.user_id)) is not None
        ):
            return stored
        blocks = live_spaces(connection).get(space)
        if blocks is None:
            return None
        pooling = serving.pooling
        return load_profile(connection, pooling.cache, pooling.rule, space, request.user_id).vector(blocks)


def _best_of(hits: list[Hit]) -> list[Hit]:
    best: dict[str, float] = {}
    for item, score in hits:
        best[item] = max(score, best.get(item, score))
    return sorted(
        (Hit(item, score) for item, score in best.items()), key=lambda hit: (-hit.score, hit.item_id)
    )

"""What goes out: the posts of a ranking that SQL lets a user see now, each with its reason, as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.catalog.columns import Rows
from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.catalog.posts import PostText, PostTexts
from nearfeed_recommender.pipeline.candidates import SOURCE_MARK, Candidates, Mark
from nearfeed_recommender.pipeline.less import LessLikeThis
from nearfeed_recommender.pipeline.query import Hydrator, Query
from nearfeed_recommender.users.eligibility import Eligibility

BY_ENGAGEMENTS = frozenset({"close_to_read", "read_by_others", "new"})
"""The kinds of reason that name the closest post that the user has engaged with."""

_SOON_MICROS = 20_000
"""A request that has taken longer looks once more for posts that were changed or taken down."""
_REASONS = {
    "close_to_read": "Close to what you read",
    "read_by_others": "Read by those who read what you read",
    "new": "New in {community}",
    "latest": "New in {community}",
    "popular": "Popular in {community}",
    "followed": "By {author}, whom you follow",
    "newcomer": "By {author}, who has just begun",
    "pick": "Picked by the editors",
}


class Reason(NamedTuple):
    """`kind` is that of the source; `item_id` names the closest post that the user has engaged with."""

    kind: str
    text: str
    item_id: str | None = None


class Shown(NamedTuple):
    """A post in a response: its place in the candidates (from 0), its row, its text, and why it is there."""

    place: int
    row: int
    text: PostText
    reason: Reason


@dataclass(frozen=True)
class Order:
    """Candidates as they are shown: `kinds` has the kind of reason of each of the candidates' names."""

    candidates: Candidates
    kinds: Sequence[str]

    def kind_of(self, place: int) -> str:
        return self.kinds[int(self.candidates.source[place])]

    def source_of(self, place: int) -> str:
        return self.candidates.names[int(self.candidates.source[place])]

    def marks_of(self, place: int) -> tuple[Mark, ...]:
        """What the stages made of a candidate; of one without a trace what its sources did."""
        trace = self.candidates.trace
        if trace is not None:
            return trace.of(int(self.candidates.rows[place]))
        found = self.candidates.found_by(place)
        return tuple(Mark(f"{SOURCE_MARK}{name}", rank, score) for name, rank, score in found)


class Responder:
    """Reads what is shown. Thread-safe."""

    def __init__(self, texts: PostTexts, embeddings: Embeddings, hydrator: Hydrator) -> None:
        self._texts, self._embeddings, self._hydrator = texts, embeddings, hydrator
        self.less = LessLikeThis(embeddings)

    def posts(self, query: Query) -> "ResponsePosts":
        """What one response reads."""
        return ResponsePosts(self, query)

    def texts_of(self, rows: Iterable[int]) -> dict[int, PostText]:
        """The posts of those rows that are not deleted.

        Where one has changed since the columns were followed they are followed again, so that whether it may
        be shown is asked, after this, of what is shown.
        """
        found = self._texts.of(rows)
        version = self._embeddings.columns.version
        if any(text.version > version[row] for row, text in found.items()):
            self.follow_posts()
        return found

    def look_again(self, query: Query) -> None:
        """Takes in what has been written since the request began, where that is a while ago."""
        if now_micros() - query.now > _SOON_MICROS:
            self.follow_posts()

    def follow_posts(self) -> None:
        """Takes in what has been written since the request began."""
        self._hydrator.follow_posts()

    def closest(self, query: Query, rows: Rows) -> dict[int, int]:
        """For each post the engaged post whose input embedding has the highest cosine with its own."""
        engaged = query.last(len(query.state.newest[0]))
        if query.space is None or not len(engaged) or not len(rows):
            return {}
        read, shown = self._embeddings.of(query.space, engaged), self._embeddings.of(query.space, rows)
        if not len(read.vectors) or not len(shown.vectors):
            return {}
        best = ((shown.vectors @ read.vectors.T) / read.lengths).argmax(axis=1)
        return dict(zip(rows[shown.known].tolist(), engaged[read.known][best].tolist(), strict=True))


class ResponsePosts:
    """The posts of one response by row, as far as they were read. Not for use by several threads."""

    def __init__(self, responder: Responder, query: Query) -> None:
        self._responder, self._query = responder, query
        self._texts: dict[int, PostText | None] = {}
        self._closest: dict[int, int] = {}

    def read(self, orders: Iterable[tuple[Order, range]]) -> None:
        """Reads the posts at these places, and the engaged posts that are closest to them, at once."""
        rows: list[int] = []
        personal: list[int] = []
        for order, places in orders:
            for place in places:
                row = int(order.candidates.rows[place])
                if row not in self._texts:
                    rows.append(row)
                    if order.kind_of(place) in BY_ENGAGEMENTS:
                        personal.append(row)
        if not rows:
            return
        self._closest |= self._responder.closest(self._query, np.array(personal, np.int32))
        self._responder.look_again(self._query)
        wanted = dict.fromkeys([*rows, *self._closest.values()])
        found = self._responder.texts_of(wanted)
        self._texts |= {row: found.get(row) for row in wanted}

    def visible(
        self, order: Order, eligible: Eligibility, position: int, limit: int, taken: Rows | None = None
    ) -> tuple[list[Shown], int]:
        """Up to `limit` posts from `position` on, and the position after them.

        Posts that may not be seen, and those of `taken`, are passed over, and the page is filled up.
        """
        shown: list[Shown] = []
        count = len(order.candidates)
        while position < count and len(shown) < limit:
            places = range(position, min(count, position + limit - len(shown)))
            self.read([(order, places)])
            rows = order.candidates.rows[places.start : places.stop]
            allowed = eligible.allows(rows)
            if taken is not None:
                allowed &= ~np.isin(rows, taken)
            for place, row, may in zip(places, rows.tolist(), allowed.tolist(), strict=True):
                text = self._texts[row]
                if may and text is not None:
                    shown.append(Shown(place, row, text, self._reason(order.kind_of(place), row, text)))
            position = places.stop
        return shown, position

    def _reason(self, kind: str, row: int, text: PostText) -> Reason:
        closest = self._closest.get(row)
        read = None if closest is None else self._texts.get(closest)
        item_id = None if closest is None or read is None else self._query.columns.ids[closest]
        return reason_for(kind, text, read.title if read else None, item_id)


def reason_for(kind: str, post: PostText, read_title: str | None, read_id: str | None) -> Reason:
    """The reason of a kind; `read_id` and `read_title` are of the closest engaged post, if there is one."""
    if kind == "close_to_read" and read_id:
        return Reason(kind, f"Because you read {read_title}", read_id)
    text = _REASONS.get(kind, "Chosen for you")
    text = text.format(community=post.community_id, author=post.author_id)
    return Reason(kind, text, read_id if kind in BY_ENGAGEMENTS else None)


def encode_items(order: Order, shown: Sequence[Shown], *, explain: bool) -> bytes:
    """The JSON list of shown posts."""
    return b"[" + b",".join(_encoded(order, each, explain) for each in shown) + b"]"


def _encoded(order: Order, shown: Shown, explain: bool) -> bytes:
    place, reason = shown.place, shown.reason
    more: dict[str, Any] = {
        "score": float(order.candidates.scores[place]),
        "source": order.source_of(place),
        "reason": {"kind": reason.kind, "text": reason.text, "item_id": reason.item_id},
        "explain": [mark._asdict() for mark in order.marks_of(place)] if explain else None,
    }
    return shown.text.json + b"," + orjson.dumps(more)[1:]


def encode_object(fields: Mapping[str, Any], name: str, value: bytes) -> bytes:
    """The JSON object of `fields`, and one more with a value that is JSON already."""
    return orjson.dumps(fields)[:-1] + b',"' + name.encode() + b'":' + value + b"}"

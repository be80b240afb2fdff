"""Random users and posts, and the definition of what a user may see, one post at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from nearfeed_contracts.events import KINDS, Interaction
from nearfeed_contracts.fields import from_micros, to_micros
from nearfeed_core.readings import Reading, WeightRule
from nearfeed_recommender.catalog.columns import Columns, PostFacts
from nearfeed_recommender.config.schema import Filter, LanguageFilter
from nearfeed_recommender.users.eligibility import Eligibility, Wish
from nearfeed_recommender.users.memberships import Controls
from nearfeed_recommender.users.state import UserState

USER = "u"
COMMUNITIES = ("c0", "c1", "c2")
AUTHORS = ("a0", "a1", USER)
TAGS = ("red", "green", "blue")
LANGUAGES = (None, "en", "en-GB", "EN-us", "de", "eng", "de-AT-1996")
START = 1_790_000_000_000_000


@dataclass(frozen=True)
class Audience:
    """A user with a wish, under filters, and the posts that there are."""

    posts: tuple[PostFacts, ...]
    events: tuple[Interaction, ...]
    joined: frozenset[str]
    controls: Controls
    wish: Wish
    filters: tuple[Filter, ...]

    def eligibility(self) -> Eligibility:
        columns = Columns()
        columns.reserve(reversed([post.item_id for post in self.posts[::2]]))
        columns.put(self.posts)
        state = replace(empty_state(columns), joined=self.joined, controls=self.controls)
        return Eligibility(state.with_events(self.events), self.wish, self.filters)

    def allows(self, post: PostFacts) -> bool:
        """By the words of docs/serving.md: deletion, what was turned down, `blocked` and `hidden_topic`
        hold in any case, the others where they are named."""
        return (
            post.published_at is not None
            and post.author_id not in self.controls.authors
            and not set(post.tags) & self.controls.tags
            and post.item_id not in self.controls.items
            and not self._reading_of(post).is_excluded()
            and all(self._passes(each, post) for each in self.filters)
            and ("membership" in self.filters or self._is_wished(post))
        )

    def _passes(self, each: Filter, post: PostFacts) -> bool:
        if isinstance(each, LanguageFilter):
            return post.language is None or any(_is_in(wanted, post.language) for wanted in each.language)
        after = self.wish.published_after
        passes = {
            "membership": (not self.joined or post.community_id in self.joined) and self._is_wished(post),
            "date": after is None or (post.published_at or 0) >= after,
            "seen": not self._reading_of(post).is_seen(),
            "own": post.author_id != USER,
        }
        return passes.get(each, True)

    def _is_wished(self, post: PostFacts) -> bool:
        return not self.wish.communities or post.community_id in self.wish.communities

    def _reading_of(self, post: PostFacts) -> Reading:
        row = Reading()
        for event in self.events:
            if event.item_id == post.item_id:
                row = row.merged(event.kind, to_micros(event.occurred_at), event.value)
        return row


def _is_in(wanted: str, language: str) -> bool:
    """Basic filtering of RFC 4647, section 3.3.1."""
    wanted, language = wanted.lower(), language.lower()
    return language == wanted or language.startswith(f"{wanted}-")


def empty_state(columns: Columns, user_id: str = USER, reset_at: int = 0) -> UserState:
    """A user who has done nothing."""
    nothing = np.empty((0, len(KINDS)))
    return UserState(
        user_id, 0, columns, WeightRule(), np.empty(0, np.int32), nothing, np.empty(0), reset_at=reset_at
    )


def interaction(item_id: str, kind: str, second: int, value: float | None = None) -> Interaction:
    at = from_micros(START + second * 1_000_000)
    return Interaction(user_id=USER, item_id=item_id, kind=kind, occurred_at=at, value=value)  # type: ignore[arg-type]


def interactions(ids: Sequence[str]) -> st.SearchStrategy[Interaction]:
    """Events of the user on posts; ratings among them."""
    some = st.sampled_from(list(ids))
    kinds = st.sampled_from([kind for kind in KINDS if kind != "rating"])
    acts = st.builds(interaction, some, kinds, st.integers(0, 5))
    rates = st.builds(
        interaction, some, st.just("rating"), st.integers(0, 5), st.sampled_from([1.0, 3.0, 5.0])
    )
    return st.one_of(acts, acts, rates)


def audiences(posts: int = 10) -> st.SearchStrategy[Audience]:
    """Users with up to so many posts."""
    ids = [f"p{number}" for number in range(posts)]
    post = st.builds(
        PostFacts,
        item_id=st.sampled_from(ids),
        version=st.integers(1, 3),
        community_id=st.sampled_from(COMMUNITIES),
        author_id=st.sampled_from(AUTHORS),
        tags=st.lists(st.sampled_from(TAGS), max_size=2).map(tuple),
        language=st.sampled_from(LANGUAGES),
        published_at=st.one_of(st.none(), *[st.integers(START, START + 9)] * 4),
    )
    languages = st.lists(st.sampled_from(["en", "EN-gb", "de", "fr"]), min_size=1, max_size=2).map(
        lambda some: LanguageFilter(language=tuple(some))
    )
    named = st.sampled_from(["membership", "date", "seen", "own", "blocked", "hidden_topic"])
    return st.builds(
        Audience,
        posts=st.lists(post, max_size=posts, unique_by=lambda each: each.item_id).map(tuple),
        events=st.lists(interactions(ids), max_size=posts).map(tuple),
        joined=st.frozensets(st.sampled_from(COMMUNITIES), max_size=2),
        controls=st.builds(
            Controls,
            authors=st.frozensets(st.sampled_from(["a0", "nobody"])),
            tags=st.frozensets(st.sampled_from(["red", "none has it"])),
            items=st.frozensets(st.sampled_from([*ids[:2], "never was"])),
        ),
        wish=st.builds(
            Wish,
            communities=st.frozensets(st.sampled_from([*COMMUNITIES, "c9"]), max_size=2),
            published_after=st.none() | st.integers(START, START + 9),
        ),
        filters=st.lists(st.one_of(named, named, languages), max_size=6, unique_by=str).map(tuple),
    )

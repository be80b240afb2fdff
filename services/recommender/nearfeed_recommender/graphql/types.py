"""What can be asked for. An id is all that most of them hold; the loaders bring the rest when it is asked."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, cast

import orjson
import strawberry
from strawberry.scalars import JSON

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.events import Kind
from nearfeed_contracts.fields import from_micros
from nearfeed_recommender.catalog.posts import Post
from nearfeed_recommender.graphql.loaders import Loaders
from nearfeed_recommender.graphql.queries import OfReader, Some, VertexKey, WeighedReading
from nearfeed_recommender.graphql.relations import SIMILAR, Link, Relating
from nearfeed_recommender.settings import Scope


class PersonalDataError(NearfeedError):
    """A list of readers, asked for with a key that may not see one."""


class OtherReaderError(NearfeedError):
    """A reader, asked for with the token of another one."""


@dataclass(frozen=True)
class GraphContext:
    """What belongs to one request; with a `reader` it is their own, and for them alone."""

    loaders: Loaders
    scopes: frozenset[Scope]
    reader: str | None = None


Info = strawberry.Info[GraphContext, None]
Limit = Annotated[int, strawberry.argument(description="from 1 to 100")]


@strawberry.enum(description="What a reader did with a post.")
class InteractionKind(Enum):
    CLICK = "click"
    READ = "read"
    LIKE = "like"
    UNLIKE = "unlike"
    COMMENT = "comment"
    SHARE = "share"
    SAVE = "save"
    UNSAVE = "unsave"
    HIDE = "hide"
    REPORT = "report"
    RATING = "rating"


@strawberry.type(description="A thing that relations lead from.")
class Linked:
    id: strawberry.ID

    @strawberry.field(
        description="What a relation leads to, best first: as the configuration says of its name, "
        "or else along the stored edges of that label."
    )
    async def related(self, info: Info, label: str, limit: Limit = 10) -> list["Related"] | None:
        return await related(info, Relating(label, self.id, limit, posts=False))


@strawberry.type(description="A person, with what they did. An id that nobody has used has done nothing.")
class Reader:
    id: strawberry.ID

    @strawberry.field(description="Communities that the reader has joined, by id.")
    async def communities(self, info: Info, limit: Limit = 10) -> list["Community"]:
        ids = await info.context.loaders.joined.load(Some(self.id, limit))
        return [Community(id=strawberry.ID(name)) for name in ids or ()]

    @strawberry.field(
        description="Posts that the reader met and did not turn down, newest first; "
        "with `kinds`, all posts with one of them."
    )
    async def readings(
        self, info: Info, limit: Limit = 10, kinds: list[InteractionKind] | None = None
    ) -> list["Reading"]:
        named: tuple[Kind, ...] | None = (
            None if kinds is None else tuple(dict.fromkeys(kind.value for kind in kinds))
        )
        found = await info.context.loaders.readings.load(OfReader(self.id, limit, named))
        return [reading(weighed) for weighed in found or ()]


@strawberry.type(description="What one reader did with one post.")
class Reading:
    weight: float = strawberry.field(
        description="What it adds to the reader's vector, relative to their newest reading."
    )
    kinds: list[InteractionKind]
    rating: float | None
    at: datetime
    user_id: strawberry.Private[str]
    item_id: strawberry.Private[str]

    @strawberry.field
    def reader(self) -> Reader:
        return Reader(id=strawberry.ID(self.user_id))

    @strawberry.field
    async def item(self, info: Info) -> "Item | None":
        return await item(info, self.item_id)


@strawberry.type(description="A post. Those that were taken down are nowhere.")
class Item(Linked):
    title: str
    body: str
    tags: list[str]
    author: strawberry.ID
    language: str | None
    url: str | None
    published_at: datetime
    community_id: strawberry.Private[str]

    @strawberry.field
    def community(self) -> "Community":
        return Community(id=strawberry.ID(self.community_id))

    @strawberry.field(
        description="Who read it, newest first. Needs a key with the scope admin, where there are keys."
    )
    async def readers(self, info: Info, limit: Limit = 10) -> list[Reading] | None:
        require_admin(info)
        found = await info.context.loaders.readers.load(Some(self.id, limit))
        return [reading(weighed) for weighed in found or ()]

    @strawberry.field(description="Posts that are alike, best first, by the relation `similar`.")
    async def similar(self, info: Info, limit: Limit = 10) -> list["Related"] | None:
        return await related(info, Relating(SIMILAR, self.id, limit, posts=True))


@strawberry.type(description="A place for posts, which readers join.")
class Community(Linked):
    @strawberry.field(description="Its posts, newest first.")
    async def items(self, info: Info, limit: Limit = 10) -> list[Item]:
        ids = await info.context.loaders.posts_of_community.load(Some(self.id, limit))
        return await items(info, ids or [])

    @strawberry.field(
        description="Who joined, newest first. Needs a key with the scope admin, where there are keys."
    )
    async def members(self, info: Info, limit: Limit = 10) -> list[Reader] | None:
        require_admin(info)
        ids = await info.context.loaders.members.load(Some(self.id, limit))
        return [Reader(id=strawberry.ID(user_id)) for user_id in ids or ()]


@strawberry.type(description="A thing of any kind that was loaded in bulk.")
class Vertex(Linked):
    kind: str
    properties: JSON


@strawberry.type(description="Where a relation leads, and how strongly.")
class Related:
    id: strawberry.ID
    score: float
    properties: JSON | None = strawberry.field(description="What a stored edge was loaded with.")

    @strawberry.field(description="The post of that id, if it is one.")
    async def item(self, info: Info) -> Item | None:
        return await item(info, self.id)

    @strawberry.field(description="The vertex of that kind and id, if there is one.")
    async def vertex(self, info: Info, kind: str) -> Vertex | None:
        return await vertex(info, kind, self.id)


async def item(info: Info, item_id: str) -> Item | None:
    post = await info.context.loaders.posts.load(item_id)
    return None if post is None else _item(post)


async def items(info: Info, ids: list[str]) -> list[Item]:
    """The posts that are not deleted meanwhile."""
    found = await info.context.loaders.posts.load_many(ids)
    return [_item(post) for post in found if post is not None]


async def vertex(info: Info, kind: str, vertex_id: str) -> Vertex | None:
    properties = await info.context.loaders.vertices.load(VertexKey(kind, vertex_id))
    if properties is None:
        return None
    return Vertex(id=strawberry.ID(vertex_id), kind=kind, properties=_json(properties))


async def related(info: Info, relating: Relating) -> list[Related]:
    links = await info.context.loaders.links.load(relating)
    return [_related(link) for link in links or ()]


def reading(weighed: WeighedReading) -> Reading:
    return Reading(
        weight=weighed.weight,
        kinds=[InteractionKind(kind) for kind in weighed.reading.times],
        rating=weighed.reading.rating,
        at=from_micros(weighed.at),
        user_id=weighed.user_id,
        item_id=weighed.item_id,
    )


def require_admin(info: Info) -> None:
    """Raises PersonalDataError: who asks for a reader knows their id, who asks for a post's does not."""
    if "admin" not in info.context.scopes:
        raise PersonalDataError(
            f"{info.field_name}: lists readers, for which the API key needs the scope 'admin'."
        )


def require_own(info: Info, reader: str) -> None:
    """Raises OtherReaderError: a reader's own token is for that reader alone."""
    if info.context.reader not in (None, reader):
        raise OtherReaderError(f"{info.field_name}: is another reader than that of the token.")


def _related(link: Link) -> Related:
    properties = None if link.properties is None else _json(link.properties)
    return Related(id=strawberry.ID(link.to_id), score=link.score, properties=properties)


def _json(text: str) -> JSON:
    return cast(JSON, orjson.loads(text))


def _item(post: Post) -> Item:
    return Item(
        id=strawberry.ID(post.id),
        title=post.title,
        body=post.body,
        tags=list(post.tags),
        author=strawberry.ID(post.author_id),
        language=post.language,
        url=post.url,
        published_at=post.published_at,
        community_id=post.community_id,
    )

"""The scenarios by their names, and the data that each is measured on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.feed import embedded, folders, heavy, on_servers
from benchmarks.feed.figures import Figure, figures_of
from benchmarks.feed.heavy_users import POSTS as POSTS_OF_HEAVY_USERS
from benchmarks.feed.measuring import CONNECTIONS, Run, floors


@dataclass(frozen=True)
class Scenario:
    """`data` gives the data folder, made where it is missing; it takes the demo's, if one is given."""

    about: str
    measure: Callable[[Run], Iterator[Figure]]
    data: Callable[[Path | None], Path]


def floor_alone(run: Run) -> Iterator[Figure]:
    for variant in ("threads", "loop"):
        for connections, load in floors(variant, run.seconds).items():
            yield from figures_of(f"{variant}, {CONNECTIONS[connections]}", load, None)


def on_demo(about: str, measure: Callable[[Run, Sequence[str]], Iterator[Figure]]) -> Scenario:
    return Scenario(about, lambda run: measure(run, embedded.users_of(run.data)), folders.demo)


def on_posts(posts: int) -> Scenario:
    return Scenario(
        f"feeds of a community of {posts:,} posts, embedded",
        partial(embedded.feed, users=folders.USERS),
        lambda _: folders.synthetic(posts),
    )


SCENARIOS = {
    "floor": Scenario("twenty cached posts and one point read", floor_alone, lambda _: folders.FOLDER),
    "demo": on_demo("feeds of the demo, embedded", embedded.feed),
    "similar": on_demo("similar posts, embedded", embedded.similar),
    "events": on_demo("one event a request, embedded", embedded.events),
    "page": on_demo("pages of three sections of five sources, embedded", embedded.pages),
    "delays": on_demo("how soon feeds follow events and posts, embedded", embedded.followed),
    "posts-50000": on_posts(50_000),
    "posts-500000": on_posts(500_000),
    "heavy-users": Scenario(
        "users with many readings, communities or hidden posts, embedded",
        heavy.users,
        lambda _: folders.synthetic(POSTS_OF_HEAVY_USERS, heavy=True),
    ),
    "servers": Scenario("feeds of the demo on Milvus, MariaDB and Kafka", on_servers.feed, folders.demo),
    "page-servers": Scenario("pages on Milvus, MariaDB and Kafka", on_servers.pages, folders.demo),
}

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from nearfeed_contracts.events import ItemDeleted, ItemVector
from nearfeed_contracts.tables import items
from nearfeed_contracts.vector_store import Filter

SPACES = ("s1", "s2")
IDS = st.sampled_from(["i1", "i2", "i3"])
VERSIONS = st.integers(1, 4)
EVENTS = st.one_of(
    st.tuples(st.just("item"), IDS, VERSIONS),
    st.tuples(st.just("deleted"), IDS, VERSIONS),
    st.tuples(st.just("vector"), IDS, VERSIONS, st.sampled_from(SPACES), st.booleans()),
)
PROPERTY = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _event(world: Any, drawn: tuple[Any, ...]) -> Any:
    match drawn:
        case ("item", item_id, version):
            return world.item(item_id, version)
        case ("deleted", item_id, version):
            return ItemDeleted(item_id=item_id, version=version)
        case ("vector", item_id, version, space, inferred):
            return world.vector(space, item_id, version, inferred)


def _expected_items(drawn: list[tuple[Any, ...]]) -> dict[str, tuple[int, bool]]:
    found: dict[str, tuple[int, bool]] = {}
    for kind, item_id, version, *_ in drawn:
        if kind != "vector":
            found[item_id] = max(found.get(item_id, (0, False)), (version, kind == "deleted"))
    return found


def _expected_ranks(drawn: list[tuple[Any, ...]], space: str) -> dict[str, tuple[int, bool, bool]]:
    """By post: version, whether it is a tombstone, whether it was trained rather than inferred."""
    found: dict[str, tuple[int, bool, bool]] = {}
    for kind, item_id, version, *rest in drawn:
        if kind == "deleted":
            rank = (version, True, True)
        elif kind == "vector" and rest[0] == space:
            rank = (version, False, not rest[1])
        else:
            continue
        found[item_id] = max(found.get(item_id, (0, False, False)), rank)
    return found


def _check(world: Any, drawn: list[tuple[Any, ...]]) -> None:
    assert world.items() == _expected_items(drawn)
    for space in SPACES:
        ranks = _expected_ranks(drawn, space)
        expected = {
            item_id: (version, None if dead else world.context_of(space, item_id, version, not trained))
            for item_id, (version, dead, trained) in ranks.items()
        }
        found = {item_id: row[:2] for item_id, row in world.contexts(space).items()}
        assert found == expected
        alive = {item_id: rank for item_id, rank in ranks.items() if not rank[1]}
        assert world.vectors(space) == {
            item_id: world.vector_of(space, item_id, version, not trained).tobytes()
            for item_id, (version, _, trained) in alive.items()
        }
        for item_id, (version, *_) in alive.items():
            only = Filter(community_ids=frozenset({f"c{version}"}))
            hits = world.exact.search(space, world.vector_of(space, item_id, version), 10, only)
            assert item_id in {hit.item_id for hit in hits}


@PROPERTY
@given(
    drawn=st.lists(EVENTS, max_size=25),
    batch=st.integers(1, 30),
    crashes=st.lists(st.integers(0, 60), max_size=3),
)
def test_any_order_with_crashes_ends_with_the_highest_versions(
    new_world: Any, drawn: list[tuple[Any, ...]], batch: int, crashes: list[int]
) -> None:
    world = new_world()
    for space in SPACES:
        world.add_space(space)
    events = [_event(world, one) for one in drawn]
    for countdown in crashes:
        world.fault.countdown = countdown
        try:
            world.apply(*events, batch=batch)
        except world.CrashError:
            events = []
    world.fault.countdown = None
    world.apply(*events, batch=batch)
    _check(world, drawn)


def test_a_crash_at_every_single_point_is_mended_by_the_replay(new_world: Any) -> None:
    drawn: list[tuple[Any, ...]] = [
        ("item", "i1", 1),
        ("vector", "i1", 1, "s1", False),
        ("vector", "i1", 1, "s2", False),
        ("item", "i2", 1),
        ("vector", "i2", 1, "s1", False),
        ("deleted", "i1", 2),
        ("vector", "i1", 2, "s1", False),
        ("item", "i2", 2),
        ("vector", "i2", 2, "s1", True),
        ("vector", "i2", 2, "s1", False),
    ]
    points = 0
    crashed = True
    while crashed:
        world = new_world()
        for space in SPACES:
            world.add_space(space)
        world.fault.countdown = points
        crashed = _crashes(world, [_event(world, one) for one in drawn])
        world.apply(batch=3)
        _check(world, drawn)
        points += 1
    assert points > 60


def _crashes(world: Any, events: list[Any]) -> bool:
    try:
        world.apply(*events, batch=4)
    except world.CrashError:
        return True
    world.fault.countdown = None
    return False


def test_a_post_by_log_comes_with_its_community_and_an_older_one_changes_nothing(world: Any) -> None:
    world.apply(world.item("i1", 2), world.item("i1", 1))
    assert world.items() == {"i1": (2, False)}
    assert world.communities() == {"c2"}


def test_a_post_that_the_api_has_put_is_left_as_it_is(world: Any) -> None:
    world.add_items("i1", version=3)
    world.apply(world.item("i1", 3))
    with world.engine.connect() as connection:
        assert connection.execute(items.select()).one().title == "i1"


def test_a_deletion_without_version_takes_down_what_is_there(world: Any) -> None:
    world.add_space("s1")
    world.apply(world.item("i1", 3), world.vector("s1", "i1", 3))
    world.apply(ItemDeleted(item_id="i1"), ItemDeleted(item_id="unknown"))
    assert world.items() == {"i1": (3, True)}
    assert world.contexts("s1") == {"i1": (3, None, False)}
    assert world.vectors("s1") == {}
    world.apply(world.item("i1", 4), world.vector("s1", "i1", 4))
    assert world.items() == {"i1": (4, False)}
    assert set(world.vectors("s1")) == {"i1"}


def test_the_apis_deletion_holds_before_its_event_arrives(world: Any) -> None:
    world.add_space("s1")
    world.add_items("i1")
    with world.engine.begin() as transaction:
        transaction.execute(update(items).values(deleted=True, version=2))
    world.apply(world.vector("s1", "i1", 2))
    assert world.contexts("s1") == {}
    assert world.vectors("s1") == {}


def test_a_late_vector_of_a_deleted_version_stays_out_though_the_post_is_back(world: Any) -> None:
    world.add_space("s1")
    world.apply(ItemDeleted(item_id="i1", version=2), world.item("i1", 3), world.vector("s1", "i1", 2))
    assert world.items() == {"i1": (3, False)}
    assert world.contexts("s1") == {"i1": (2, None, False)}
    assert world.vectors("s1") == {}


def test_of_one_version_the_latest_vector_stays_but_a_trained_one_over_an_inferred_one(world: Any) -> None:
    world.add_space("s1")
    inferred, trained = world.vector("s1", "i1", 1, inferred=True), world.vector("s1", "i1", 1)
    again = trained.model_copy(update={"vector": -trained.vector, "context": trained.vector})
    for events, last in (([inferred, trained], trained), ([again], again), ([inferred], again)):
        world.apply(*events)
        assert world.vectors("s1") == {"i1": last.vector.tobytes()}
        assert world.contexts("s1") == {"i1": (1, last.context.tobytes(), False)}


def test_a_vector_may_overtake_its_post(world: Any) -> None:
    world.add_space("s1")
    world.apply(world.vector("s1", "i1", 1))
    assert set(world.vectors("s1")) == {"i1"}


def test_vectors_of_unknown_spaces_and_wrong_dimensions_never_stop_the_consumer(world: Any) -> None:
    world.add_space("s1")
    wide = world.vector("s1", "i1").model_copy(update={"vector": world.vector_of("s1", "i1", 1)[:2]})
    narrow_context = world.vector("s1", "i1").model_copy(
        update={"context": world.vector_of("s1", "i1", 1)[:2]}
    )
    world.apply(wide, narrow_context, world.vector("nowhere", "i1"), world.vector("s1", "i2"))
    assert set(world.contexts("s1")) == {"i2"}
    assert set(world.vectors("s1")) == {"i2"}


def test_a_vector_without_context_is_its_own_context(world: Any) -> None:
    world.add_space("s1")
    world.apply(ItemVector(**{**dict(world.vector("s1", "i1")), "context": None}))
    assert world.contexts("s1")["i1"][1] == world.vector_of("s1", "i1", 1).tobytes()


def test_change_ids_grow_with_every_change(world: Any) -> None:
    world.add_space("s1")
    world.apply(world.vector("s1", "i1", 1), world.vector("s1", "i2", 1))
    first = world.changes("s1")
    world.apply(world.vector("s1", "i1", 2))
    world.apply(ItemDeleted(item_id="i2", version=2))
    second = world.changes("s1")
    assert max(first.values()) < second["i1"] < second["i2"]
    assert len(set(first.values())) == 2


def test_posts_that_a_transaction_changes_are_numbered_together(world: Any) -> None:
    world.apply(world.item("i1"), world.item("i2"), world.item("i3"))
    first = world.item_changes()
    assert len(set(first.values())) == 1
    world.apply(
        world.item("i1", 2), ItemDeleted(item_id="i2", version=2), ItemDeleted(item_id="i4", version=1)
    )
    second = world.item_changes()
    assert min(second["i1"], second["i2"], second["i4"]) > first["i1"]
    assert second["i2"] == second["i4"]
    assert second["i3"] == first["i3"]


def test_posts_that_are_told_again_keep_their_number(world: Any) -> None:
    events = [world.item("i1", 2), ItemDeleted(item_id="i2", version=2)]
    world.apply(*events)
    before = world.item_changes()
    world.apply(*events, world.item("i1"), ItemDeleted(item_id="i2", version=1), ItemDeleted(item_id="i2"))
    assert world.item_changes() == before

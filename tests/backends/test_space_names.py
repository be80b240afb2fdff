"""Names of collections and indexes: each belongs to one namespace alone."""

import re

from hypothesis import given
from hypothesis import strategies as st

from nearfeed_backends.space_names import SpaceNames

namespaces = st.sampled_from(["", "a", "a_b", "a_", "_", "nearfeed_", "0" * 64]) | st.from_regex(
    r"[a-z0-9_]{1,64}", fullmatch=True
)


@given(namespaces, namespaces, st.text(min_size=1))
def test_a_name_belongs_to_its_own_namespace_alone(one: str, other: str, space: str) -> None:
    name = SpaceNames(one).of(space)
    assert SpaceNames(one).has(name)
    assert SpaceNames(other).has(name) == (one == other)
    assert name.startswith(SpaceNames(one).prefix)


@given(namespaces, st.text(min_size=1))
def test_servers_allow_the_names(namespace: str, space: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{,200}", SpaceNames(namespace).of(space))


@given(namespaces, st.text(min_size=1), st.sampled_from(["_graph", "_writes"]))
def test_what_stands_beside_a_space_is_no_space(namespace: str, space: str, suffix: str) -> None:
    names = SpaceNames(namespace)
    assert not names.has(names.of(space) + suffix)

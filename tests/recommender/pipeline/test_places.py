"""Places under limits, shares and exposures: against brute force."""

from collections.abc import Sequence
from itertools import count as counting

from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_recommender.pipeline.places import Exposure, Limit, NewPlaces, Placed, filled

MOST = 24
COUNTS = st.integers(0, MOST)
KEYS = st.lists(st.sampled_from("abcd"), min_size=MOST, max_size=MOST)
LIMITS = st.lists(st.builds(Limit, n=st.integers(1, 3), window=st.integers(2, 8), keys=KEYS), max_size=2)
IS_NEW = st.lists(st.booleans(), min_size=MOST, max_size=MOST)
SHARES = st.lists(
    st.builds(NewPlaces, share=st.sampled_from([0.1, 0.2, 0.3, 0.5]), is_new=IS_NEW), max_size=2
)
WITHINS = st.integers(1, 12)
OF = st.lists(st.integers(0, MOST - 1), unique=True, max_size=3).map(sorted)


def candidates_of(placed: Sequence[Placed]) -> list[int]:
    return [slot.candidate for slot in placed]


def holds(limit: Limit, slate: Sequence[int]) -> bool:
    """Every window of every key, counted."""
    keys = [limit.keys[candidate] for candidate in slate]
    windows = [keys[start : start + limit.window] for start in range(len(keys))]
    return all(window.count(key) <= limit.n for window in windows for key in window)


def naive(count: int, limits: Sequence[Limit], shares: Sequence[NewPlaces]) -> list[int]:
    """Place by place the first new one where one is owed and fits, else the first that fits."""
    slate: list[int] = []
    owed = [0] * len(shares)
    for place in range(count):
        owed = [due + share.is_due(place) for due, share in zip(owed, shares, strict=True)]
        left = [one for one in range(count) if one not in slate]
        fitting = [one for one in left if all(holds(limit, [*slate, one]) for limit in limits)]
        if not fitting:
            break
        kept = [[one for one in fitting if share.is_new[one]] for share in shares]
        choices = [new[0] for due, new in zip(owed, kept, strict=True) if due and new]
        slate.append(choices[0] if choices else fitting[0])
        owed = [max(0, due - share.is_new[slate[-1]]) for due, share in zip(owed, shares, strict=True)]
    return slate


def reserve_places(ranked: Sequence[int], reserved: Sequence[int], every: int) -> list[int]:
    """Each `every`-th place to the best reserved one that has none yet, the others in their order."""
    slate: list[int] = []
    for place in counting(1):
        usual = [one for one in ranked if one not in slate]
        special = [one for one in reserved if one not in slate]
        if not usual:
            return slate
        slate.append(special[0] if special and place % every == 0 else usual[0])
    raise AssertionError


@settings(deadline=None)
@given(count=COUNTS, limits=LIMITS, shares=SHARES)
def test_places_are_those_of_the_naive_way(count: int, limits: list[Limit], shares: list[NewPlaces]) -> None:
    assert candidates_of(filled(count, limits, shares, [])) == naive(count, limits, shares)


@settings(deadline=None)
@given(count=COUNTS, limits=LIMITS, shares=SHARES, within=WITHINS, of=OF)
def test_limits_hold_in_every_window_and_an_exposure_comes_about(
    count: int, limits: list[Limit], shares: list[NewPlaces], within: int, of: list[int]
) -> None:
    exposure = Exposure(within, [one for one in of if one < count])
    placed = filled(count, limits, shares, [exposure])
    slate = candidates_of(placed)
    assert len(slate) == len(set(slate))
    assert set(slate) <= set(range(count))
    assert all(holds(limit, slate) for limit in limits)
    assert exposure.is_met(placed) or not exposure.of
    left = set(range(count)) - set(slate)
    assert not any(all(holds(limit, [*slate, one]) for limit in limits) for one in left)
    if exposure.is_met(filled(count, limits, shares, [])):
        assert slate == naive(count, limits, shares)


@settings(deadline=None)
@given(count=COUNTS, shares=SHARES, within=WITHINS, of=OF)
def test_without_limits_an_exposure_moves_its_best_candidate_alone_to_the_last_place_within(
    count: int, shares: list[NewPlaces], within: int, of: list[int]
) -> None:
    exposure = Exposure(within, [one for one in of if one < count])
    placed = filled(count, [], [], [exposure])
    assert sorted(candidates_of(placed)) == list(range(count))
    if exposure.of and exposure.of[0] >= within:
        assert placed[within - 1] == (exposure.of[0], False, 0, False)
        others = [one for one in candidates_of(placed) if one != exposure.of[0]]
        assert others == sorted(others)
    else:
        assert candidates_of(placed) == list(range(count))


@settings(deadline=None)
@given(
    count=COUNTS,
    limits=LIMITS,
    shares=SHARES,
    exposures=st.lists(st.builds(Exposure, within=WITHINS, of=OF), max_size=3),
)
def test_limits_hold_whatever_exposures_want(
    count: int, limits: list[Limit], shares: list[NewPlaces], exposures: list[Exposure]
) -> None:
    known = [Exposure(one.within, [each for each in one.of if each < count]) for one in exposures]
    placed = filled(count, limits, shares, known)
    slate = candidates_of(placed)
    assert len(slate) == len(set(slate))
    assert all(holds(limit, slate) for limit in limits)
    assert placed == filled(count, limits, shares, known)
    if known and known[0].of and not limits:
        assert known[0].is_met(placed)


@settings(deadline=None)
@given(count=COUNTS, shares=SHARES)
def test_every_prefix_has_its_share_of_new_posts_as_far_as_there_are(
    count: int, shares: list[NewPlaces]
) -> None:
    slate = candidates_of(filled(count, [], shares, []))
    assert sorted(slate) == list(range(count))
    for share in shares:
        for places in range(count + 1):
            new = sum(share.is_new[one] for one in slate[:places])
            # The youngest come first, so that a share served later may wait one place for its turn.
            assert new >= min(int(share.share * places + 1e-9), sum(share.is_new[:count])) - (len(shares) - 1)


@settings(deadline=None)
@given(count=COUNTS, is_new=IS_NEW, every=st.sampled_from([2, 3, 4, 5, 10]))
def test_a_share_reserves_every_nth_place(count: int, is_new: list[bool], every: int) -> None:
    slate = candidates_of(filled(count, [], [NewPlaces(1 / every, is_new)], []))
    reserved = [one for one in range(count) if is_new[one]]
    assert slate == reserve_places(range(count), reserved, every)


def test_those_put_off_come_where_they_fit_and_the_rest_is_left_out() -> None:
    placed = filled(6, [Limit(1, 2, "aaabaa")], [], [])
    assert candidates_of(placed) == [0, 3, 1]
    assert [slot.is_put_off for slot in placed] == [False, False, True]


def test_an_exposure_is_pulled_up_where_the_slate_would_end_before_it() -> None:
    placed = filled(4, [Limit(1, 5, "aaba")], [], [Exposure(4, [3])])
    assert [(slot.candidate, slot.exposure) for slot in placed] == [(2, None), (3, 0)]

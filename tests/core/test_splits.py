import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_core.splits import split_by_time


def test_a_small_example_by_hand() -> None:
    # Ten readings, cut at the eighth in time (share 0.7 of 10 = index 7, time 7).
    readers = np.array([0, 0, 0, 1, 1, 0, 1, 0, 0, 0])
    items = np.array([0, 1, 2, 0, 3, 3, 4, 4, 5, 0])
    times = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    # Reader 0 reads 4, 5 and 0 after the cut, and 5 was not known before it.
    split = split_by_time(readers, items, times, 6, least_later=2)
    assert split.cut == 7
    assert split.train.tolist() == [True] * 7 + [False] * 3
    assert split.known.tolist() == [True, True, True, True, True, False]
    (case,) = split.held_out
    assert case.reader == 0
    assert case.past.tolist() == [0, 1, 2, 5, 7]
    assert case.targets.tolist() == [9]


def test_an_odd_number_of_later_readings_leaves_the_larger_half_to_be_found() -> None:
    times = np.arange(12)
    readers = np.zeros(12, dtype=np.intp)
    items = np.array([0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4])
    (case,) = split_by_time(readers, items, times, 7, share=7 / 12, least_later=5).held_out
    assert case.past.tolist() == [*range(7), 7, 8]
    assert case.targets.tolist() == [9, 10, 11]


def test_readings_at_the_time_of_the_cut_are_not_trained_on() -> None:
    times = np.array([1, 2, 3, 3, 3])
    split = split_by_time(np.zeros(5, np.intp), np.arange(5), times, 5)
    assert split.train.tolist() == [True, True, False, False, False]


def test_a_reader_with_too_few_later_readings_is_not_scored() -> None:
    readings = np.zeros(20, np.intp), np.arange(20) % 10, np.arange(20)
    assert split_by_time(*readings, 10, share=0.5, least_later=10).held_out
    assert not split_by_time(*readings, 10, share=0.5, least_later=11).held_out


_ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, 30)), min_size=1, max_size=80)


@given(_ROWS, st.floats(0, 0.99), st.integers(0, 2**32 - 1))
def test_nothing_of_the_future_is_in_the_past_whatever_the_order_of_rows(
    rows: list[tuple[int, int, int]], share: float, seed: int
) -> None:
    rows = list(dict.fromkeys(rows))
    readers, items, times = (np.array(column) for column in zip(*rows, strict=True))
    split = split_by_time(readers, items, times, 8, share=share, least_later=2)
    assert split.train.sum() <= share * len(rows)
    assert (times[split.train] < split.cut).all()
    for case in split.held_out:
        assert not split.train[case.targets].any()
        assert split.known[items[case.targets]].all()
        assert times[case.past].max() <= times[case.targets].min()
        assert not set(case.past) & set(case.targets)
        later_past = int((~split.train[case.past]).sum())
        assert len(case.targets) - later_past in (0, 1)
    shuffle = np.random.default_rng(seed).permutation(len(rows))
    again = split_by_time(readers[shuffle], items[shuffle], times[shuffle], 8, share=share, least_later=2)
    assert [shuffle[case.targets].tolist() for case in again.held_out] == [
        case.targets.tolist() for case in split.held_out
    ]

"""Request ids: what was signed is read again, and nothing else is."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_recommender.exposure_log.request_ids import (
    NONCE_BYTES,
    RequestId,
    RequestIdError,
    new_nonce,
    read_request_id,
    sign_request_id,
)

SECRET = b"a test's secret"
BASE64URL = string.ascii_letters + string.digits + "-_"
users = st.text(
    st.characters(codec="utf-8", exclude_categories=("Zs", "Zl", "Zp", "Cc")), min_size=1, max_size=128
)
moments = st.integers(0, 2**56 - 1)
versions = st.integers(0, 2**40)
arms = st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 100)), max_size=8)
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
answers = st.builds(RequestId, moments, nonces, versions, arms.map(tuple))


def signed(user: str, answer: RequestId, secret: bytes = SECRET) -> str:
    return sign_request_id(secret, user, answer.served_at, answer.config_version, answer.arms, answer.nonce)


@given(users, answers)
def test_what_was_signed_is_read_again(user: str, answer: RequestId) -> None:
    request_id = signed(user, answer)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", request_id)
    assert read_request_id(SECRET, user, request_id) == answer


@given(users, answers, st.data())
def test_any_other_character_is_found(user: str, answer: RequestId, data: st.DataObject) -> None:
    request_id = signed(user, answer)
    place = data.draw(st.integers(0, len(request_id) - 1))
    other = data.draw(st.sampled_from(BASE64URL).filter(lambda character: character != request_id[place]))
    assert read_request_id(SECRET, user, request_id[:place] + other + request_id[place + 1 :]) is None


@given(users, answers, st.data())
def test_what_is_cut_or_added_is_found(user: str, answer: RequestId, data: st.DataObject) -> None:
    request_id = signed(user, answer)
    kept = data.draw(st.integers(0, len(request_id) - 1))
    more = data.draw(st.text(BASE64URL + "=\n .ä", min_size=1, max_size=8))
    for other in (request_id[:kept], request_id[kept + 1 :], request_id + more, more + request_id):
        assert read_request_id(SECRET, user, other) is None


@given(users, users, answers)
def test_another_readers_id_is_found(user: str, other: str, answer: RequestId) -> None:
    expected = answer if user == other else None
    assert read_request_id(SECRET, other, signed(user, answer)) == expected
    assert read_request_id(SECRET, user, signed(user, answer, b"another secret")) is None


@given(users, st.text(max_size=128))
def test_any_text_is_no_id(user: str, text: str) -> None:
    assert read_request_id(SECRET, user, text) is None


def test_an_answer_of_one_experiment_is_short() -> None:
    answer = RequestId(1_790_000_000_000_000, new_nonce(), 300, ((1_000, 3),))
    assert len(signed("reader", answer)) <= 45


def test_more_than_an_id_carries_is_refused() -> None:
    many = RequestId(0, bytes(NONCE_BYTES), 1, ((2**31, 100),) * 12)
    with pytest.raises(RequestIdError, match="12 arms"):
        signed("reader", many)
    with pytest.raises(RequestIdError, match="3 bytes"):
        sign_request_id(SECRET, "reader", 0, 1, (), b"abc")

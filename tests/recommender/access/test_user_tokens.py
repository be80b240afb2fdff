"""Tokens of readers: whose, until when, for whom, by which key; and never for another reader."""

import base64
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_recommender.access import token_keys
from nearfeed_recommender.access.reader_tokens import TokenError, Tokens, reader_of
from nearfeed_recommender.access.token_keys import (
    KeySet,
    TokenKeysUnavailableError,
    open_token_keys,
    public_key,
    secret_key,
)
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.settings import SettingsError

SECRET = "a secret of tests, of 32 bytes or more"
TOKENS = Tokens(lambda _: secret_key(SECRET))
RSA_KEY = rsa.generate_private_key(65_537, 2_048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def claims(**others: Any) -> dict[str, Any]:
    given = {"sub": "reader-1", "exp": int(time.time()) + 600, **others}
    return {name: value for name, value in given.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, **others: Any) -> str:
    return jwt.encode(claims(**others), key, algorithm, headers=headers)


def pem_of(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


def parts_of(part: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def test_a_token_tells_its_reader() -> None:
    assert reader_of(TOKENS, signed()) == "reader-1"


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"exp": int(time.time()) - 60}, "has expired"),
        ({"exp": None}, '"exp"'),
        ({"exp": "soon"}, "does not hold"),
        ({"sub": None}, '"sub"'),
        ({"sub": ""}, "no reader's id"),
        ({"sub": "a reader"}, "no reader's id"),
        ({"sub": "r" * 129}, "no reader's id"),
        ({"nbf": int(time.time()) + 86_400}, "not yet valid"),
        ({"aud": "another service"}, "does not hold"),
    ],
)
def test_what_does_not_hold_is_told(others: dict[str, Any], told: str) -> None:
    with pytest.raises(TokenError, match=told):
        reader_of(TOKENS, signed(**others))


def test_audience_and_issuer_must_be_there_and_right() -> None:
    tokens = Tokens(TOKENS.key_of, audience="nearfeed", issuer="app")
    assert reader_of(tokens, signed(aud="nearfeed", iss="app")) == "reader-1"
    for others in (
        {"aud": "nearfeed"},
        {"iss": "app"},
        {"aud": "x", "iss": "app"},
        {"aud": "nearfeed", "iss": "x"},
    ):
        with pytest.raises(TokenError):
            reader_of(tokens, signed(**others))


def test_the_algorithm_is_that_of_the_key_whatever_the_header_says() -> None:
    pem = pem_of(RSA_KEY)
    tokens = Tokens(lambda _: public_key(pem))
    assert reader_of(tokens, signed(RSA_KEY, "RS256")) == "reader-1"
    unsigned = f"{parts_of({'alg': 'none', 'typ': 'JWT'})}.{parts_of(claims())}."
    header, payload = parts_of({"alg": "HS256", "typ": "JWT"}), parts_of(claims())
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    confused = mac.sign(f"{header}.{payload}".encode(), pem.encode())
    forged = f"{header}.{payload}.{base64.urlsafe_b64encode(confused).decode().rstrip('=')}"
    others = [unsigned, forged, signed(), signed(RSA_KEY, "RS512"), signed(RSA_KEY, "PS256")]
    for token in [*others, signed(EC_KEY, "ES256")]:
        with pytest.raises(TokenError):
            reader_of(tokens, token)
        if token != others[2]:
            with pytest.raises(TokenError):
                reader_of(TOKENS, token)


@given(st.data())
def test_a_token_that_was_changed_anywhere_does_not_hold(data: st.DataObject) -> None:
    token = signed()
    place = data.draw(st.integers(0, len(token) - 2))  # the last character has bits that mean nothing
    other = data.draw(st.sampled_from([each for each in "AZaz09-_.={" if each != token[place]]))
    with pytest.raises(TokenError):
        reader_of(TOKENS, token[:place] + other + token[place + 1 :])


@given(st.text(max_size=60))
def test_any_text_is_refused_without_another_error(text: str) -> None:
    with pytest.raises(TokenError):
        reader_of(TOKENS, text)
    with pytest.raises(TokenError):
        reader_of(TOKENS, f"{text}.{text}.{text}")


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256")])
def test_public_keys_by_text_and_by_file(tmp_path: Path, key: Any, algorithm: str) -> None:
    (tmp_path / "key.pem").write_text(pem_of(key))
    for given_ in (pem_of(key), str(tmp_path / "key.pem")):
        found = public_key(given_)
        assert found.algorithm == algorithm
        assert reader_of(Tokens(lambda _, found=found: found), signed(key, algorithm)) == "reader-1"  # type: ignore[misc]


def jwks(**keys: Any) -> str:
    found = []
    for key_id, key in keys.items():
        kind = (
            jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        )
        found.append({**kind.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"})
    return json.dumps({"keys": found})


def test_a_set_of_keys_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(jwks(one=RSA_KEY, two=EC_KEY))
    key_set = KeySet(str(file))
    tokens = Tokens(key_set.key_of)
    with pytest.raises(TokenKeysUnavailableError):
        reader_of(tokens, signed(RSA_KEY, "RS256", {"kid": "one"}))
    key_set.fetch()
    assert reader_of(tokens, signed(RSA_KEY, "RS256", {"kid": "one"})) == "reader-1"
    assert reader_of(tokens, signed(EC_KEY, "ES256", {"kid": "two"})) == "reader-1"
    for token in (
        signed(RSA_KEY, "RS256", {"kid": "three"}),
        signed(RSA_KEY, "RS256"),
        signed(headers={"kid": "one"}),
    ):
        with pytest.raises(TokenError):
            reader_of(tokens, token)
    file.write_text(jwks(three=EC_KEY))
    key_set.fetch()
    assert reader_of(tokens, signed(EC_KEY, "ES256")) == "reader-1"  # the only key there is
    with pytest.raises(TokenError):
        reader_of(tokens, signed(RSA_KEY, "RS256", {"kid": "one"}))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}']
)
def test_a_broken_set_leaves_the_keys_of_before(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(jwks(one=RSA_KEY))
    key_set = KeySet(str(file))
    key_set.fetch()
    file.write_text(text)
    with pytest.raises((jwt.PyJWTError, ValueError)):
        key_set.fetch()
    assert reader_of(Tokens(key_set.key_of), signed(RSA_KEY, "RS256", {"kid": "one"})) == "reader-1"


def test_whatever_fails_the_set_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    key_set, stop = KeySet("http://host/keys"), threading.Event()
    faults = iter([TypeError("a key of another form"), OSError("away")])

    def fetch() -> None:
        fault = next(faults, None)
        if fault is not None:
            raise fault
        stop.set()

    monkeypatch.setattr(key_set, "fetch", fetch)
    monkeypatch.setattr(token_keys, "_PAUSE_SECONDS", 0.001)
    key_set.run(stop)
    assert next(faults, None) is None


SMALL_RSA = pem_of(rsa.generate_private_key(65_537, 1_024))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"jwt_secret": "short"}, "NEARFEED_JWT_SECRET: it must have 32 bytes"),
        ({"jwt_public_key": "/nowhere"}, "NEARFEED_JWT_PUBLIC_KEY"),
        ({"jwt_public_key": SMALL_RSA}, "RSA key of 2048 bits"),
        ({"jwt_public_key": pem_of(ec.generate_private_key(ec.SECP384R1()))}, "P-256"),
        ({"jwt_jwks_url": "ftp://host/keys"}, "neither an http"),
        ({"jwt_secret": SECRET, "jwt_jwks_url": "https://host/keys"}, "set one of them"),
    ],
)
def test_settings_that_cannot_hold_are_told(settings: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        open_token_keys(RecommenderSettings(**settings))  # type: ignore[arg-type]

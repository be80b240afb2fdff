"""The keys that readers' tokens are verified with, each for one algorithm."""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK, PyJWKClient, PyJWKSet, PyJWTError

from nearfeed_contracts.errors import BackendUnavailableError
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.settings import SettingsError

logger = structlog.get_logger(__name__)
HS256, RS256, ES256 = "HS256", "RS256", "ES256"
MIN_SECRET_BYTES = 32
_MIN_RSA_BITS = 2_048
_FETCH_SECONDS = 300.0
_PAUSE_SECONDS = 10.0
_TIMEOUT_SECONDS = 5.0
_PEM = "-----BEGIN"


class TokenKeysUnavailableError(BackendUnavailableError):
    """The set of keys was not fetched yet."""


class TokenKey(NamedTuple):
    """A key, and the one algorithm that a token may name with it."""

    key: Any
    algorithm: str


KeyOf = Callable[[str | None], TokenKey | None]


def secret_key(secret: str) -> TokenKey:
    """Raises SettingsError for a secret that can be guessed."""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise SettingsError(
            f"NEARFEED_JWT_SECRET: it must have {MIN_SECRET_BYTES} bytes or more; "
            "`openssl rand -hex 32` makes one."
        )
    return TokenKey(secret, HS256)


def public_key(given: str) -> TokenKey:
    """The key of a PEM text or file. Raises SettingsError."""
    try:
        text = given if given.lstrip().startswith(_PEM) else Path(given).read_text()
        key = load_pem_public_key(text.strip().encode())
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"NEARFEED_JWT_PUBLIC_KEY: it is neither a public key in PEM nor a file with one ({error})."
        ) from None
    algorithm = _algorithm_of(key)
    if algorithm is None:
        raise SettingsError(
            f"NEARFEED_JWT_PUBLIC_KEY: an RSA key of {_MIN_RSA_BITS} bits or more is needed, or one on P-256."
        )
    return TokenKey(key, algorithm)


class KeySet:
    """The keys of a JWK set, fetched beside requests: every five minutes, and soon after one was missed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: Mapping[str | None, TokenKey] | None = None
        self._missed = threading.Event()

    def key_of(self, key_id: str | None) -> TokenKey | None:
        """The key of an id; without one, the only key there is. Raises TokenKeysUnavailableError."""
        if self._keys is None:
            raise TokenKeysUnavailableError("The keys of readers' tokens are not fetched yet; try again.")
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        found = self._keys.get(key_id)
        if found is None:
            self._missed.set()
        return found

    def fetch(self) -> None:
        """Raises PyJWTError, OSError and ValueError; the keys of before go on to hold then."""
        usable = {key.key_id: token_key for key in _fetched(self._url).keys if (token_key := _usable(key))}
        if not usable:
            raise ValueError("it holds no RSA or P-256 key that signs")
        self._keys = usable

    def run(self, stop: threading.Event) -> None:
        """Fetches until told to stop; what fails is logged, and tried again."""
        while not stop.is_set():
            self._missed.clear()
            try:
                self.fetch()
            except Exception as error:
                expected = isinstance(error, PyJWTError | OSError | ValueError)
                logger.warning(
                    "keys of tokens cannot be fetched",
                    url=self._url,
                    error=str(error),
                    exc_info=not expected,
                )
                self._missed.set()
            self._rest(stop)

    def _rest(self, stop: threading.Event) -> None:
        """Never less than the pause, so that made-up key ids cost the set's server little."""
        waited = 0.0
        while not stop.wait(_PAUSE_SECONDS) and waited < _FETCH_SECONDS and not self._missed.is_set():
            waited += _PAUSE_SECONDS


def open_token_keys(settings: RecommenderSettings) -> tuple[KeyOf | None, KeySet | None]:
    """What tells a token's key, and the set that must be run for it; None where readers have no tokens.

    Raises SettingsError.
    """
    given = {
        name: value
        for name in ("jwt_secret", "jwt_public_key", "jwt_jwks_url")
        if (value := getattr(settings, name))
    }
    if len(given) > 1:
        names = " and ".join(f"NEARFEED_{name.upper()}" for name in given)
        raise SettingsError(f"{names}: tokens are verified in one way; set one of them.")
    if settings.jwt_jwks_url:
        key_set = KeySet(_checked_url(settings.jwt_jwks_url))
        return key_set.key_of, key_set
    if not given:
        return None, None
    key = secret_key(settings.jwt_secret) if settings.jwt_secret else public_key(settings.jwt_public_key)
    return lambda _: key, None


def _checked_url(url: str) -> str:
    if not _is_http(url) and not Path(url).is_file():
        raise SettingsError(f"NEARFEED_JWT_JWKS_URL: {url} is neither an http(s) URL nor a file.")
    return url


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _fetched(url: str) -> PyJWKSet:
    if _is_http(url):
        return PyJWKClient(url, timeout=_TIMEOUT_SECONDS).get_jwk_set(refresh=True)
    body = json.loads(Path(url).read_bytes())
    if not isinstance(body, dict):
        raise ValueError("it is no JSON object")
    return PyJWKSet.from_dict(body)


def _usable(key: PyJWK) -> TokenKey | None:
    algorithm = _algorithm_of(key.key) if key.public_key_use in ("sig", None) else None
    return None if algorithm is None else TokenKey(key.key, algorithm)


def _algorithm_of(key: Any) -> str | None:
    if isinstance(key, RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return RS256
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return ES256
    return None

"""Measures what it costs to know a caller: microseconds of CPU time a call, by what the caller brings.

python -m benchmarks.access
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.results_file import load_average, put_rows
from nearfeed_backends.opening import open_database
from nearfeed_recommender.access.callers import Access, identify, open_access, open_limiter, seconds_to_wait
from nearfeed_recommender.access.keys.changing import create_key
from nearfeed_recommender.access.keys.rows import WantedKey
from nearfeed_recommender.settings import RecommenderSettings

RESULTS = Path(__file__).parent / "results" / "access.csv"
CALLS = 5_000
SECRET = "a secret of a measurement, 32 bytes or more"
PAUSE_SECONDS = 0.001  # calls come one by one, while the limiter's own thread sweeps
READERS = (1, 1_000, 10_000)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [*measure_callers(Path(folder)), *measure_limits()]
    for row in rows:
        sys.stdout.write(f"{row['what']:<34} {row['microseconds']:>8}\n")
    put_rows(RESULTS, rows, of=itemgetter("what"), machine=load_average())


def measure_callers(folder: Path) -> Iterator[dict[str, str]]:
    """To tell a caller, without counting the call."""
    settings = RecommenderSettings(data_dir=folder, api_keys={"a key of the settings": ["feed"]})
    engine = open_database(settings.database_url)
    text = create_key(engine, WantedKey(name="app", scopes=["feed"]), "a measurement").text
    access = open_access(settings, engine)
    yield _row("key of the settings", _calls(access, settings, "a key of the settings"))
    yield _row("key of SQL", _calls(access, settings, text))
    claims = {"sub": "reader-1", "exp": int(time.time()) + 3_600}
    for algorithm, key, setting in _signers():
        chosen = settings.model_copy(update=setting)
        token = jwt.encode(claims, key, algorithm)
        yield _row(f"token, {algorithm}", _calls(open_access(chosen, engine), chosen, token))
    engine.dispose()


def measure_limits() -> Iterator[dict[str, str]]:
    """To count a call where so many readers called in the last minute, the limiter's thread included."""
    idle = _pauses(lambda _: None)
    for readers in READERS:
        limiter = open_limiter()
        for number in range(readers):
            seconds_to_wait(limiter, f"reader:{number}", 300)
        spent = _pauses(
            lambda number, limiter=limiter, readers=readers: seconds_to_wait(  # type: ignore[misc]
                limiter, f"reader:{number % readers}", 300
            )
        )
        yield _row(f"limit, {readers:,} readers", max(0.0, spent - idle))


def _signers() -> Iterator[tuple[str, Any, dict[str, str]]]:
    yield "HS256", SECRET, {"jwt_secret": SECRET}
    for algorithm, key in (
        ("RS256", rsa.generate_private_key(65_537, 2_048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        yield algorithm, key, {"jwt_public_key": pem.decode()}


def _calls(access: Access, settings: RecommenderSettings, given: str) -> float:
    started = time.process_time()
    for _ in range(CALLS):
        identify(access, settings, given)
    return (time.process_time() - started) / CALLS


def _pauses(call: Any) -> float:
    started = time.process_time()
    for number in range(CALLS):
        call(number)
        time.sleep(PAUSE_SECONDS)
    return (time.process_time() - started) / CALLS


def _row(what: str, seconds: float) -> dict[str, str]:
    return {"what": what, "microseconds": f"{seconds * 1e6:.1f}"}


if __name__ == "__main__":
    main()

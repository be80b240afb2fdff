import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from nearfeed_backends.embedded.log import EmbeddedLog
from nearfeed_backends.embedded.numpy_store import NumpyStore
from nearfeed_backends.errors import BackendSettingError
from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.vector_store import StoreUnavailableError


def test_schemes_choose_back_ends(tmp_path: Path) -> None:
    assert isinstance(open_store("memory://"), NumpyStore)
    log = open_log(f"embedded://{tmp_path}/a folder/log.db")
    assert isinstance(log, EmbeddedLog)
    log.close()
    assert (tmp_path / "a folder" / "log.db").exists()


@pytest.mark.parametrize(
    "url", ["milvus-light:///x", "milvus-lite://", "faiss://", "", "/a/path", "file:///x"]
)
def test_an_unknown_scheme_of_the_store_is_told(url: str) -> None:
    with pytest.raises(BackendSettingError, match=r"^NEARFEED_VECTORS_URL: .*use one of faiss:///PATH, "):
        open_store(url)


@pytest.mark.parametrize("url", ["kafka+x://h", "embedded://", "", "/a/path", "file:///x"])
def test_an_unknown_scheme_of_the_log_is_told(url: str) -> None:
    with pytest.raises(BackendSettingError, match=r"^NEARFEED_LOG_URL: .*use one of embedded:///PATH"):
        open_log(url)


def test_a_server_that_does_not_answer_is_told() -> None:
    with pytest.raises(
        StoreUnavailableError, match=r"^NEARFEED_VECTORS_URL: no Milvus answers at 127.0.0.1:1 .*start"
    ):
        open_store("milvus://127.0.0.1:1")


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Makes a package look as if it were not installed."""
    for name in list(sys.modules):
        if name.partition(".")[0] == package or name.startswith(
            ("nearfeed_backends.milvus", "nearfeed_backends.embedded")
        ):
            monkeypatch.delitem(sys.modules, name)
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize(
    ("scheme", "package", "distribution"),
    [
        ("milvus-lite", "pymilvus", "pymilvus"),
        ("faiss", "faiss", "faiss-cpu"),
        ("faiss", "filelock", "filelock"),
    ],
)
def test_a_missing_driver_of_the_store_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str, package: str, distribution: str
) -> None:
    hide(monkeypatch, package)
    with pytest.raises(
        BackendSettingError,
        match=rf"^NEARFEED_VECTORS_URL: the driver of {scheme} .*run `pip install {distribution}`",
    ):
        open_store(f"{scheme}://{tmp_path}/vectors")


def test_a_missing_driver_of_the_database_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "mysql")
    with pytest.raises(
        BackendSettingError, match=r"^NEARFEED_DATABASE_URL: .*pip install mysql-connector-python"
    ):
        open_database("mysql+mysqlconnector://user@host/nearfeed")

"""Binding: who may be reached, and that answers leave at once."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from nearfeed_recommender.app.bootstrap import keys_in_sql, operations_alone
from nearfeed_recommender.app.server import BindError, bind
from nearfeed_recommender.settings import RecommenderSettings


def test_a_public_bind_needs_keys(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="NEARFEED_API_KEYS"):
        bind(RecommenderSettings(data_dir=tmp_path, host="0.0.0.0", port=0))
    keys = {"key": ["feed"]}
    bind(RecommenderSettings(data_dir=tmp_path, host="0.0.0.0", port=0, api_keys=keys)).close()


def test_a_key_of_sql_lets_a_public_bind_be_and_is_made_before_the_api_runs(tmp_path: Path) -> None:
    settings = RecommenderSettings(data_dir=tmp_path, host="0.0.0.0", port=0)
    with pytest.raises(BindError, match="make a key first"):
        bind(settings, keys_in_sql)
    with operations_alone(settings) as operations:
        list(operations["keys.create"](name="app", scopes=["feed"], actor="Ann"))
    bind(settings, keys_in_sql).close()
    with operations_alone(settings) as operations:
        list(operations["keys.revoke"](named="app", actor="Ann"))
    with pytest.raises(BindError, match="make a key first"):
        bind(settings, keys_in_sql)


def test_a_private_bind_looks_for_no_keys(tmp_path: Path) -> None:
    def fail(_: RecommenderSettings) -> bool:
        raise AssertionError

    bind(RecommenderSettings(data_dir=tmp_path, port=0), fail).close()


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with closing(bind(RecommenderSettings(data_dir=tmp_path, port=0))) as first:
        first.listen()
        with pytest.raises(BindError, match="NEARFEED_PORT"):
            bind(RecommenderSettings(data_dir=tmp_path, port=first.getsockname()[1]))


def test_the_listener_names_its_protocol_so_that_answers_wait_for_no_acknowledgement(tmp_path: Path) -> None:
    with closing(bind(RecommenderSettings(data_dir=tmp_path, port=0))) as listener:
        assert listener.proto == socket.IPPROTO_TCP

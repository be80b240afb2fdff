from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import DefaultPartitioner

from nearfeed_backends.errors import BackendSettingError
from nearfeed_backends.kafka.log import partition_of
from nearfeed_backends.kafka.prefix import bare, prefixed
from nearfeed_backends.kafka.settings import read_url
from nearfeed_backends.kafka.topics import configuration_of
from nearfeed_backends.opening import open_log
from nearfeed_contracts.event_log import DEAD_SUFFIX, LogUnavailableError, Record
from nearfeed_contracts.topics import READER_RETENTION, TOPICS

DAY_MS = timedelta(days=1) // timedelta(milliseconds=1)


def test_a_url_names_servers_topics_and_security() -> None:
    settings = read_url(
        "kafka://one:9093,two?partitions=12&replication=3&security_protocol=SASL_SSL"
        "&sasl_mechanism=SCRAM-SHA-512&sasl_username=nearfeed&sasl_password=p%26ss%3D1"
        "&ssl_cafile=/etc/ca.pem&ssl_check_hostname=false&session_timeout_ms=6000"
    )
    assert settings.servers == ("one:9093", "two:9092")
    assert (settings.partitions, settings.replication) == (12, 3)
    assert settings.client == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "nearfeed",
        "sasl_plain_password": "p&ss=1",
        "ssl_cafile": "/etc/ca.pem",
        "ssl_check_hostname": False,
    }
    assert settings.member == {"session_timeout_ms": 6000}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("kafka://host?partition=4", "no parameter 'partition'; use one of .*partitions"),
        ("kafka://host?partitions=0", "partitions must be a whole number from 1 on, not '0'"),
        ("kafka://host?replication=two", "replication must be a whole number"),
        ("kafka://host?prefix=my app", "prefix may hold letters, .* not 'my app'"),
        ("kafka://host?prefix=", "prefix may hold letters, .* not ''"),
        ("kafka://host:port", "'port' is no port"),
        ("kafka://host:99999", "'99999' is no port"),
        ("kafka://host,,other", "has the form kafka://HOST:9092"),
        ("kafka://user:secret@host", "has the form kafka://HOST:9092"),
        ("kafka://host?session_timeout_ms=long", "session_timeout_ms cannot be 'long'"),
        ("kafka://host?partitions", "must be NAME=VALUE"),
    ],
)
def test_a_wrong_url_gets_one_sentence(url: str, sentence: str) -> None:
    with pytest.raises(BackendSettingError, match=f"^NEARFEED_LOG_URL: .*{sentence}") as raised:
        open_log(url)
    assert "secret" not in str(raised.value)


def test_a_broker_that_does_not_answer_is_told() -> None:
    with pytest.raises(LogUnavailableError, match=r"^NEARFEED_LOG_URL: Kafka at 127.0.0.1:1 .*start it"):
        open_log("kafka://127.0.0.1:1")


class OneTopic:
    """The part of a cluster's metadata that a partitioner asks for."""

    def __init__(self, partitions: int) -> None:
        self._partitions = set(range(partitions))

    def topics(self) -> set[str]:
        return {"topic"}

    def partitions_for_topic(self, _: str) -> set[int]:
        return self._partitions

    available_partitions_for_topic = partitions_for_topic


@given(key=st.text(), partition_key=st.none() | st.text(), partitions=st.integers(1, 50))
def test_a_record_goes_where_kafkas_own_clients_put_its_key(
    key: str, partition_key: str | None, partitions: int
) -> None:
    record = Record("topic", key, b"", partition_key)
    deciding = (key if partition_key is None else partition_key).encode()
    cluster = OneTopic(partitions)
    expected = DefaultPartitioner().partition("topic", deciding, deciding, None, None, cluster)
    assert partition_of(record, partitions) == expected


@pytest.mark.parametrize("name", ["interactions", "memberships", "reader-controls", "items.dead"])
def test_records_with_reader_ids_are_gone_after_thirty_days(name: str) -> None:
    configuration = configuration_of(name)
    assert configuration["cleanup.policy"] == "delete"
    kept = int(configuration["retention.ms"]) + int(configuration["segment.ms"])
    assert 29 * DAY_MS < kept < 30 * DAY_MS


@pytest.mark.parametrize("name", ["items", "item-vectors"])
def test_topics_of_posts_are_compacted(name: str) -> None:
    days = int(configuration_of(name)["max.compaction.lag.ms"]) / 86_400_000
    assert configuration_of(name)["cleanup.policy"] == "compact"
    assert days < READER_RETENTION.days - 1


@given(st.from_regex(r"[a-z._-]{1,20}", fullmatch=True), st.sampled_from([*TOPICS, "posts", "clicks"]))
def test_a_prefix_is_put_before_our_topics_alone_and_taken_off_again(prefix: str, topic: str) -> None:
    for name in (topic, topic + DEAD_SUFFIX):
        assert prefixed(name, prefix) == (prefix + name if topic in TOPICS else name)
        assert bare(prefixed(name, prefix), prefix) == name

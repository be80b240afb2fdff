"""The tables, the same on SQLite and MySQL. Times are BIGINT microseconds since 1970, UTC.

Each table has one writer, named in its comment.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    ScalarSelect,
    String,
    Table,
    Text,
    select,
)
from sqlalchemy.dialects import mysql, sqlite

from nearfeed_contracts.events import KINDS
from nearfeed_contracts.fields import MAX_ID, MAX_LABEL, MAX_TITLE, MAX_URL

metadata = MetaData()

# Execution option of an engine whose transactions only read: SQLite begins those without its write lock.
READ_ONLY_OPTION = "nearfeed_read_only"

_ID = String(MAX_ID).with_variant(mysql.VARCHAR(MAX_ID, charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
# An app's own topics have long names, which may differ in case alone.
_TOPIC = String(255).with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
_LABEL = String(MAX_LABEL).with_variant(
    mysql.VARCHAR(MAX_LABEL, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
)
_TEXT = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
_BLOB = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")
_DOUBLE = Float(53).with_variant(mysql.DOUBLE(asdecimal=False), "mysql")
_AUTO = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
_TITLE = String(MAX_TITLE).with_variant(
    mysql.VARCHAR(MAX_TITLE, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
)

# Written by the API (and by the indexer for items that arrive by log only).
items = Table(
    "items",
    metadata,
    Column("item_id", _ID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False, default=False),
    Column("community_id", _ID, nullable=False),
    Column("author_id", _ID, nullable=False),
    Column("title", _TITLE, nullable=False),
    Column("body", _TEXT, nullable=False),
    Column("tags", _TEXT, nullable=False),  # JSON list of strings
    Column("language", String(35)),
    Column("url", String(MAX_URL)),
    Column("published_at", BigInteger, nullable=False),
    Column("change_id", BigInteger, nullable=False, server_default="0"),  # of change_sequence, name items
    Index("items_by_change", "change_id"),
    Index("items_by_community", "community_id", "published_at"),
    Index("items_by_time", "published_at"),
    Index("items_by_author", "author_id", "published_at"),
)

# Written by the API.
communities = Table(
    "communities",
    metadata,
    Column("community_id", _ID, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
)

# Written by the API.
memberships = Table(
    "memberships",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("community_id", _ID, primary_key=True),
    Column("joined_at", BigInteger, nullable=False),
    Index("memberships_by_community", "community_id", "joined_at"),
)

# Written by the API, and by the consumer for what a reset has made void.
reader_controls = Table(
    "reader_controls",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("control", String(16), primary_key=True),
    Column("target", _ID, primary_key=True),
    Column("set_at", BigInteger, nullable=False),
    Index("reader_controls_by_target", "target"),
)

# Written in every transaction that changes what a feed needs of a user: interactions, memberships, controls,
# resets, units of experiments, erasures and vectors. A user without a row has none of these.
user_revisions = Table(
    "user_revisions",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("revision", BigInteger, nullable=False),  # no user has the same number twice
)

# Written by the API in the transaction of each change; emptied by the relay.
outbox = Table(
    "outbox",
    metadata,
    Column("id", _AUTO, primary_key=True, autoincrement=True),
    Column("topic", String(64), nullable=False),
    Column(
        "key",
        String(2 * MAX_ID + 1).with_variant(
            mysql.VARCHAR(2 * MAX_ID + 1, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
        ),
        nullable=False,
    ),
    Column("partition_key", _ID),
    Column("value", _BLOB),
)

# Written by the consumer. One row per reader and item: the latest time of each kind.
interactions = Table(
    "interactions",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("item_id", _ID, primary_key=True),
    *(Column(f"{kind}_at", BigInteger) for kind in KINDS),
    Column("rating_value", _DOUBLE),
    Column("newest_at", BigInteger),  # newest counting time; NULL: the row does not count
    Index("interactions_by_reader", "user_id", "newest_at"),
    Index("interactions_by_item", "item_id"),
    Index("interactions_by_time", "newest_at"),
)

# Written by the consumer: a cache of what `interactions`, `item_contexts`, controls on posts and resets say.
# Who changes what a vector follows from marks it stale in the same transaction.
user_vectors = Table(
    "user_vectors",
    metadata,
    Column("space", _ID, primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("vector", _BLOB, nullable=False),  # little-endian float32
    Column("readings", Integer, nullable=False),
    Column("stale", Boolean, nullable=False, default=False),
    Index("user_vectors_stale", "stale"),
)

# Written by the consumer: up to which change of contexts a space's user vectors are marked.
reader_builds = Table(
    "reader_builds",
    metadata,
    Column("space", _ID, primary_key=True),
    Column("change_id", BigInteger, nullable=False),
    Column("readers", Integer, nullable=False),
    Column("rule", String(64), nullable=False),  # fingerprint of the weights they were built with
    Column("built_at", BigInteger, nullable=False),
)

# Written by the consumer on `user_erased`: a keyed hash of the id.
erased_users = Table(
    "erased_users",
    metadata,
    Column("user_hash", String(64), primary_key=True),
    Column("erased_at", BigInteger, nullable=False),
)

# Written by the indexer. A NULL context is the tombstone of a deleted post.
item_contexts = Table(
    "item_contexts",
    metadata,
    Column("space", _ID, primary_key=True),
    Column("item_id", _ID, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("context", _BLOB),  # little-endian float32
    Column("inferred", Boolean, nullable=False, default=False),
    Column("change_id", BigInteger, nullable=False),
    Index("item_contexts_by_change", "space", "change_id"),
)

# Written by whoever changes items or contexts: numbers the changes in the order of their commits.
# A transaction that changes keys of the API locks a row of its own.
change_sequence = Table(
    "change_sequence",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Written by the indexer.
spaces = Table(
    "spaces",
    metadata,
    Column("space", _ID, primary_key=True),
    Column("state", String(16), nullable=False),  # loading, ready
    Column("manifest", _TEXT, nullable=False),
    Column("run_url", String(MAX_URL), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("loaded_at", BigInteger),  # all vectors of the run are in store and table
    Column("activated_at", BigInteger),
)

# Written by the indexer: one row, the space that is served. Its foreign key keeps a served space.
active_space = Table(
    "active_space",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("space", _ID, ForeignKey("spaces.space"), nullable=False),
    Column("activated_at", BigInteger, nullable=False),
)

# Written by each consumer group, in the transaction of the effects.
positions = Table(
    "positions",
    metadata,
    Column("consumer_group", String(64), primary_key=True),
    Column("topic", _TOPIC, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

# Written by the API: the ranked posts behind a cursor.
feed_pages = Table(
    "feed_pages",
    metadata,
    Column("request_id", _ID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("page", _TEXT, nullable=False),  # JSON
    Index("feed_pages_by_time", "created_at"),
)

# Written by the API: what pages, providers and models are, as a whole per version; the newest holds.
config_versions = Table(
    "config_versions",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("author", _ID, nullable=False),
    Column("reason", _TEXT, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("document", _TEXT, nullable=False),  # JSON
)

# Written by the API: each page, provider and model in the versions in which it changed; NULL: it was removed.
config_entries = Table(
    "config_entries",
    metadata,
    Column("kind", String(16), primary_key=True),  # page, provider, model, relation
    Column("name", _ID, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("document", _TEXT),  # JSON
)

# Written by the consumer: one section of an answer, as it went out.
served_requests = Table(
    "served_requests",
    metadata,
    Column("request_id", _ID, primary_key=True),
    Column("section", _ID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    Column("served_at", BigInteger, nullable=False),
    Column("page", _ID),
    Column("provider", _ID, nullable=False),
    Column("config_version", BigInteger, nullable=False),
    Column("space", _ID),
    Column("reader", _TEXT, nullable=False),  # JSON of nearfeed_core.ranking_inputs.ReaderInputs
    Column("experiment", _ID),
    Column("arm", _ID),
    Column("propensity", _DOUBLE),
    Column("unit_id", _ID),  # NULL: the reader's id
    Column("state", String(16), nullable=False, server_default="whole"),  # whole, degraded, failed
    Column("took_ms", _DOUBLE),
    Index("served_requests_by_reader", "user_id", "served_at"),
    Index("served_requests_by_time", "served_at"),
    Index("served_requests_by_experiment", "experiment", "served_at"),
    Index("served_requests_by_unit", "unit_id"),
)

# Written by the consumer: the posts of such a section.
served_items = Table(
    "served_items",
    metadata,
    Column("request_id", _ID, primary_key=True),
    Column("section", _ID, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("item_id", _ID, nullable=False),
    Column("source", _ID, nullable=False),
    Column("score", _DOUBLE, nullable=False),
    Column("inputs", _TEXT, nullable=False),  # JSON of nearfeed_core.ranking_inputs.PostInputs
    Index("served_items_by_item", "item_id"),
)

# Written by the consumer: what came of served posts, one row per action or impression.
outcomes = Table(
    "outcomes",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("item_id", _ID, primary_key=True),
    Column("kind", String(16), primary_key=True),  # impression, or a kind of interaction
    Column("occurred_at", BigInteger, primary_key=True, autoincrement=False),
    Column("value", _DOUBLE),
    Column("request_id", _ID),  # the answer that it came of; NULL: of none that is known
    Column("attribution", String(32), nullable=False),  # nearfeed_contracts.events.Attribution
    Column("impression_at", BigInteger),  # of the impression that an action was attributed to
    Column("experiment", _ID),
    Column("arm", _ID),
    Index("outcomes_by_request", "request_id", "item_id"),
    Index("outcomes_by_experiment", "experiment", "occurred_at"),
    Index("outcomes_by_time", "occurred_at"),
)

# Written by the consumer: what it locks of readers while it joins what came of what they were served.
ledger_locks = Table(
    "ledger_locks",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
)

# Written by the API: sections of answers that the ledger lacks, as they were found missing.
ledger_losses = Table(
    "ledger_losses",
    metadata,
    Column("loss_id", String(32), primary_key=True),
    Column("found_at", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),  # full, failed, killed
    Column("sections", BigInteger, nullable=False),
    Index("ledger_losses_by_time", "found_at"),
)

# Written by the API, and by the consumer for what acts by itself: experiments as they stand; `revision`
# counts the changes of all of them.
experiments = Table(
    "experiments",
    metadata,
    Column("name", _ID, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),  # what request ids carry
    Column("revision", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),  # draft, running, stopped
    Column("document", _TEXT, nullable=False),  # JSON: what was asked for
    Column("traffic", _TEXT, nullable=False),  # JSON: the buckets of its layer that it has, its arms' shares
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("stopped_at", BigInteger),
    Column("stop_reason", _TEXT),
    Index("experiments_by_revision", "revision", unique=True),
)

# Written by the consumer: results as they were at a time, without any reader's id.
experiment_results = Table(
    "experiment_results",
    metadata,
    Column("experiment", _ID, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("document", _TEXT, nullable=False),  # JSON
    Column("points", _TEXT, nullable=False),  # JSON list: of the document, what its course shows
)

# Written by the API: what a reader is assigned to experiments by, where that is not their id.
reader_units = Table(
    "reader_units",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("unit_id", _ID, nullable=False),
    Column("merged_at", BigInteger, nullable=False),
    Column("first_served_at", BigInteger),  # NULL: not as far as the ledger went
    Index("reader_units_by_unit", "unit_id"),
)

# Written by the API, and by the consumer for those that come by log alone: readers who began anew; what they
# did until then is void. An erasure is one, until the consumer has seen it.
reader_resets = Table(
    "reader_resets",
    metadata,
    Column("user_id", _ID, primary_key=True),
    Column("reset_at", BigInteger, nullable=False),
    Column("controls_reset_at", BigInteger, nullable=False),  # the last that took controls away, too
)

# Written by the API: keys of the API, by a hash of each.
api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("name", _ID, nullable=False),
    Column("key_hash", String(64), nullable=False),
    Column("scopes", _TEXT, nullable=False),  # JSON list
    Column("per_minute", Integer),  # calls; NULL: as the settings say
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

# Written by the API and the indexer, in the transaction of each change by an operator.
audit = Table(
    "audit",
    metadata,
    Column("number", _AUTO, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", _ID, nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", _TEXT, nullable=False),
    Column("detail", _TEXT, nullable=False),  # JSON object
    Index("audit_by_time", "at"),
)

# Written by the bulk load: whatever an app knows beside posts and readers, by kind.
vertices = Table(
    "vertices",
    metadata,
    Column("kind", _LABEL, primary_key=True),
    Column("vertex_id", _ID, primary_key=True),
    Column("properties", _TEXT, nullable=False),  # JSON object
)

# Written by the bulk load: edges between ids, by label.
edges = Table(
    "edges",
    metadata,
    Column("label", _LABEL, primary_key=True),
    Column("from_id", _ID, primary_key=True),
    Column("to_id", _ID, primary_key=True),
    Column("score", _DOUBLE, nullable=False),
    Column("properties", _TEXT),  # JSON object
    Index("edges_by_score", "label", "from_id", "score"),
    sqlite_with_rowid=False,  # one tree less to write
)

# Written by the pipeline's process: one row per run.
pipeline_runs = Table(
    "pipeline_runs",
    metadata,
    Column("run_id", _ID, primary_key=True),
    Column("pipeline", _ID, nullable=False),
    Column("state", String(16), nullable=False),  # running, done, failed
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("definition", _TEXT, nullable=False),  # JSON
)

# Written by the pipeline's process: the steps of a run.
pipeline_steps = Table(
    "pipeline_steps",
    metadata,
    Column("run_id", _ID, primary_key=True),
    Column("step", _ID, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # waiting, running, done, skipped, failed
    Column("fingerprint", String(64)),
    Column("attempts", Integer, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("output", _TEXT),  # JSON of what later steps take from it
    Column("error", _TEXT),
)

# Written by the importer: how far a file or a query (`file_hash` is what it is known by) has been taken in.
imports = Table(
    "imports",
    metadata,
    Column("file_hash", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("rows_done", BigInteger, nullable=False),
    Column("rows_refused", BigInteger, nullable=False),
    Column("finished", Boolean, nullable=False),
    Column("read_up_to", _TEXT),  # JSON of the last key of a query; NULL for a file
    Column("updated_at", BigInteger, nullable=False),
)


def active_space_name() -> ScalarSelect[str]:
    """The name of the space that is served, as a scalar subquery (NULL before the first)."""
    return select(active_space.c.space).where(active_space.c.slot == 1).scalar_subquery()

"""The recommender's settings."""

from typing import Literal

from pydantic import Field

from nearfeed_runtime.settings import Settings

Scope = Literal["feed", "events", "items", "admin"]


class RecommenderSettings(Settings):
    """How the feed is ranked and served."""

    host: str = Field(default="127.0.0.1", description="address that the API binds to")
    port: int = Field(default=8080, ge=0, le=65535, description="port of the API")
    api_keys: dict[str, list[Scope]] = Field(
        default_factory=dict,
        description='JSON: {"key": ["feed", "events", "items", "admin"]}; keys beside those of '
        "`nearfeed keys`; any bind but loopback needs one",
    )
    calls_per_minute: int = Field(
        default=0, ge=0, description="calls a minute of a key without a limit of its own; 0: any number"
    )
    reader_calls_per_minute: int = Field(
        default=300, ge=0, description="calls a minute of a reader with a token of their own; 0: any number"
    )
    jwt_secret: str = Field(
        default="",
        description="readers may call with tokens (JWT) that are signed by it (HS256); 32 bytes or more",
    )
    jwt_public_key: str = Field(
        default="",
        description="the same for RS256 or ES256: an RSA or P-256 key in PEM, or a file that holds it",
    )
    jwt_jwks_url: str = Field(
        default="", description="the same for keys that change: http(s) URL or file of a JWK set"
    )
    jwt_audience: str = Field(default="", description="`aud` that a reader's token must have")
    jwt_issuer: str = Field(default="", description="`iss` that a reader's token must have")
    secret: str = Field(
        default="",
        description="signs cursors, keys hashes of erased readers: keep it; empty: a file in the data folder",
    )
    topic_map: str = Field(
        default="", description="YAML file that maps an app's own topics to events; see docs/your-app.md"
    )
    search_timeout_ms: int = Field(
        default=200,
        ge=1,
        description="how long a feed waits for a vector server before it is degraded; "
        "an embedded store is waited for",
    )
    api_workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="processes of the API that share its port, about one a core; more than one need servers "
        "for database, log and vectors",
    )
    api_threads: int = Field(
        default=0,
        ge=0,
        le=64,
        description="threads of an API process for feeds, beside 16 for writes; 16 calls wait for each, "
        "others are refused with 503; 0: 2 where all back ends are embedded, else 8",
    )
    feed_deadline_ms: int = Field(
        default=1000,
        ge=50,
        description="how long a feed, page or list of similar posts may take; under overload, feeds are "
        "answered from popular and latest posts, then refused with 503",
    )
    write_deadline_ms: int = Field(
        default=5000, ge=50, description="how long events and writes of posts may take before a 503"
    )
    page_ttl_minutes: float = Field(default=30, gt=0, description="how long a cursor holds")
    attribution_hours: float = Field(
        default=24,
        gt=0,
        le=30 * 24,
        description="how long after an impression an action without a request id may be said to come of it",
    )
    clock_skew_minutes: float = Field(default=5, ge=0, description="how far ahead an event's time may be")

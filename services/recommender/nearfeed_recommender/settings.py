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
        description='JSON: {"key": ["feed", "events", "items", "admin"]}; needed for any bind but loopback',
    )
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
    page_ttl_minutes: float = Field(default=30, gt=0, description="how long a cursor holds")
    attribution_hours: float = Field(
        default=24,
        gt=0,
        le=30 * 24,
        description="how long after an impression an action without a request id may be said to come of it",
    )
    clock_skew_minutes: float = Field(default=5, ge=0, description="how far ahead an event's time may be")

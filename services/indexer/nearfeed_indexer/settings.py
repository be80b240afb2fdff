"""The indexer's settings."""

from pydantic import Field

from nearfeed_runtime.settings import Settings


class IndexerSettings(Settings):
    """How runs are loaded."""

    ready_seconds: float = Field(
        default=600, ge=0, description="seconds that a load waits for its space to become ready"
    )
    load_batch: int = Field(
        default=2_000, ge=1, le=20_000, description="vectors that a load puts into a space at a time"
    )

"""The settings of the all-in-one process beside those of its services."""

from pydantic import Field

from nearfeed_runtime.settings import Settings


class StandaloneSettings(Settings):
    """How files and databases are imported."""

    import_batch: int = Field(
        default=1_000, ge=1, le=20_000, description="rows that an import takes in at a time"
    )

"""What is on its way between the services, and how it comes to its end."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Engine, func, select

from nearfeed_contracts.tables import outbox
from nearfeed_runtime.consume import Consumer
from nearfeed_runtime.operations import Progress, Said, Step
from nearfeed_runtime.sql import read_connection

STAGE = "Taking in events"
_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 30.0


@dataclass
class Flow:
    """Consumers, and `pumps` that do once what a loop would do and return how much it was.

    `last_pumps` look for what others left out, and run when nothing else was due. While `in_loops`
    is set others run the loops, and this looks on; otherwise it does their work.
    """

    engine: Engine
    consumers: list[Consumer] = field(default_factory=list)
    pumps: list[Callable[[], int]] = field(default_factory=list)
    last_pumps: list[Callable[[], int]] = field(default_factory=list)
    in_loops: bool = False

    def settle(self) -> Iterator[Step]:
        """Ends when nothing is on its way any more, or nothing has moved for a while."""
        most = left = self.pending()
        moved_at = time.monotonic()
        while self._advance() or left:
            before, left = left, self.pending()
            most = max(most, left)
            if left != before:
                moved_at = time.monotonic()
            if most:
                yield Progress(STAGE, most - left, most)
            if time.monotonic() > moved_at + _PATIENCE_SECONDS:
                yield Said(f"{left:,} events are still to be taken in; other processes go on with them.")
                return

    def pump_or_rest(self) -> None:
        """Brings everything a step further, or lets the loops do so."""
        self._advance()

    def _advance(self) -> int:
        moved = 0 if self.in_loops else self.pump()
        if not moved:
            time.sleep(_LOOK_SECONDS)
        return moved

    def pump(self) -> int:
        """One round of everything; returns how much was moved."""
        moved = sum(pump() for pump in self.pumps)
        moved += sum(consumer.run_once(timeout=0) for consumer in self.consumers)
        return moved or sum(pump() for pump in self.last_pumps)

    def pending(self) -> int:
        """Changes in the outbox and messages that a consumer has not committed."""
        with read_connection(self.engine) as connection:
            waiting = connection.scalar(select(func.count()).select_from(outbox)) or 0
        return waiting + sum(consumer.lag() for consumer in self.consumers)

"""A plate of a watched folder while this process lives: data."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_producer.watch.finding import Candidate
from fleet_producer.watch.records import LACKS_FILES, Record


@dataclass(slots=True)
class Place:
    """A plate of a watched folder while this process lives.

    Attributes:
        candidate: Where it is.
        record: What is known of it.
        due_at: When it is to be looked at, on the monotonic clock.
        looked_at: When the last look ended; None when nothing is proven by it.
        kept: The record as it is in the state.
        stirring: Whether one at rest has changed.
        submitted: Whether somebody has just submitted something of it.
    """

    candidate: Candidate
    record: Record
    due_at: float
    looked_at: float | None = None
    kept: Record | None = None
    stirring: bool = False
    submitted: bool = False

    @property
    def lacks_files(self) -> bool:
        """Whether it did at the last look, and nobody has published it."""
        return not self.record.request_id and self.record.state in LACKS_FILES

"""What an attempt works with: made once by the worker, shared by all its threads, every part safe in any thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fleet_common.broker import Locks, Names, Publisher
from fleet_common.events import Transfer
from fleet_common.messages import ImportRequest
from fleet_common.metrics import Metrics
from fleet_common.settings import Settings
from fleet_common.storage import Shares
from fleet_worker.linking import Links
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.lending import Lender
from fleet_worker.scan import Scanner
from fleet_worker.uploads import UploadPool


def utc_now() -> datetime:
    """The present time."""
    return datetime.now(UTC)


def nobody_cancels(_request: ImportRequest) -> None:
    """Where no operator's orders are read."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one worker.

    Attributes:
        links: What imports in place; None where this worker uploads everything.
        scanner: Bio-Formats, for what no plate format knows; None where this worker has none.
        cancelled: Who cancelled a request and why; None while nobody has. Asked often, so it must be quick.
        clock: The time that is told.
        monotonic: The time that waits are measured by.
        pause: Sleeps for seconds.
    """

    settings: Settings
    shares: Shares
    names: Names
    gateway: Gateway
    sessions: Lender
    locks: Locks
    publisher: Publisher
    uploads: UploadPool
    metrics: Metrics
    scanner: Scanner | None = None
    links: Links | None = None
    cancelled: Callable[[ImportRequest], str | None] = nobody_cancels
    clock: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def sender(self, share: str) -> UploadPool | Links:
        """What gets the files of a share into OMERO."""
        return self.links if self.links and self.links.takes(share) else self.uploads

    def transfer(self, share: str) -> Transfer:
        """How it does so."""
        return Transfer.LN_S if self.sender(share) is self.links else Transfer.UPLOAD

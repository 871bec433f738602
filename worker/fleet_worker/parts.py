"""What an attempt works with: made once by the worker, shared by all its threads, every part safe in any thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fleet_common.broker import Locks, Names, Publisher
from fleet_common.metrics import Metrics
from fleet_common.settings import Settings
from fleet_common.storage import Shares
from fleet_worker.omero.gateway import Gateway
from fleet_worker.uploads import UploadPool


def utc_now() -> datetime:
    """The present time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one worker."""

    settings: Settings
    shares: Shares
    names: Names
    gateway: Gateway
    locks: Locks
    publisher: Publisher
    uploads: UploadPool
    metrics: Metrics
    clock: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

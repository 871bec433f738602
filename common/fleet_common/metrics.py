"""All metrics of the fleet, in one registry per process; ``docs/reference/metrics.md`` is made from here.

No paths, users or ids as labels. Known label values exist from the start with 0, so that ``increase()`` sees the
first one.
"""

from __future__ import annotations

import importlib.metadata
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.process_collector import ProcessCollector

from fleet_common.errors import Reason
from fleet_common.events import Kind, Phase

PREFIX: Final = "omero_import"
OUTCOMES: Final = (
    Kind.IMPORTED,
    Kind.ALREADY_IMPORTED,
    Kind.DEAD,
    Kind.CANCELLED,
    Kind.RETRIED,
    Kind.HANDED_BACK,
)
_SECONDS: Final = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
SLOT_KINDS: Final = ("upload", "create", "staged", "import")
ROLES: Final = ("consume", "publish")


def fleet_version() -> str:
    """The version of the installed distribution."""
    return importlib.metadata.version("omero-import-fleet")


class Metrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info(f"{PREFIX}_build", "Version of the fleet.", registry=self.registry).info({"version": fleet_version()})
        self._requests()
        self._volume()
        self._engines()

    def _requests(self) -> None:
        self.requests = self._counter(
            "requests", "Requests settled by this worker, by outcome and reason.", "outcome", "reason"
        )
        for outcome in (Kind.IMPORTED, Kind.ALREADY_IMPORTED, Kind.CANCELLED):
            self.requests.labels(outcome, "")
        for reason in Reason:
            self.requests.labels(Kind.DEAD, reason)
            self.requests.labels(Kind.RETRIED, reason)
        for reason in (Reason.DRAINING, Reason.LOCK_HELD, Reason.STILL_RUNNING, Reason.CRASH_SUSPECT):
            self.requests.labels(Kind.HANDED_BACK, reason)
        self.in_progress = self._gauge("requests_in_progress", "Requests that this worker has taken and not settled.")
        self.phase_seconds = self._histogram("phase_seconds", "Seconds of one attempt by phase.", "phase")
        for phase in Phase:
            self.phase_seconds.labels(phase)
        self.queue_seconds = self._histogram(
            "queue_wait_seconds", "Seconds from submission until a worker took the request."
        )
        self.end_to_end_seconds = self._histogram("end_to_end_seconds", "Seconds from submission until imported.")
        self.attempts = self._histogram_of("attempts", "Attempts that an imported request needed.", (1, 2, 3, 4, 5, 10))
        self.published = self._counter(
            "published_requests", "Requests published by this producer, by result.", "result"
        )
        for result in ("confirmed", "unroutable", "refused", "timeout", "unreachable"):
            self.published.labels(result)

    def _volume(self) -> None:
        self.files = self._counter("files", "Files uploaded, repeated ones included.")
        self.bytes = self._counter("bytes", "Bytes uploaded, repeated ones included.")
        self.upload_repeats = self._counter("upload_repeats", "Files sent again because the server's hash differed.")
        self.images = self._counter("images", "Images imported and verified.")
        self.planes = self._counter("planes", "Planes imported and verified.")
        self.plates = self._counter("plates", "Plates imported and verified.")
        self.last_success = self._gauge("last_success_timestamp_seconds", "When this worker last imported a request.")

    def _engines(self) -> None:
        self.broker_connected = self._gauge("broker_connected", "1 while the connection to RabbitMQ stands.", "role")
        self.broker_reconnects = self._counter("broker_reconnects", "Connections to RabbitMQ made anew.", "role")
        for role in ROLES:
            self.broker_connected.labels(role)
            self.broker_reconnects.labels(role)
        self.omero_connected = self._gauge("omero_connected", "1 while the service account is logged in to OMERO.")
        self.omero_sessions = self._gauge("omero_sessions", "Sessions of owners that this worker holds open.")
        self.slots_held = self._gauge("slots_held", "Slots of the OMERO server that this worker holds.", "kind")
        self.slot_seconds = self._histogram("slot_wait_seconds", "Seconds that a request waited for a slot.", "kind")
        for kind in SLOT_KINDS:
            self.slots_held.labels(kind)
            self.slot_seconds.labels(kind)
        self.keep_alive_failures = self._counter(
            "keep_alive_failures", "Pings of OMERO sessions that failed; the next one is sent all the same."
        )
        self.breaker_open = self._gauge("breaker_open", "1 while OMERO refuses the service account: nothing is taken.")
        self.lanes_paused = self._gauge("lanes_paused", "Lanes of this worker that an operator has paused.")
        self.swept_filesets = self._counter("swept_filesets", "Unfinished filesets of dead attempts that were removed.")
        self.swept_directories = self._counter("swept_directories", "Folders without a fileset that were removed.")
        self.leases_lost = self._counter("leases_lost", "Locks or deliveries that were lost while in work.")
        self.events_dropped = self._counter(
            "events_dropped", "Progress events that were dropped because the broker was slow."
        )
        self.internal_errors = self._counter("internal_errors", "Errors that no rule foresees: each is a defect.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, registry=self.registry, buckets=_SECONDS)

    def _histogram_of(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, registry=self.registry, buckets=buckets)

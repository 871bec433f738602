"""All metrics of a worker, in one registry per process; ``docs/reference/metrics.md`` is made from here.

No paths, users or ids as labels. Lanes are those of the settings. Known label values exist from the start with 0, so
that ``increase()`` sees the first one. Whoever tells an event of a request counts it here, too, so that log, events
and metrics say the same words: :class:`fleet_worker.reporting.Reporter` and ``fleet_worker.settling``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from fleet_common.errors import Reason
from fleet_common.events import Kind, Phase
from fleet_common.instruments import Instruments
from fleet_common.pulse import Pulse

OUTCOMES: Final = (
    Kind.IMPORTED,
    Kind.ALREADY_IMPORTED,
    Kind.EXPANDED,
    Kind.DEAD,
    Kind.CANCELLED,
    Kind.RETRIED,
    Kind.HANDED_BACK,
)
WITHOUT_REASON: Final = (Kind.IMPORTED, Kind.ALREADY_IMPORTED, Kind.EXPANDED, Kind.CANCELLED)
HANDED_BACK: Final = (Reason.DRAINING, Reason.LOCK_HELD, Reason.STILL_RUNNING, Reason.CRASH_SUSPECT)
SLOT_KINDS: Final = ("upload", "create", "staged", "import")
ROLES: Final = ("consume", "publish")


class Metrics(Instruments):
    """The metrics of one worker.

    Args:
        registry: Where to put them; a new one by default.
        lanes: The lanes that it serves.
        clock: Monotonic, for signs of life.

    Attributes:
        pulse: When each request in work last gave a sign of life.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        lanes: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(registry)
        self.pulse = Pulse(clock)
        self._requests()
        self._phases()
        self._volume()
        self._engines()
        self._slots()
        self._events()
        for lane in lanes:
            self._know(lane)

    def settled(self, lane: str, outcome: Kind, reason: Reason | str = "") -> None:
        """Count a request that left this worker; success and cancellation have no reason."""
        self.requests.labels(outcome, "" if outcome in WITHOUT_REASON else reason, lane).inc()

    def _requests(self) -> None:
        self.requests = self._counter(
            "requests", "Requests settled by this worker, by outcome and reason.", "outcome", "reason", "lane"
        )
        self.in_progress = self._gauge(
            "requests_in_progress", "Requests that this worker has taken and not settled.", "lane"
        )
        self.places = self._gauge("places", "Requests that this worker may have in work at once.")
        self.queue_seconds = self._histogram(
            "queue_wait_seconds", "Seconds from submission until a worker took the request.", "lane"
        )
        self.end_to_end_seconds = self._histogram(
            "end_to_end_seconds", "Seconds from submission until imported.", "lane"
        )
        self.attempts = self._histogram_of("attempts", "Attempts that an imported request needed.", (1, 2, 3, 4, 5, 10))
        self.lane_paused = self._gauge(
            "lane_paused", "1 while an operator has paused the lane; there is one series for each lane served.", "lane"
        )
        self.published = self._published()

    def _phases(self) -> None:
        self.phase_seconds = self._histogram("phase_seconds", "Seconds of one attempt by phase.", "phase")
        self.in_phase = self._gauge("requests_in_phase", "Requests of this worker that are in a phase now.", "phase")
        self.silence_seconds = self._gauge(
            "longest_silence_seconds", "For how long the most silent request in a phase gave no sign of life.", "phase"
        )
        for phase in Phase:
            self.phase_seconds.labels(phase)
            self.in_phase.labels(phase).set_function(partial(self.pulse.count, phase))
            self.silence_seconds.labels(phase).set_function(partial(self.pulse.silence_seconds, phase))

    def _volume(self) -> None:
        self.files = self._counter("files", "Files uploaded, repeated ones included.", "lane")
        self.bytes = self._counter("bytes", "Bytes uploaded, repeated ones included.", "lane")
        self.linked_files = self._counter("linked_files", "Files imported in place: OMERO got a link to each.", "lane")
        self.linked_bytes = self._counter("linked_bytes", "Bytes of the files that OMERO got links to.", "lane")
        self.upload_repeats = self._counter("upload_repeats", "Files sent again because the server's hash differed.")
        self.images = self._counter("images", "Images imported and verified.", "lane")
        self.planes = self._counter("planes", "Planes imported and verified.", "lane")
        self.plates = self._counter("plates", "Plates imported and verified.", "lane")
        self.last_success = self._gauge("last_success_timestamp_seconds", "When this worker last imported a request.")

    def _engines(self) -> None:
        self.broker_connected = self._gauge("broker_connected", "1 while the connection to RabbitMQ stands.", "role")
        self.broker_reconnects = self._counter("broker_reconnects", "Connections to RabbitMQ made anew.", "role")
        for role in ROLES:
            self.broker_connected.labels(role)
            self.broker_reconnects.labels(role)
        self.omero_connected = self._gauge(
            "omero_connected", "1 while the service account is logged in to OMERO and OMERO lets it work."
        )
        self.omero_sessions = self._gauge(
            "omero_sessions", "Sessions of owners that this worker has open, in use or kept for the next request."
        )
        self.keep_alive_failures = self._counter(
            "keep_alive_failures", "Pings of OMERO sessions that failed; the next one is sent all the same."
        )
        self.breaker_open = self._gauge("breaker_open", "1 while OMERO refuses the service account: nothing is taken.")

    def _slots(self) -> None:
        self.slots_held = self._gauge("slots_held", "Slots of the OMERO server that this worker holds.", "kind")
        self.slots_waiting = self._gauge(
            "slots_waiting", "Requests, or files where it is uploads, that wait for a slot in this worker.", "kind"
        )
        self.slot_seconds = self._histogram("slot_wait_seconds", "Seconds that a request waited for a slot.", "kind")
        for kind in SLOT_KINDS:
            self.slots_held.labels(kind)
            self.slots_waiting.labels(kind)
            self.slot_seconds.labels(kind)

    def _events(self) -> None:
        self.swept_filesets = self._counter("swept_filesets", "Unfinished filesets of dead attempts that were removed.")
        self.swept_directories = self._counter("swept_directories", "Folders without a fileset that were removed.")
        self.leases_lost = self._counter("leases_lost", "Locks or deliveries that were lost while in work.")
        self.events_dropped = self._counter(
            "events_dropped", "Progress events that were dropped because the broker was slow."
        )
        self.internal_errors = self._counter("internal_errors", "Errors that no rule foresees: each is a defect.")

    def _know(self, lane: str) -> None:
        """Have every series of a lane, with 0."""
        for outcome in WITHOUT_REASON:
            self.requests.labels(outcome, "", lane)
        for reason in Reason:
            self.requests.labels(Kind.DEAD, reason, lane)
            self.requests.labels(Kind.RETRIED, reason, lane)
        for reason in HANDED_BACK:
            self.requests.labels(Kind.HANDED_BACK, reason, lane)
        for gauge in (self.in_progress, self.lane_paused):
            gauge.labels(lane)
        linked = (self.linked_files, self.linked_bytes)
        for counter in (self.files, self.bytes, *linked, self.images, self.planes, self.plates):
            counter.labels(lane)
        for histogram in (self.queue_seconds, self.end_to_end_seconds):
            histogram.labels(lane)

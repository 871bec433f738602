"""All metrics of a producer that watches folders; ``docs/reference/metrics.md`` is made from here.

No paths and no ids as labels. For hosts that nobody can scrape the same numbers go to the event log, see
:mod:`fleet_common.heartbeats`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from fleet_common.heartbeats import Settle
from fleet_common.instruments import Instruments


class ProducerMetrics(Instruments):
    """The metrics of one watch.

    Args:
        registry: Where to put them; a new one by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__(registry)
        self.published = self._published()
        self._watch()
        self._spool()

    def _watch(self) -> None:
        self.plates = self._gauge("watch_plates", "Plates and images in the watched folders, by state.", "state")
        for state in Settle:
            self.plates.labels(state)
        self.parked = self._gauge("watch_parked", "Complete plates that wait for a rule, for room or for a person.")
        self.folders_away = self._gauge("watch_folders_away", "Watched folders that cannot be seen right now.")
        self.since_scan_seconds = self._gauge(
            "watch_seconds_since_scan", "Seconds since the watched folder that was least lately seen was seen."
        )
        self.internal_errors = self._counter("internal_errors", "Errors that no rule foresees: each is a defect.")
        self.worked_seconds = self._counter("watch_worked_seconds", "Seconds spent looking at folders and plates.")

    def _spool(self) -> None:
        self.spool_requests = self._gauge("spool_requests", "Requests in the spool of this host.")
        self.spool_bytes = self._gauge("spool_bytes", "Bytes of the requests in the spool of this host.")
        self.spool_unconfirmed = self._gauge("spool_unconfirmed", "Requests in the spool that nobody has confirmed.")
        self.spool_set_aside = self._gauge(
            "spool_set_aside", "Files of the spool of this host that could not be read and wait for a person."
        )
        self.spool_oldest_seconds = self._gauge("spool_oldest_unconfirmed_seconds", "Age of the oldest of them.")

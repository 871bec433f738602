"""What the exporter shows of the whole fleet: made anew for every scrape from what it knows at that moment.

A value that nobody knows now is left out, so that an alert sees it missing instead of believing an old one. Lanes,
classes, reasons, states and kinds of slots are closed sets; nothing grows with requests, batches, users or paths: of
the batches of a lane only the newest is shown, without its name. Threading: a scrape reads on the health server's
threads; :class:`FleetView` is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fleet_common.dead import UNKNOWN, UNROUTABLE
from fleet_common.errors import Reason
from fleet_common.heartbeats import Settle
from fleet_common.instruments import PREFIX
from fleet_common.ledger import IN_WORK, STATES, WAITING
from fleet_common.messages import Priority
from fleet_common.metrics import SLOT_KINDS

SOURCES: Final = ("rabbitmq", "event-log", "dead-letters", "omero")
DEAD_REASONS: Final = (*map(str, Reason), UNROUTABLE, UNKNOWN)
BATCH_PARTS: Final = ("files", "bytes")
THREAD_POOLS: Final = ("min_threads", "background_threads")

Series = Mapping[tuple[str, ...], float]
"""Values by the values of the labels, in the order of the labels."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One metric of the exporter.

    Attributes:
        name: Without prefix.
        text: What it says.
        labels: Names of its labels.
        known: All their values, for the reference page; lanes are ``lane`` there.
    """

    name: str
    text: str
    labels: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ((),)


def _one_of(values: Iterable[str], *before: str) -> tuple[tuple[str, ...], ...]:
    return tuple((*before, str(value)) for value in values)


_LANE: Final = (("lane",),)

METRICS: Final = (
    Shown("source_up", "1 while the exporter could read the source a moment ago.", ("source",), _one_of(SOURCES)),
    Shown("queue_ready", "Requests that wait in a lane, by class.", ("lane", "class"), _one_of(Priority, "lane")),
    Shown("queue_unacked", "Requests of a lane that workers hold.", ("lane", "class"), _one_of(Priority, "lane")),
    Shown("retries_waiting", "Requests that wait in the retry tiers."),
    Shown("dead_letters", "Dead letters by reason; all are unknown while their queue cannot be read.",
          ("reason",), _one_of(DEAD_REASONS)),
    Shown("workers_connected", "Workers that listen to the broker's doorbell."),
    Shown("slots_taken", "Slots of the OMERO server that the fleet holds.", ("kind",), _one_of(SLOT_KINDS)),
    Shown("slots_configured", "Slots of the OMERO server in the settings.", ("kind",), _one_of(SLOT_KINDS)),
    Shown("delivery_timeout_seconds", "The shortest time-out of deliveries that a lane's queue asks for; RabbitMQ"
          " before 4.0 has it in rabbitmq.conf and does not tell."),
    Shown("open_requests", "Requests without an outcome, as the event log tells.",
          ("lane", "state"), _one_of((WAITING, IN_WORK), "lane")),
    Shown("oldest_waiting_seconds", "Age of the oldest request of a lane that waits, retries included.",
          ("lane",), _LANE),
    Shown("batch_requests", "Requests of the newest batch of a lane, by state.",
          ("lane", "state"), _one_of(STATES, "lane")),
    Shown("batch_size", "Files and bytes of the newest batch of a lane that workers have begun.",
          ("lane", "part"), _one_of(BATCH_PARTS, "lane")),
    Shown("batch_sent", "Files and bytes of the newest batch of a lane that were sent to OMERO.",
          ("lane", "part"), _one_of(BATCH_PARTS, "lane")),
    Shown("batch_first_event_timestamp_seconds", "When the newest batch of a lane was first heard of.",
          ("lane",), _LANE),
    Shown("batch_last_event_timestamp_seconds", "When something of the newest batch of a lane was last told.",
          ("lane",), _LANE),
    Shown("producer_last_heartbeat_timestamp_seconds", "When the most silent producer of a lane was last heard of.",
          ("lane",), _LANE),
    Shown("producer_spool_requests", "Requests in the spools of a lane's producers.", ("lane",), _LANE),
    Shown("producer_spool_bytes", "Bytes in the spools of a lane's producers.", ("lane",), _LANE),
    Shown("producer_unconfirmed_requests", "Requests in the spools that the broker has not confirmed.",
          ("lane",), _LANE),
    Shown("producer_oldest_unconfirmed_seconds", "Age of the oldest of them.", ("lane",), _LANE),
    Shown("producer_set_aside", "Files in the spools that could not be read and wait for a person.", ("lane",), _LANE),
    Shown("producer_parked", "Complete plates that a lane's producers cannot publish.", ("lane",), _LANE),
    Shown("producer_folders_away", "Folders that a lane's producers watch and cannot see.", ("lane",), _LANE),
    Shown("producer_acquisitions", "Acquisitions that a lane's producers watch, by state.",
          ("lane", "state"), _one_of(Settle, "lane")),
    Shown("producer_seconds_since_scan", "Seconds since a lane's slowest producer ended a scan of its folders.",
          ("lane",), _LANE),
    Shown("omero_read_only", "1 while OMERO's database or repository is read-only."),
    Shown("omero_free_bytes", "Free space on the disk of OMERO's data folder."),
    Shown("omero_threads", "Threads that OMERO has for imports, and places for imports that run or wait.",
          ("pool",), _one_of(THREAD_POOLS)),
    Shown("omero_running_imports", "Imports of the fleet that OMERO has queued or runs."),
    Shown("omero_open_sessions", "Sessions of all users that are open in OMERO."),
    Shown("event_log_skipped", "Messages of the event log that were no events since the exporter began."),
    Shown("event_log_forgotten", "Open requests that the exporter had to forget; its counts are too small by them."),
)  # fmt: skip
"""Every metric of the exporter; a test holds :func:`series` to it."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """What is known now: for each metric its series; one without any is not shown."""

    series: Mapping[str, Series] = field(default_factory=dict)


class FleetCollector(Collector):
    """Gives every scrape the view of that moment.

    Args:
        look: Makes the view; must return at once.
    """

    def __init__(self, look: Callable[[], FleetView]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """The metrics that are known now."""
        view = self._look()
        for shown in METRICS:
            values = view.series.get(shown.name)
            if values:
                yield _family(shown, values)

    def describe(self) -> Iterator[Metric]:
        """All names, so that registering asks for no values."""
        return (_family(shown, {}) for shown in METRICS)


class Catalogue(Collector):
    """Every metric with every known value of its labels, for the reference page and for checks of queries."""

    def collect(self) -> Iterator[Metric]:
        """All of them, with 0."""
        return (_family(shown, dict.fromkeys(shown.known, 0.0)) for shown in METRICS)


def _family(shown: Shown, values: Series) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{shown.name}", shown.text, labels=shown.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family

"""What the metrics of every process have in common: prefix, registry, buckets, and the version of the fleet.

Neighbours: ``metrics`` (workers), ``producermetrics`` and ``fleetmetrics`` (the exporter) name the instruments; all of
them stand in ``docs/reference/metrics.md``. Threading: prometheus_client's instruments are safe in any thread.
"""

from __future__ import annotations

import importlib.metadata
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.process_collector import ProcessCollector

PREFIX: Final = "omero_import"
PUBLISHED: Final = ("confirmed", "unroutable", "refused", "timeout", "unreachable")
"""What can become of a request that is published."""
SECONDS: Final = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800)
"""Bounds of the histograms of time: from a short call to 8 h, as long as large plates were seen to take."""


def fleet_version() -> str:
    """The version of the installed distribution."""
    return importlib.metadata.version("omero-import-fleet")


class Instruments:
    """The metrics of one process, in a registry of their own.

    Attributes:
        registry: Serves them.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info(f"{PREFIX}_build", "Version of the fleet.", registry=self.registry).info({"version": fleet_version()})

    def _published(self) -> Counter:
        """Requests that this process publishes, with every result from the start."""
        counter = self._counter("published_requests", "Requests published by this producer, by result.", "result")
        for result in PUBLISHED:
            counter.labels(result)
        return counter

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return self._histogram_of(name, text, SECONDS, *labels)

    def _histogram_of(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, registry=self.registry, buckets=buckets)

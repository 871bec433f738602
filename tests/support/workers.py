"""A worker's parts made of stand-ins, around a real share with one real file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

from fleet_common.broker import Locks, Names, Publisher
from fleet_common.messages import ImportRequest, Manifest
from fleet_common.metrics import Metrics
from fleet_common.settings import LaneRule, Settings, WorkerSettings
from fleet_common.storage import ManifestEntry, Share, Shares, summarise
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.lending import Lender
from fleet_worker.parts import Parts
from fleet_worker.uploads import UploadPool
from support import series
from support.builders import NOW, a_request, a_source
from support.fakes import FakeLocks, FakeOmero, FakePublisher, Journal

CONTENT: Final = b"cells"
PATH: Final = "phenix1/cell.tif"
LATER: Final = NOW + timedelta(minutes=5)
RULE: Final = LaneRule(shares={"hcs": ("phenix1/",)}, users=("alice",), groups=("screening",))


@dataclass
class FakeWorker:
    """Parts, and the stand-ins behind them."""

    parts: Parts
    journal: Journal
    omero: FakeOmero
    locks: FakeLocks
    publisher: FakePublisher
    metrics: Metrics
    root: Path

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of a metric that have these labels; there must be one."""
        return series.total(self.metrics.registry, name, **labels)


def a_real_request(**changes: Any) -> ImportRequest:
    """A request for the one real file."""
    summary = summarise([ManifestEntry(PATH, len(CONTENT))])
    manifest = Manifest(files=summary.files, bytes=summary.bytes, digest=summary.digest)
    return a_request(**({"source": a_source(path=PATH, manifest=manifest)} | changes))


@contextmanager
def a_worker(root: Path) -> Iterator[FakeWorker]:
    """A worker with one lane and one file on its share, on a clock that stands still but for ticks of a second."""
    (root / PATH).parent.mkdir(parents=True)
    (root / PATH).write_bytes(CONTENT)
    journal, metrics, seconds = Journal(), Metrics(lanes=("phenix1",)), itertools.count()
    omero, locks, publisher = FakeOmero(journal), FakeLocks(journal), FakePublisher(journal)
    pool = UploadPool(2)
    parts = Parts(
        settings=Settings(worker=WorkerSettings(name="w1", lanes={"phenix1": RULE})),
        shares=Shares([Share("hcs", root)]),
        names=Names(),
        gateway=cast("Gateway", omero),
        sessions=Lender(cast("Gateway", omero).sudo, most=0),
        locks=cast("Locks", locks),
        publisher=cast("Publisher", publisher),
        uploads=pool,
        metrics=metrics,
        clock=lambda: LATER,
        monotonic=lambda: float(next(seconds)),
        pause=lambda pause_seconds: journal.write(f"pause {pause_seconds:g}"),
    )
    try:
        yield FakeWorker(parts, journal, omero, locks, publisher, metrics, root)
    finally:
        pool.close()

"""From the spool to the confirm: how many requests a second a producer brings into the broker.

Spool, sender and broker are those of ``omero-fleet submit``: each request is a file that is synced to the disk, a
message that a quorum queue has written, a file that is renamed, and an event in the event log. The requests are made
beforehand: reading and checking images is not part of it. Threading: one thread; the publisher brings its own.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fleet_bench.around import lanes
from fleet_bench.around.figures import figure
from fleet_bench.model import Case, Effort, Result, Target
from fleet_bench.stage import GROUP, LANE, SHARE, USER, Stage
from fleet_common.messages import (
    Batch,
    ImportRequest,
    Manifest,
    Options,
    Owner,
    Priority,
    Source,
    SubmittedBy,
)
from fleet_common.settings import Settings, load
from fleet_producer.sending import How, Sender
from fleet_producer.slips import Entry
from fleet_producer.spool import Spool
from fleet_stack.console import StackError

NAME: Final = "around-spool"
_TITLE: Final = "spool to confirm"
_REQUESTS: Final = 2000
_QUICK_REQUESTS: Final = 200
_QUOTA_BYTES: Final = 1_000_000_000
_HOW: Final = How(deadline_seconds=60.0, wait=False, timeout_seconds=0.0)
_WANTED: Final = Target(limit=1000, at_most=False)


def measure(stage: Stage, effort: Effort) -> Result:
    """Spool and send so many requests again and again; the first round is a warm-up."""
    fleet = stage.fleet()
    fleet.apply_topology()
    settings = load(fleet.settings(LANE))
    count = _QUICK_REQUESTS if effort.quick else _REQUESTS
    rounds = [_round(settings, count, stage.layout.state) for _ in range(effort.runs + 1)][1:]
    lanes.empty(stage)
    return Result(
        case=NAME,
        title=_TITLE,
        figures=(
            figure("requests, from the spool", "1/s", [count / sent for _, sent in rounds], _WANTED),
            figure("requests, into and from the spool", "1/s", [count / (kept + sent) for kept, sent in rounds]),
        ),
        notes=(f"{count} requests a round, each with its accepted event",),
    )


def _round(settings: Settings, count: int, state: Path) -> tuple[float, float]:
    """Seconds to keep and to send."""
    wanted = requests(count)
    with tempfile.TemporaryDirectory(dir=state) as folder:
        spool = Spool(Path(folder) / "spool", _QUOTA_BYTES)
        began = time.perf_counter()
        entries = spool.add(wanted)
        kept_at = time.perf_counter()
        _send(settings, spool, entries)
        return kept_at - began, time.perf_counter() - kept_at


def _send(settings: Settings, spool: Spool, entries: list[Entry]) -> None:
    with Sender(settings, spool, _HOW) as sender:
        sender.publish(entries)
    if sender.failures:
        raise StackError(f"{sender.failures[0]}")


def requests(count: int) -> list[ImportRequest]:
    """Requests for images that do not exist."""
    batch, now = Batch(id=uuid.uuid4(), name="benchmark"), datetime.now(UTC)
    return [
        ImportRequest(
            request_id=uuid.uuid4(),
            batch=batch,
            lane=LANE,
            priority=Priority.NORMAL,
            submitted_at=now,
            submitted_by=SubmittedBy(host="benchmark"),
            source=Source(
                share=SHARE,
                path=f"nowhere/image {number}.tif",
                format="file",
                manifest=Manifest(files=1, bytes=8192, digest="0" * 64),
            ),
            owner=Owner(user=USER, group=GROUP),
            target="Dataset:+name:Benchmark",
            options=Options(),
        )
        for number in range(count)
    ]


CASE: Final = Case(NAME, _TITLE, measure, minutes=0.7)

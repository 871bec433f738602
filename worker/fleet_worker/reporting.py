"""Tells the event log and the metrics how an attempt goes: started, progress by phase, seconds, and what it brought.

One reporter belongs to one attempt. ``add_bytes`` may be called from any thread; everything else from the attempt's
own. Progress is throttled and may be dropped; it never slows down an import.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import structlog

from fleet_common.events import Event, Kind, Phase, Progress, Result, next_seq
from fleet_common.messages import ImportRequest
from fleet_common.metrics import Metrics

_LOG = structlog.get_logger()
PROGRESS_SECONDS: Final = 1.0
"""The least time between two progress events of one request in one phase."""

Tell = Callable[[Event], None]


class Reporter:
    """Makes the events of one attempt, numbered in order by the worker's clock."""

    def __init__(  # noqa: PLR0913  time and identifiers are injected
        self,
        request: ImportRequest,
        attempt: int,
        worker: str,
        *,
        tell: Tell,
        metrics: Metrics,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self.seconds: dict[str, float] = {}
        """What each phase took so far."""
        self._request, self._attempt, self._worker = request, attempt, worker
        self._tell, self._metrics = tell, metrics
        self._clock, self._monotonic, self._new_id = clock, monotonic, new_id
        self._lock = threading.Lock()
        self._seq = 0
        self._phase = Phase.CHECK
        self._files_done = 0
        self._bytes_done = 0
        self._told_at = float("-inf")
        self._bytes, self._files = metrics.bytes.labels(request.lane), metrics.files.labels(request.lane)

    def started(self) -> None:
        """Tell that a worker has taken the request, and how long it had waited."""
        self._tell(self.event(Kind.STARTED))
        self._metrics.queue_seconds.labels(self._request.lane).observe(self._age_seconds())
        self._beat()

    def succeeded(self, kind: Kind, result: Result) -> None:
        """Count what OMERO holds now; what an earlier attempt imported was perhaps counted by it, and is not again."""
        metrics, lane = self._metrics, self._request.lane
        metrics.end_to_end_seconds.labels(lane).observe(self._age_seconds())
        metrics.attempts.observe(self._attempt)
        metrics.last_success.set(self._clock().timestamp())
        if kind is Kind.IMPORTED:
            metrics.images.labels(lane).inc(result.images)
            metrics.planes.labels(lane).inc(result.planes)
            metrics.plates.labels(lane).inc(len(result.plate_ids))

    def close(self) -> None:
        """The attempt has ended, either way: no sign of life is expected of it any more."""
        self._metrics.pulse.forget(self._request.request_id)

    def event(self, kind: Kind, **facts: Any) -> Event:
        """An event of this attempt; the next in order."""
        source = self._request.source
        with self._lock:
            now = self._clock()
            self._seq = next_seq(self._seq, now)
            return Event(
                event_id=self._new_id(),
                kind=kind,
                request_id=self._request.request_id,
                lane=self._request.lane,
                at=now,
                attempt=self._attempt,
                seq=self._seq,
                batch=self._request.batch,
                source=f"{source.share}/{source.path}",
                worker=self._worker,
                **facts,
            )

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Everything inside is this phase: it is told at once, and timed."""
        self.enter(phase)
        began = self._monotonic()
        try:
            yield
        finally:
            self.took(phase, self._monotonic() - began)

    @contextmanager
    def phase_in_turn(self, phase: Phase) -> Iterator[Callable[[], None]]:
        """As ``phase``, but from the first call of what it gives on: until then the request is queued."""
        self.enter(Phase.QUEUED)
        began: list[float] = []

        def begin() -> None:
            if not began:
                began.append(self._monotonic())
                self.enter(phase)

        try:
            yield begin
        finally:
            if began:
                self.took(phase, self._monotonic() - began[0])

    def enter(self, phase: Phase) -> None:
        """Tell that a phase begins."""
        self._phase = phase
        self._beat()
        self._progress()

    def seen_at(self, phase: Phase) -> None:
        """Tell a phase that was found out by looking again and again: at once when it is new, now and then if not."""
        if phase == self._phase:
            self.tick()
        else:
            self.enter(phase)

    def took(self, phase: Phase, seconds: float) -> None:
        """Keep what a phase took, as measured here or told by the server."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
        self._metrics.phase_seconds.labels(phase).observe(seconds)

    def linking(self) -> None:
        """Count files and bytes from now on as linked: nothing of them is sent."""
        metrics, lane = self._metrics, self._request.lane
        self._bytes, self._files = metrics.linked_bytes.labels(lane), metrics.linked_files.labels(lane)

    def add_bytes(self, count: int) -> None:
        """Count bytes that were sent, or read for links, or a whole file that is so again if negative; any thread."""
        with self._lock:
            is_first = not self._bytes_done
            self._bytes_done += count
        if is_first:
            _LOG.debug("the first bytes are with OMERO", request=str(self._request.request_id))
        # The metric counts what went over the wire or was read, so it never goes back.
        self._bytes.inc(max(0, count))
        self._beat()
        if count < 0:
            self._metrics.upload_repeats.inc()

    def add_file(self) -> None:
        """Count a file that was sent, and tell so now and then."""
        self._files_done += 1
        self._files.inc()
        self.tick()

    def alive(self) -> None:
        """Give a sign of life in a phase that counts nothing, and tell so now and then."""
        self._beat()
        self.tick()

    def tick(self) -> None:
        """Tell the progress if the last word is old enough."""
        if self._monotonic() - self._told_at >= PROGRESS_SECONDS:
            self._progress()

    def _beat(self) -> None:
        self._metrics.pulse.beat(self._request.request_id, self._phase)

    def _age_seconds(self) -> float:
        # Clocks of acquisition hosts are hours off, and a wait is never negative.
        return max(0.0, (self._clock() - self._request.submitted_at).total_seconds())

    def _progress(self) -> None:
        self._told_at = self._monotonic()
        manifest = self._request.source.manifest
        progress = Progress(
            phase=self._phase,
            files_done=self._files_done,
            files=manifest.files,
            bytes_done=self._bytes_done,
            bytes=manifest.bytes,
        )
        self._tell(self.event(Kind.PROGRESS, progress=progress))

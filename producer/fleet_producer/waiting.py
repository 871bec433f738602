"""Waits for the outcomes of what was just published, from live events: a pure fold and a progress display.

The follower is attached before anything is published, so an event can be missed only while its connection is lost: in a
gap. A producer may not read the event log, so what was missed stays unknown here. Used by the command's own thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from fleet_common.events import SUCCEEDED, Event, Fold, Status
from fleet_common.exits import Exit
from fleet_common.messages import ImportRequest

QUIET_SECONDS: Final = 600.0
"""So long after a gap a command that waits listens for requests that may have ended in it."""


@dataclass
class Outcomes:
    """What is known about the requests that are waited for."""

    wanted: frozenset[uuid.UUID]
    _folds: dict[uuid.UUID, Fold] = field(default_factory=dict)
    _open: set[uuid.UUID] = field(init=False)

    def __post_init__(self) -> None:
        # Kept beside the folds: to ask thousands of them after every event would cost the square of a batch.
        self._open = set(self.wanted)

    def add(self, event: Event) -> Status | None:
        """Take in an event; the new status of its request, or None when it is not one of ours."""
        if event.request_id not in self.wanted:
            return None
        known = self._folds.setdefault(event.request_id, Fold(event))
        known.add(event)
        if known.is_final:
            self._open.discard(event.request_id)
        else:
            self._open.add(event.request_id)
        return known.status

    @property
    def statuses(self) -> Mapping[uuid.UUID, Status]:
        """The status of every request that was heard of."""
        return {request_id: known.status for request_id, known in self._folds.items()}

    @property
    def remaining(self) -> frozenset[uuid.UUID]:
        """The requests whose outcome is not known."""
        return frozenset(self._open)

    @property
    def complete(self) -> bool:
        """Whether every outcome is known."""
        return not self._open

    def exit_code(self) -> Exit:
        """What a command that waited ends with."""
        known = self.statuses.values()
        if any(status.is_final and status.state not in SUCCEEDED for status in known):
            return Exit.DEAD
        return Exit.OK if self.complete else Exit.STILL_WAITING


def collect(events: Iterable[Event], outcomes: Outcomes) -> Iterator[Status]:
    """Yield each new status until every outcome is known or the events end."""
    for event in events:
        status = outcomes.add(event)
        if status is not None:
            yield status
        if outcomes.complete:
            return


def in_vain(
    remaining: Collection[uuid.UUID], heard_at: Mapping[uuid.UUID, float], gap_at: float, now_seconds: float
) -> bool:
    """Whether nobody should wait any longer: each request may have ended in a gap, for none was heard of since.

    A request that was heard of after the gap goes on, and its outcome will be told.

    Args:
        remaining: Requests without an outcome.
        heard_at: When each was heard of last, in seconds.
        gap_at: When the last gap ended, in seconds.
        now_seconds: The present time on the same clock.
    """
    quiet = all(heard_at.get(one, gap_at) <= gap_at for one in remaining)
    return quiet and now_seconds - gap_at >= QUIET_SECONDS


class Attention:
    """Tells a follower when to stop: never, unless it had a gap.

    Args:
        outcomes: What is waited for.
        gaps: How often the follower lost its connection.
        warn: Called at the first gap.
        monotonic: A clock, in seconds.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        gaps: Callable[[], int],
        warn: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outcomes, self._gaps, self._warn, self._monotonic = outcomes, gaps, warn, monotonic
        self._known_gaps = 0
        self._gap_at = 0.0
        self._heard_at: dict[uuid.UUID, float] = {}

    def heard(self, request_id: uuid.UUID) -> None:
        """An event of this request came."""
        self._heard_at[request_id] = self._monotonic()

    def stop(self) -> bool:
        """Whether to wait no longer; to be asked often, for a gap counts from when it is seen here."""
        gaps = self._gaps()
        if gaps > self._known_gaps:
            if not self._known_gaps:
                self._warn()
            self._known_gaps, self._gap_at = gaps, self._monotonic()
        return gaps > 0 and in_vain(self._outcomes.remaining, self._heard_at, self._gap_at, self._monotonic())


class Display:
    """Progress bars on standard error: one a request, at most ten, and a total; silent where nobody watches."""

    _MAX_BARS = 10

    def __init__(self, requests: Iterable[ImportRequest], console: Console) -> None:
        self._requests = {request.request_id: request for request in requests}
        self._bars: dict[uuid.UUID, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._total = self._progress.add_task("all", total=len(self._requests), visible=len(self._requests) > 1)
        self._done: set[uuid.UUID] = set()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, status: Status) -> None:
        """Draw the new status of one request."""
        request = self._requests[status.request_id]
        bar = self._bar(request)
        done = request.source.manifest.bytes if status.state in SUCCEEDED else _bytes_done(status)
        words = str(status.progress.phase) if status.progress else str(status.state)
        self._progress.update(bar, completed=done, description=f"{request.source.path[-40:]} {words}")
        if status.is_final and status.request_id not in self._done:
            self._done.add(status.request_id)
            self._progress.update(bar, visible=len(self._requests) == 1)
            self._progress.update(self._total, completed=len(self._done))

    def _bar(self, request: ImportRequest) -> TaskID:
        if request.request_id not in self._bars:
            shown = len(self._bars) - len(self._done) < self._MAX_BARS
            total = request.source.manifest.bytes
            self._bars[request.request_id] = self._progress.add_task(request.source.path, total=total, visible=shown)
        return self._bars[request.request_id]


def _bytes_done(status: Status) -> int:
    return status.progress.bytes_done if status.progress else 0

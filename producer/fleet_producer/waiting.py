"""Waits for the outcomes of what was just published, from live events: a pure fold and a progress display.

The follower is attached before anything is published, so no event can be missed. Used by the command's own thread.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

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


@dataclass
class Outcomes:
    """What is known about the requests that are waited for."""

    wanted: frozenset[uuid.UUID]
    _folds: dict[uuid.UUID, Fold] = field(default_factory=dict)

    def add(self, event: Event) -> Status | None:
        """Take in an event; the new status of its request, or None when it is not one of ours."""
        if event.request_id not in self.wanted:
            return None
        known = self._folds.setdefault(event.request_id, Fold(event))
        known.add(event)
        return known.status

    @property
    def statuses(self) -> Mapping[uuid.UUID, Status]:
        """The status of every request that was heard of."""
        return {request_id: known.status for request_id, known in self._folds.items()}

    @property
    def complete(self) -> bool:
        """Whether every outcome is known."""
        known = self.statuses
        return all(request_id in known and known[request_id].is_final for request_id in self.wanted)

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

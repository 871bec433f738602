"""Where all requests of the fleet are, kept up to date event by event; for the exporter and for notifications.

It holds a few numbers for each request, never its files or names, and is bounded: what ended long ago is forgotten
first. Batches keep their counts when their requests are forgotten. Threading: none of its own; one thread writes, and
whoever reads beside it needs a lock.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from fleet_common.events import Event, Kind, rank

MOST_REQUESTS: Final = 100_000
MOST_BATCHES: Final = 2_000

WAITING: Final = "waiting"
IN_WORK: Final = "in-work"
IMPORTED: Final = "imported"
DEAD: Final = "dead"
CANCELLED: Final = "cancelled"
WITHDRAWN: Final = "withdrawn"
INCOMPLETE: Final = "incomplete"
STATES: Final = (WAITING, IN_WORK, IMPORTED, DEAD, CANCELLED, WITHDRAWN, INCOMPLETE)
"""What a request can be, for people: every kind of event belongs to one."""

_STATE_OF: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.STARTED: IN_WORK,
        Kind.PROGRESS: IN_WORK,
        Kind.IMPORTED: IMPORTED,
        Kind.ALREADY_IMPORTED: IMPORTED,
        # Done, too: what it held are requests of their own, which count for themselves.
        Kind.EXPANDED: IMPORTED,
        Kind.DEAD: DEAD,
        Kind.CANCELLED: CANCELLED,
        Kind.WITHDRAWN: WITHDRAWN,
        Kind.DROPPED: WITHDRAWN,
        # Told by a producer of what it does not publish: nobody waits for it.
        Kind.INCOMPLETE: INCOMPLETE,
    }
)

Key = tuple[str, uuid.UUID]
"""Lane and id: the broker keeps a producer to its own lane, but not to its own request or batch ids."""


def state_of(kind: Kind) -> str:
    """One of :data:`STATES`; what is neither in work nor at its end waits."""
    return _STATE_OF.get(kind, WAITING)


@dataclass(slots=True)
class Tracked:
    """One request.

    Attributes:
        rank: Of the event that says where it is.
        kind: Of that event.
        since_seconds: When it was first heard of.
        batch: Key of its batch; None when no event named one.
        size: Files and bytes that it has, and how many of them were sent, as last told.
    """

    rank: tuple[Any, ...]
    kind: Kind
    since_seconds: float
    batch: Key | None = None
    size: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def state(self) -> str:
        """One of :data:`STATES`."""
        return state_of(self.kind)

    @property
    def is_open(self) -> bool:
        """Whether something is still to happen by itself."""
        return self.state in {WAITING, IN_WORK}


@dataclass(slots=True)
class Tally:
    """One batch.

    Attributes:
        lane: Of its requests.
        batch_id: Its id.
        name: As its submitter called it.
        offset: Of the first event that named it, in the event log.
        since_seconds: When that event was told.
        changed_seconds: When the last event was told.
        counts: Requests by state.
        size: Files, bytes, files sent, bytes sent.
    """

    lane: str
    batch_id: uuid.UUID
    name: str
    offset: int
    since_seconds: float
    changed_seconds: float
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    size: list[int] = field(default_factory=lambda: [0, 0, 0, 0])

    @property
    def open(self) -> int:
        """Requests without an outcome."""
        return self.counts[WAITING] + self.counts[IN_WORK]

    @property
    def requests(self) -> int:
        """All requests that were heard of."""
        return sum(self.counts.values())


class Ledger:
    """All requests that matter.

    Args:
        most_requests: Remembered at once.
        most_batches: Remembered at once.

    Attributes:
        forgotten: Requests without an outcome that had to be forgotten; anything but 0 makes counts too small.
    """

    def __init__(self, *, most_requests: int = MOST_REQUESTS, most_batches: int = MOST_BATCHES) -> None:
        self._most_requests, self._most_batches = most_requests, most_batches
        self._open: OrderedDict[Key, Tracked] = OrderedDict()
        self._ended: OrderedDict[Key, Tracked] = OrderedDict()
        self._batches: OrderedDict[Key, Tally] = OrderedDict()
        self.forgotten = 0

    def add(self, event: Event, seconds: float, offset: int = 0) -> None:
        """Take in one event; an old or repeated one changes nothing.

        Args:
            event: As it stands in the log.
            seconds: When it was told, by a clock that can be trusted; see :class:`fleet_common.logclock.LogClock`.
            offset: Its place in the log.
        """
        key = (event.lane, event.request_id)
        known = self._open.pop(key, None) or self._ended.pop(key, None)
        before = None if known is None else (known.state, known.size, known.batch)
        tracked = self._updated(known, event, seconds)
        (self._open if tracked.is_open else self._ended)[key] = tracked
        self._count(event, tracked, before, seconds, offset)
        self._forget()

    def open_requests(self) -> Iterator[tuple[str, Tracked]]:
        """Lane and facts of every request without an outcome, the one that was heard of last at the end."""
        return ((lane, tracked) for (lane, _), tracked in self._open.items())

    def batches(self) -> Iterable[Tally]:
        """All batches that are remembered, in order of their first event."""
        return self._batches.values()

    def _updated(self, known: Tracked | None, event: Event, seconds: float) -> Tracked:
        tracked = known or Tracked(rank(event), event.kind, seconds)
        if rank(event) >= tracked.rank:
            was_open = tracked.is_open
            tracked.rank, tracked.kind = rank(event), event.kind
            tracked.since_seconds = seconds if tracked.is_open and not was_open else tracked.since_seconds
            tracked.size = _size(event) or tracked.size
        if event.batch is not None:
            tracked.batch = (event.lane, event.batch.id)
        return tracked

    def _count(
        self,
        event: Event,
        tracked: Tracked,
        before: tuple[str, tuple[int, ...], Key | None] | None,
        seconds: float,
        offset: int,
    ) -> None:
        old = None if before is None or before[2] is None else self._batches.get(before[2])
        if before is not None and old is not None:
            _book(old, before[0], before[1], -1)
        if tracked.batch is None:
            return
        if tracked.batch not in self._batches:
            name = event.batch.name if event.batch else ""
            lane, batch_id = tracked.batch
            self._batches[tracked.batch] = Tally(lane, batch_id, name, offset, seconds, seconds)
        tally = self._batches[tracked.batch]
        _book(tally, tracked.state, tracked.size, +1)
        tally.changed_seconds = max(tally.changed_seconds, seconds)

    def _forget(self) -> None:
        while len(self._open) + len(self._ended) > self._most_requests:
            if self._ended:
                self._ended.popitem(last=False)
            else:
                self._open.popitem(last=False)
                self.forgotten += 1
        if len(self._batches) > self._most_batches:
            # One that is done is missed by nobody; where none is, the oldest goes.
            done = next((key for key, tally in self._batches.items() if not tally.open), None)
            self._batches.pop(done if done is not None else next(iter(self._batches)))


def _size(event: Event) -> tuple[int, int, int, int] | None:
    if event.result is not None:
        return (event.result.files, event.result.bytes, event.result.files, event.result.bytes)
    if event.progress is not None:
        told = event.progress
        return (told.files, told.bytes, min(told.files_done, told.files), min(told.bytes_done, told.bytes))
    return None


def _book(tally: Tally, state: str, size: tuple[int, ...], sign: int) -> None:
    tally.counts[state] += sign
    for index, value in enumerate(size):
        tally.size[index] += sign * value

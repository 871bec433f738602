"""The loop of a watch: visits every folder in turn, sends what the spool holds, tells how things are, and rests.

Role: the order of things and the time between them; everything else is in the modules around it. Stops at the next
pause after :meth:`Watcher.stop`. Threading: one thread calls :meth:`Watcher.run`; ``stop`` may be called from a signal
handler or another thread.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleet_common.events import Event, Kind
from fleet_common.heartbeats import Heartbeat
from fleet_common.producermetrics import ProducerMetrics
from fleet_common.signals import wait_for_signal
from fleet_common.watching import WatchSettings
from fleet_producer.completeness import State
from fleet_producer.watch.folder import Folder
from fleet_producer.watch.outbox import Outbox, oldest_seconds
from fleet_producer.watch.records import NEEDS_A_PERSON, Record
from fleet_producer.watch.resting import Pulse, Stopped

_LONGEST_PAUSE_SECONDS: Final = 5.0
"""So long at most until the spool is looked at again: a submit by hand may have left something in it."""
TOLD_NAMESPACE: Final = uuid.UUID("8d2b7a0c-5c1e-5b34-9a2e-6f0f4c9d1b27")
"""The uuid5 namespace of plates that need a person."""
STANDS_STILL_SECONDS: Final = 900.0
"""One call of the storage that takes longer is told by /healthz: otherwise nobody would see that a share hangs."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who tells.

    Attributes:
        lane: Under which news goes out.
        host: Of this machine.
    """

    lane: str
    host: str


class Watcher:
    """A watch over folders.

    Args:
        folders: What is watched.
        outbox: Sends and tells.
        settings: How often.
        identity: Who tells.
        metrics: Where all is counted.
        monotonic: A clock in seconds that nobody can set.
        clock: The present time of this host, in UTC.
        pulse: Beats while folders are visited.
        stopping: Set by :meth:`stop`.
        hear: To be told the events of this host's lane, by any thread.
    """

    def __init__(  # noqa: PLR0913  the loop is where all parts meet
        self,
        folders: Sequence[Folder],
        outbox: Outbox,
        settings: WatchSettings,
        identity: Identity,
        metrics: ProducerMetrics,
        *,
        monotonic: Callable[[], float],
        clock: Callable[[], datetime],
        pulse: Pulse,
        stopping: threading.Event,
        hear: Callable[[Event], None],
    ) -> None:
        self._folders, self._outbox, self._settings, self._identity = folders, outbox, settings, identity
        self._metrics, self._monotonic, self._clock = metrics, monotonic, clock
        self._pulse, self._stopping, self.hear = pulse, stopping, hear
        self._heartbeat_at = self._began_at = monotonic()
        pulse.meanwhile = self._meanwhile

    @property
    def records(self) -> list[Record]:
        """What is known of all plates."""
        return [record for folder in self._folders for record in folder.records]

    @property
    def troubles(self) -> dict[str, str]:
        """The folders that cannot be seen, and why."""
        return {name: why for folder in self._folders for name, why in folder.troubles.items()}

    def stands_still(self) -> str | None:
        """What is wrong when nothing was looked at for long; may be asked by any thread."""
        seconds = self._monotonic() - self._pulse.at
        return f"nothing was looked at for {seconds:.0f} s" if seconds > STANDS_STILL_SECONDS else None

    def unseen(self) -> str | None:
        """Which folders cannot be seen; may be asked by any thread."""
        return "; ".join(f"{name}: {why}" for name, why in self.troubles.items()) or None

    def stop(self) -> None:
        """End at the next pause."""
        self._stopping.set()

    def run(self) -> None:
        """Watch until stopped.

        Raises:
            StateError: The state cannot be kept.
            SpoolError: The spool cannot be read.
        """
        while not self._stopping.is_set():
            self.tick()
            self._pause()

    def run_once(self) -> None:
        """Watch until nothing is about to be complete and the spool was offered to the broker; errors as :meth:`run`.

        A folder that cannot be seen is not waited for.
        """
        self.tick()
        while not self._stopping.is_set() and any(folder.unsettled for folder in self._folders):
            self._pause()
            self.tick()

    def tick(self) -> None:
        """One round over what is due; ends early when the watch is to stop."""
        with contextlib.suppress(Stopped):
            for folder in self._folders:
                self._pulse()
                folder.visit()
            self._outbox.drain()
            self._tell_people()
            self._measure()

    def _meanwhile(self) -> None:
        self._outbox.drain()
        if self._monotonic() >= self._heartbeat_at:
            self._measure()

    def _pause(self) -> None:
        wait_for_signal(self._stopping, self._pause_seconds(), self._monotonic)

    def _pause_seconds(self) -> float:
        due = min((folder.due_at for folder in self._folders), default=self._monotonic())
        return min(max(0.0, due - self._monotonic()), _LONGEST_PAUSE_SECONDS)

    def _tell_people(self) -> None:
        for folder in self._folders:
            for record in folder.records:
                self._tell_of(folder, record)
            for record in folder.gone:
                if self._outbox.tell(Kind.WITHDRAWN, uuid.UUID(record.told), self._identity.lane, record):
                    folder.forget(record.key)

    def _tell_of(self, folder: Folder, record: Record) -> None:
        needed = record.state in NEEDS_A_PERSON
        if needed == bool(record.told):
            return
        told = uuid.UUID(record.told) if record.told else self._id_of(record)
        kind = Kind.INCOMPLETE if needed else Kind.WITHDRAWN
        if self._outbox.tell(kind, told, self._identity.lane, record):
            folder.mark(record.key, str(told) if needed else "")

    def _id_of(self, record: Record) -> uuid.UUID:
        """Under which people are told of a plate as it is now: the same when this process dies before it is noted."""
        return uuid.uuid5(TOLD_NAMESPACE, f"{self._identity.host}/{record.key}/{record.history.mark}")

    def _measure(self) -> None:
        counts = counted(self.records)
        for state, count in counts.items():
            self._metrics.plates.labels(state).set(count)
        self._metrics.parked.set(self._parked())
        self._metrics.folders_away.set(len(self.troubles))
        self._metrics.since_scan_seconds.set(self._seconds_since_scan())
        if self._monotonic() >= self._heartbeat_at:
            self._heartbeat_at = self._monotonic() + self._settings.heartbeat_seconds
            self._beat(counts)

    def _beat(self, counts: dict[State, int]) -> None:
        pending, totals = self._outbox.spool.pending(), self._outbox.spool.totals()
        heartbeat = Heartbeat(
            lane=self._identity.lane,
            host=self._identity.host,
            at=self._clock(),
            spool_requests=totals.requests,
            spool_bytes=totals.bytes,
            unconfirmed=len(pending),
            oldest_unconfirmed_seconds=oldest_seconds(pending, self._clock()),
            set_aside=totals.set_aside,
            acquisitions=counts,
            parked=self._parked(),
            folders_away=len(self.troubles),
            seconds_since_scan=self._seconds_since_scan(),
        )
        self._metrics.spool_requests.set(heartbeat.spool_requests)
        self._metrics.spool_bytes.set(heartbeat.spool_bytes)
        self._metrics.spool_unconfirmed.set(heartbeat.unconfirmed)
        self._metrics.spool_set_aside.set(heartbeat.set_aside)
        self._metrics.spool_oldest_seconds.set(heartbeat.oldest_unconfirmed_seconds)
        self._outbox.tell_heartbeat(heartbeat)

    def _parked(self) -> int:
        return sum(bool(one.next_action) for one in self.records if one.state is State.COMPLETE)

    def _seconds_since_scan(self) -> float:
        now = self._monotonic()
        return max(
            (
                now - (folder.scanned_at if folder.scanned_at is not None else self._began_at)
                for folder in self._folders
            ),
            default=0.0,
        )


def counted(records: Iterable[Record]) -> dict[State, int]:
    """How many plates are in which state; all states are there."""
    counts = dict.fromkeys(State, 0)
    for record in records:
        counts[record.state] += 1
    return counts

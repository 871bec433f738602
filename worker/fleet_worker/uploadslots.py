"""Keeps the upload slots of one worker: leases that last longer than one file.

To take a slot and give it back costs as much as a sixth of a small file's upload. So a slot is kept between two files,
and given back when nothing was sent for a second, or after its turn of ten seconds if all slots are taken: somebody may
be waiting then. Files wait in the order in which they came. While a file is sent no other slot is waited for, so the
order staged, create, upload, import cannot lock up.

Threading: upload threads wait here for at most one slot each and only ever on an event; one thread of this object, the
keeper, alone talks with the broker, so nothing that the broker does keeps an upload thread from ending. The keeper
begins with the first wait and ends in :meth:`UploadSlots.close`.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from fleet_common.broker import BrokerFailure, Locks
from fleet_common.errors import Reason, RequestError, failure
from fleet_common.metrics import Metrics
from fleet_worker.uploadturns import Kept, Ticket, Turns

_LOG = structlog.get_logger()
_KIND: Final = "upload"
_LOOK_SECONDS: Final = 0.25
"""How often a waiting upload asks whether its attempt must stop."""
_TRIES: Final = 8
"""Slots that one round asks for: a refused try closes a channel, and the broker writes a line about it in its log."""
_REST_SECONDS: Final = 60.0


class UploadSlots:
    """The upload slots that one worker holds at the moment.

    Args:
        locks: Of the consuming link.
        names: Of all upload slots of the OMERO server.
        metrics: Where slots held and waited for are counted.
        turns: How long slots are kept.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        locks: Locks,
        names: Sequence[str],
        metrics: Metrics,
        *,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._locks, self._names, self._clock = locks, tuple(names), clock
        self._turns = turns or Turns()
        self._gauge = metrics.slots_held.labels(_KIND)
        self._waits, self._waiting = metrics.slot_seconds.labels(_KIND), metrics.slots_waiting.labels(_KIND)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._queue: deque[Ticket] = deque()
        self._idle: list[Kept] = []
        self._over: list[Kept] = []
        self._gone: list[Kept] = []
        self._held: set[str] = set()
        self._stand_back_until = clock()
        self._closed = False
        self._keeper: threading.Thread | None = None

    @contextmanager
    def one(self, check: Callable[[], None]) -> Iterator[None]:
        """Hold a slot while one file is sent; wait for it where there is none.

        Args:
            check: Raises when the attempt must stop; asked four times a second.

        Raises:
            RequestError: What ``check`` raises; ``draining`` when the slots are closed; ``omero-busy`` when none was
                free in time; ``lock-blocked`` when a queue with the name of a slot is none.
        """
        ticket = self._enter()
        kept = ticket.kept or self._stand(ticket, check)
        try:
            yield
        finally:
            self._file_is_done(kept)

    def stop_waiting(self) -> None:
        """Refuse every file that waits or comes; files in flight keep their slots."""
        with self._lock:
            self._closed = True
            while self._queue:
                self._queue.popleft().refuse(Reason.DRAINING, "the worker stops: no file is begun any more")
        self._wake.set()

    def close(self, deadline_seconds: float = 5.0) -> None:
        """Give all slots back; call it when no file is in flight. A broker that is not there frees them by itself."""
        self.stop_waiting()
        if self._keeper is not None:
            self._keeper.join(deadline_seconds)

    # --- on the threads that upload ---

    def _enter(self) -> Ticket:
        """Take a slot that is kept, or stand in the queue."""
        ticket = Ticket()
        with self._lock:
            if self._closed:
                raise failure(Reason.DRAINING, "the worker stops: no file is begun any more")
            ticket.kept = self._reuse()
            if ticket.kept is None:
                self._queue.append(ticket)
                self._start()
        return ticket

    def _stand(self, ticket: Ticket, check: Callable[[], None]) -> Kept:
        with self._waiting.track_inprogress():
            return self._wait(ticket, check)

    def _wait(self, ticket: Ticket, check: Callable[[], None]) -> Kept:
        began = self._clock()
        self._wake.set()
        try:
            while not ticket.ready.wait(_LOOK_SECONDS):
                check()
                if self._clock() - began > self._turns.wait_seconds:
                    ticket.refuse(Reason.OMERO_BUSY, f"no upload slot was free for {self._turns.wait_seconds:g} s")
            self._waits.observe(self._clock() - began)
            return ticket.slot()
        except BaseException:
            self._withdraw(ticket)
            raise

    def _file_is_done(self, kept: Kept) -> None:
        with self._lock:
            if self._clock() - kept.since >= self._turns.turn_seconds:
                self._put_away(self._over, kept)
            else:
                self._offer(kept)

    def _withdraw(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket in self._queue:
                self._queue.remove(ticket)
            if ticket.kept is not None:
                self._offer(ticket.kept)

    # --- with the lock held ---

    def _reuse(self) -> Kept | None:
        while self._idle:
            kept = self._idle.pop()
            if not kept.lease.lost:
                return kept
            self._put_away(self._gone, kept)
        return None

    def _start(self) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="upload-slots", daemon=True)
            self._keeper.start()

    def _offer(self, kept: Kept) -> None:
        """Hand a slot to the file that has waited longest, or keep it for the next, or have it given back."""
        if self._closed or kept.lease.lost:
            self._put_away(self._gone, kept)
        elif self._queue:
            self._queue.popleft().give(kept)
        else:
            kept.idle_since = self._clock()
            self._idle.append(kept)

    def _put_away(self, where: list[Kept], kept: Kept) -> None:
        where.append(kept)
        self._wake.set()

    # --- on the keeper's thread ---

    def _keep(self) -> None:
        while True:
            self._wake.clear()
            pause_seconds = self._guarded_step()
            if self._done():
                return
            self._wake.wait(pause_seconds)

    def _guarded_step(self) -> float:
        try:
            return self._step()
        except Exception:
            # The boundary of the thread: without a keeper every upload of this worker would stand still.
            _LOG.exception("the keeper of the upload slots failed; it goes on")
            return self._turns.retry_seconds

    def _done(self) -> bool:
        with self._lock:
            return self._closed and not self._held

    def _step(self) -> float:
        """Do all that there is to do now; returns the seconds until there may be more."""
        self._give_back_what_is_not_used()
        self._end_turns()
        self._take_what_is_wanted()
        with self._lock:
            if self._queue:
                return self._turns.retry_seconds * random.uniform(0.5, 1.5)  # noqa: S311  spreads load
            return self._turns.idle_seconds / 2 if self._held else _REST_SECONDS

    def _give_back_what_is_not_used(self) -> None:
        with self._lock:
            idle_before = self._clock() - self._turns.idle_seconds
            unused = [kept for kept in self._idle if self._closed or kept.idle_since <= idle_before or kept.lease.lost]
            self._idle = [kept for kept in self._idle if kept not in unused]
            gone, self._gone = [*self._gone, *unused], []
        for kept in gone:
            self._give_back(kept)

    def _end_turns(self) -> None:
        with self._lock:
            over, self._over = self._over, []
        for kept in over:
            if self._closed or kept.lease.lost:
                self._give_back(kept)
            else:
                self._end_turn(kept)

    def _end_turn(self, kept: Kept) -> None:
        """Change a slot for a free one; where none is free somebody may wait: give it back and stand back."""
        try:
            found = self._ask()
        except RequestError:
            # Nothing is known of the other slots; one that is given back in an outage of the broker comes back only
            # after all who held some have theirs again.
            self._begin_turn(kept)
            return
        self._give_back(kept)
        if found is None:
            self._stand_back_until = self._clock() + self._turns.stand_back_seconds
        else:
            self._begin_turn(found)

    def _take_what_is_wanted(self) -> None:
        while self._wanted():
            try:
                found = self._ask()
            except BrokerFailure:
                return
            except RequestError as error:
                self._refuse_all(error)
                return
            if found is None:
                return
            self._begin_turn(found)

    def _wanted(self) -> bool:
        with self._lock:
            return bool(self._queue) and self._clock() >= self._stand_back_until

    def _refuse_all(self, error: RequestError) -> None:
        with self._lock:
            while self._queue:
                self._queue.popleft().refuse(error.reason, str(error))

    def _ask(self) -> Kept | None:
        others = [name for name in self._names if name not in self._held]
        lease = self._locks.try_one_of(random.sample(others, min(_TRIES, len(others))))
        if lease is None:
            return None
        self._held.add(lease.name)
        self._gauge.set(len(self._held))
        return Kept(lease, self._clock(), self._clock())

    def _begin_turn(self, kept: Kept) -> None:
        with self._lock:
            kept.since = self._clock()
            self._offer(kept)

    def _give_back(self, kept: Kept) -> None:
        kept.lease.release()
        self._held.discard(kept.lease.name)
        self._gauge.set(len(self._held))

"""Four workers, each behind proxies of its own, which are started again when they end, as Kubernetes does.

Threading: one thread watches; faults come from threads of their own. A worker is one thread's at a time: whoever wants
something of it takes its lock, and goes away when somebody else has it.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from fleet_stack.fleet import Fleet, WorkerProcess, record_workers
from fleet_stack.layout import Layout
from soak.schedule import WORKERS
from support.proxy import Proxy

_LOOK_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 150.0
"""More than the grace time of the soak's workers and what their settling may take."""
_KILL_SECONDS: Final = 30.0

_GOOD_ENDS: Final = frozenset({0, -signal.SIGTERM, -signal.SIGKILL})
"""A second SIGTERM may meet a Python that has given its signal handlers back already."""


class BusyError(Exception):
    """Somebody else is at this victim now."""


@dataclass
class Seat:
    """One worker, whichever process it is at the moment.

    Attributes:
        broker: Between it and RabbitMQ.
        omero: Between it and OMERO.
        process: The present one, or the last.
        lock: Held by whoever changes the process.
        mishaps: What it did that nobody asked for.
    """

    index: int
    port: int
    fleet: Fleet
    broker: Proxy
    omero: Proxy
    process: WorkerProcess
    lock: threading.Lock = field(default_factory=threading.Lock)
    mishaps: list[str] = field(default_factory=list)

    @property
    def lives(self) -> bool:
        """Whether a process is there, perhaps a paused one."""
        return self.process.process.poll() is None

    def start(self) -> None:
        """Start it anew."""
        self.process = self.fleet.start_worker(f"soak-{self.index}", self.port)

    @contextlib.contextmanager
    def mine(self) -> Iterator[None]:
        """Have it alone.

        Raises:
            BusyError: Somebody else has.
        """
        if not self.lock.acquire(blocking=False):
            raise BusyError(f"worker {self.index}")
        try:
            yield
        finally:
            self.lock.release()


class Crew:
    """All workers of a soak, from the first start until :meth:`close`."""

    def __init__(self, layout: Layout, fleet: Fleet) -> None:
        self._layout = layout
        self._closed = threading.Event()
        self.seats = tuple(self._seat(fleet, index) for index in range(WORKERS))
        self._record()
        self._thread = threading.Thread(target=self._watch, name="crew")
        self._thread.start()

    @property
    def mishaps(self) -> list[str]:
        """What workers did that nobody asked for."""
        return [mishap for seat in self.seats for mishap in seat.mishaps]

    def ready(self) -> int:
        """How many say that they can take requests."""
        return sum(seat.lives and seat.process.ready() for seat in self.seats)

    def kill(self, index: int, pause: threading.Event, seconds: float) -> None:
        """Kill one with SIGKILL, and start it again after a while."""
        seat = self.seats[index]
        with seat.mine():
            seat.process.process.kill()
            seat.process.process.wait(_KILL_SECONDS)
            pause.wait(seconds)
            self._start(seat)

    def pause(self, index: int, pause: threading.Event, seconds: float) -> None:
        """Stop one with SIGSTOP, and let it go on after a while as if nothing had been."""
        seat = self.seats[index]
        with seat.mine():
            seat.process.process.send_signal(signal.SIGSTOP)
            pause.wait(seconds)
            seat.process.process.send_signal(signal.SIGCONT)

    def stop(self, index: int, second_after_seconds: float) -> None:
        """Tell one to stop with SIGTERM, perhaps a second time, and start it again when it has ended."""
        seat = self.seats[index]
        with seat.mine():
            self._tell_to_stop(seat)
            if second_after_seconds and not _ended(seat.process.process, second_after_seconds):
                self._tell_to_stop(seat)
            self._await_end(seat)
            self._start(seat)

    def heal(self) -> None:
        """Have all of them up; waits for faults that still have one."""
        for seat in self.seats:
            with seat.lock:
                if seat.lives:
                    seat.process.process.send_signal(signal.SIGCONT)
                else:
                    self._start(seat)

    def close(self) -> None:
        """End all in an orderly way, side by side, and their proxies."""
        self._closed.set()
        self._thread.join()
        for seat in self.seats:
            self._tell_to_stop(seat)
        for seat in self.seats:
            self._await_end(seat)
            seat.broker.close()
            seat.omero.close()

    def _seat(self, fleet: Fleet, index: int) -> Seat:
        broker, omero = Proxy(fleet.stack.broker.amqp_port), Proxy(fleet.stack.omero.ssl_port)
        there = replace(
            fleet.stack,
            broker=replace(fleet.stack.broker, amqp_port=broker.port),
            omero=replace(fleet.stack.omero, ssl_port=omero.port),
        )
        own = replace(fleet, stack=there, folder=fleet.folder / f"worker-{index}")
        own.folder.mkdir(parents=True, exist_ok=True)
        port = self._layout.ports.spare[index]
        return Seat(index, port, own, broker, omero, own.start_worker(f"soak-{index}", port))

    def _start(self, seat: Seat) -> None:
        seat.start()
        self._record()

    def _record(self) -> None:
        # So that `python -m fleet_stack wipe` ends them, whatever becomes of this program.
        record_workers(self._layout, [seat.process for seat in self.seats])

    def _tell_to_stop(self, seat: Seat) -> None:
        if seat.lives:
            seat.process.process.send_signal(signal.SIGTERM)

    def _await_end(self, seat: Seat) -> None:
        process = seat.process.process
        if not _ended(process, _STOP_SECONDS):
            seat.mishaps.append(f"worker {seat.index} did not stop within {_STOP_SECONDS:.0f} s and was killed")
            process.kill()
            process.wait(_KILL_SECONDS)
        elif process.returncode not in _GOOD_ENDS:
            seat.mishaps.append(f"worker {seat.index} was told to stop and ended with {process.returncode}")

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            for seat in self.seats:
                with contextlib.suppress(BusyError), seat.mine():
                    self._replace_ended(seat)

    def _replace_ended(self, seat: Seat) -> None:
        if not seat.lives:
            seat.mishaps.append(f"worker {seat.index} ended by itself with {seat.process.process.returncode}")
            self._start(seat)


def _ended(process: subprocess.Popen[bytes], deadline_seconds: float) -> bool:
    try:
        process.wait(deadline_seconds)
    except subprocess.TimeoutExpired:
        return False
    return True

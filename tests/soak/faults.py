"""Carries the schedule out, each fault in a thread of its own, and heals what is still broken at the end.

Threading: one thread keeps the time, one per fault breaks and mends. A server is broken by one fault at a time; one
that finds its victim busy is left out, and the log says so.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fleet_stack.omero.part import OmeroPart
from fleet_stack.rabbitmq.part import RabbitPart
from soak.brokereyes import BrokerEyes
from soak.crew import BusyError, Crew
from soak.schedule import Fault, Kind
from support.proxy import Proxy

_BLITZ_SECONDS: Final = 300.0
_MEND_SECONDS: Final = 400.0
_MEMORY: Final = "set_vm_memory_high_watermark"


@dataclass(frozen=True, slots=True)
class Carried:
    """A fault that was carried out, or why it was not; times in seconds since 1970."""

    fault: Fault
    began_at: float
    ended_at: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Victims:
    """Everything that can be broken."""

    crew: Crew
    producers: Sequence[Proxy]
    rabbitmq: RabbitPart
    omero: OmeroPart
    eyes: BrokerEyes


class Breaker:
    """Breaks by a schedule.

    Args:
        victims: What to break.
        tell: Hears every fault as it begins and ends.
    """

    def __init__(self, victims: Victims, tell: Callable[[str], None]) -> None:
        self._victims = victims
        self._tell = tell
        self._over = threading.Event()
        self._rabbitmq = threading.Lock()
        self._omero = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.carried: list[Carried] = []

    def run(self, schedule: Sequence[Fault], began: float, duration_seconds: float) -> None:
        """Carry all out, and return when the time is over.

        Args:
            schedule: In order of time.
            began: The start of the soak on the monotonic clock.
            duration_seconds: When faults end.
        """
        for fault in schedule:
            if self._over.wait(max(0.0, began + fault.at_seconds - time.monotonic())):
                return
            thread = threading.Thread(target=self._carry_out, args=(fault,), name=f"fault {fault.number}")
            self._threads.append(thread)
            thread.start()
        self._over.wait(max(0.0, began + duration_seconds - time.monotonic()))

    def end(self) -> None:
        """End all faults, and wait until each has mended what it broke."""
        self._over.set()
        for thread in self._threads:
            thread.join(_MEND_SECONDS)

    def heal(self) -> None:
        """End all faults and have everything up again.

        Raises:
            StackError: A server does not come up.
        """
        self.end()
        self._victims.rabbitmq.start()
        self._victims.omero.start()
        self._victims.crew.heal()

    def _carry_out(self, fault: Fault) -> None:
        began, problem = time.time(), ""
        self._tell(f"begins  {fault}")
        try:
            _ACTS[fault.kind](self, fault)
        except BusyError as error:
            problem = f"left out: {error} is busy"
        # A fault that could not be carried out is a line in the log, and no end of the soak: thread boundary.
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        self.carried.append(Carried(fault, began, time.time(), problem))
        self._tell(f"{problem or 'ended'}  {fault}")

    def _kill_worker(self, fault: Fault) -> None:
        self._victims.crew.kill(fault.index, self._over, fault.seconds)

    def _pause_worker(self, fault: Fault) -> None:
        self._victims.crew.pause(fault.index, self._over, fault.seconds)

    def _stop_worker(self, fault: Fault) -> None:
        self._victims.crew.stop(fault.index, fault.seconds)

    def _cut(self, proxy: Proxy, seconds: float) -> None:
        proxy.refuse()
        proxy.cut()
        self._over.wait(seconds)
        proxy.refuse(refuse=False)

    def _half_open(self, proxy: Proxy, seconds: float) -> None:
        proxy.half_open()
        self._over.wait(seconds)
        proxy.end_half_open()

    def _silence(self, proxy: Proxy, seconds: float) -> None:
        proxy.hold()
        self._over.wait(seconds)
        proxy.release()

    def _close_connection(self, fault: Fault) -> None:
        with _alone(self._rabbitmq, "RabbitMQ"):
            names = self._victims.eyes.connections("worker")
            if names:
                self._victims.eyes.close_connection(names[int(fault.draw * len(names))])

    def _alarm(self, fault: Fault) -> None:
        with _alone(self._rabbitmq, "RabbitMQ"):
            self._victims.rabbitmq.ctl(_MEMORY, "0.00001")
            self._over.wait(fault.seconds)
            self._victims.rabbitmq.ctl(_MEMORY, "absolute", "1GiB")

    def _restart_rabbitmq(self, _: Fault) -> None:
        with _alone(self._rabbitmq, "RabbitMQ"):
            self._victims.rabbitmq.stop()
            self._victims.rabbitmq.start()

    def _kill_rabbitmq(self, _: Fault) -> None:
        with _alone(self._rabbitmq, "RabbitMQ"):
            self._victims.rabbitmq.kill()
            self._victims.rabbitmq.start()

    def _kill_blitz(self, _: Fault) -> None:
        with _alone(self._omero, "OMERO"):
            self._victims.omero.server.kill_blitz()
            self._victims.omero.server.wait_until_ready(_BLITZ_SECONDS)

    def _restart_omero(self, _: Fault) -> None:
        with _alone(self._omero, "OMERO"):
            self._victims.omero.server.stop()
            self._victims.omero.server.start()

    def _broker_link(self, fault: Fault) -> Proxy:
        return self._victims.crew.seats[fault.index].broker

    def _omero_link(self, fault: Fault) -> Proxy:
        return self._victims.crew.seats[fault.index].omero

    def _producer(self, fault: Fault) -> Proxy:
        return self._victims.producers[fault.index]


Act = Callable[[Breaker, Fault], None]


def _on(link: Callable[[Breaker, Fault], Proxy], act: Callable[[Breaker, Proxy, float], None]) -> Act:
    return lambda breaker, fault: act(breaker, link(breaker, fault), fault.seconds)


_ACTS: Final[Mapping[Kind, Act]] = {
    Kind.WORKER_KILLED: Breaker._kill_worker,
    Kind.WORKER_PAUSED: Breaker._pause_worker,
    Kind.WORKER_STOPPED: Breaker._stop_worker,
    Kind.BROKER_CUT: _on(Breaker._broker_link, Breaker._cut),
    Kind.BROKER_HALF_OPEN: _on(Breaker._broker_link, Breaker._half_open),
    Kind.BROKER_SILENT: _on(Breaker._broker_link, Breaker._silence),
    Kind.OMERO_CUT: _on(Breaker._omero_link, Breaker._cut),
    Kind.OMERO_HALF_OPEN: _on(Breaker._omero_link, Breaker._half_open),
    Kind.OMERO_SILENT: _on(Breaker._omero_link, Breaker._silence),
    Kind.PRODUCER_CUT: _on(Breaker._producer, Breaker._cut),
    Kind.CONNECTION_CLOSED: Breaker._close_connection,
    Kind.MEMORY_ALARM: Breaker._alarm,
    Kind.RABBITMQ_RESTARTED: Breaker._restart_rabbitmq,
    Kind.RABBITMQ_KILLED: Breaker._kill_rabbitmq,
    Kind.BLITZ_KILLED: Breaker._kill_blitz,
    Kind.OMERO_RESTARTED: Breaker._restart_omero,
}


@contextlib.contextmanager
def _alone(lock: threading.Lock, what: str) -> Iterator[None]:
    if not lock.acquire(blocking=False):
        raise BusyError(what)
    try:
        yield
    finally:
        lock.release()

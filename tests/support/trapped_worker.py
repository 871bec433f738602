"""The real worker in a process of its own, with traps at exact points: where it is killed, stopped, or held.

``python tests/support/trapped_worker.py --marks FOLDER --trap POINT:ACTION[:N[:TIMES]] ... -- --config F work ...``

Nothing in the fleet knows of traps: this program wraps methods at the edges, most of them calls of OMERO's protocol,
before it runs ``omero-fleet`` with what stands behind ``--``. A trap springs when its point is reached for the Nth time
in this process, and at most TIMES times over all processes with the same marks (0: always), so that a worker that is
started again runs free. When one springs, the file ``POINT.TIMES`` appears in the marks.

Actions: ``kill`` (SIGKILL), ``stop`` (SIGSTOP), ``hold`` (wait until the file ``POINT.go`` appears), ``tell`` (only the
mark), ``count`` (a mark every time from the Nth on), ``corrupt`` (only at ``chunk``: one byte of what is sent is
another).

Threading: a wrapped method springs its trap in the thread that calls it; points inside a call have a timer's thread.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

HOLD_SECONDS: Final = 180.0
"""Nobody is held for ever: a test that died must not leave a worker behind."""
_LOOK_SECONDS: Final = 0.05
_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
ACTIONS: Final = frozenset({*_SIGNALS, "hold", "tell", "count", "corrupt"})


@dataclass(slots=True)
class Trap:
    """What happens at one point.

    Attributes:
        point: A key of :data:`POINTS`.
        action: One of :data:`ACTIONS`.
        nth: Springs when the point is reached for this time in this process.
        times: At most so often over all processes; 0 for always.
        marks: Where the processes tell that it sprang.
    """

    point: str
    action: str
    nth: int
    times: int
    marks: Path
    _reached: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def parse(cls, text: str, marks: Path) -> Trap:
        """Read ``POINT:ACTION[:N[:TIMES]]``.

        Raises:
            SystemExit: There is no such point or action.
        """
        point, action, *numbers = text.split(":")
        usual = (1, 0) if action == "count" else (1, 1)
        if point not in POINTS or action not in ACTIONS:
            raise SystemExit(f"no trap {text!r}: points are {', '.join(POINTS)}; actions {', '.join(sorted(ACTIONS))}")
        nth, times = [*map(int, numbers), *usual[len(numbers) :]]
        return cls(point, action, nth, times, marks)

    def reached(self) -> bool:
        """The worker is there; whether the trap sprang, for those who outlive it."""
        with self._lock:
            self._reached += 1
            due = self._reached >= self.nth if self.action == "count" else self._reached == self.nth
            springs = due and self._claim()
        if springs:
            self._act()
        return springs

    def _claim(self) -> bool:
        number = 0
        while not self.times or number < self.times:
            number += 1
            try:
                (self.marks / f"{self.point}.{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False

    def _act(self) -> None:
        if self.action in _SIGNALS:
            os.kill(os.getpid(), _SIGNALS[self.action])
        elif self.action == "hold":
            give_up_at = time.monotonic() + HOLD_SECONDS
            while not (self.marks / f"{self.point}.go").exists() and time.monotonic() < give_up_at:
                time.sleep(_LOOK_SECONDS)


Spring = Callable[[], bool]
When = Callable[..., bool]


def _always(*_: Any, **__: Any) -> bool:
    return True


def _before(owner: Any, name: str, spring: Spring, when: When = _always) -> None:
    """Spring before a method does anything; ``when`` sees its arguments."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if when(*arguments, **named):
            spring()
        return inner(*arguments, **named)

    setattr(owner, name, wrapped)


def _after(owner: Any, name: str, spring: Spring, when: When = _always) -> None:
    """Spring when a method has returned; ``when`` sees what it returned, and its arguments."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        result = inner(*arguments, **named)
        if when(result, *arguments, **named):
            spring()
        return result

    setattr(owner, name, wrapped)


def _inside(owner: Any, name: str, spring: Spring, delay_seconds: float, when: When = _always) -> None:
    """Spring a moment after a method was called, whether or not it has returned by then."""

    def begin() -> bool:
        threading.Timer(delay_seconds, spring).start()
        return True

    _before(owner, name, begin, when)


# --- where the points are ---


def _import_process(method: Callable[..., None], name: str, *more: Any) -> Callable[[Spring], None]:
    def install(spring: Spring) -> None:
        import omero.all  # noqa: PLC0415  only a worker with this trap loads it here

        owner = omero.grid.ManagedRepositoryPrx if name == "importFileset" else omero.grid.ImportProcessPrx
        method(owner, name, spring, *more)

    return install


def _uploading(spring: Spring) -> None:
    from fleet_worker.omero.upload import RegisteredImport  # noqa: PLC0415  as above

    _after(RegisteredImport, "upload", spring)


def _poison(spring: Spring) -> None:
    from fleet_worker.omero.upload import RegisteredImport  # noqa: PLC0415  as above

    _after(RegisteredImport, "upload", spring, lambda _, registered, *__, **___: "deadly" in registered._spec.source)


def _chunk(spring: Spring) -> None:
    import omero.all  # noqa: PLC0415  as above

    inner = omero.api.RawFileStorePrx.begin_write

    @functools.wraps(inner)
    def wrapped(self: Any, data: bytes, *arguments: Any, **named: Any) -> Any:
        sent = bytes([data[0] ^ 0xFF]) + data[1:] if spring() else data
        return inner(self, sent, *arguments, **named)

    omero.api.RawFileStorePrx.begin_write = wrapped


def _deleting(spring: Spring) -> None:
    import omero.all  # noqa: PLC0415  as above

    def of_a_fileset(_: Any, request: Any, *__: Any) -> bool:
        return isinstance(request, omero.cmd.Delete2) and "Fileset" in request.targetObjects

    _inside(omero.cmd.SessionPrx, "submit", spring, 0.05, of_a_fileset)


def _server_step(number: int) -> Callable[[Spring], None]:
    def install(spring: Spring) -> None:
        from fleet_worker.omero.running import RunningImport  # noqa: PLC0415  as above

        inner = RunningImport.wait

        @functools.wraps(inner)
        def wrapped(self: Any, *, on_step: Callable[[Any], None], **named: Any) -> Any:
            def stepped(step: Any) -> None:
                on_step(step)
                if step.done == number:
                    spring()

            return inner(self, on_step=stepped, **named)

        RunningImport.wait = wrapped  # type: ignore[method-assign]  # that is what a trap is

    return install


def _container_made(spring: Spring) -> None:
    from fleet_worker.omero.session import OwnerSession  # noqa: PLC0415  as above

    _after(OwnerSession, "resolve_target", spring, lambda *_, creates, **__: creates)


def _announced(spring: Spring) -> None:
    from fleet_worker.omero.session import OwnerSession  # noqa: PLC0415  as above

    _after(OwnerSession, "announce", spring)


def _imported_not_annotated(spring: Spring) -> None:
    from fleet_worker.omero.session import OwnerSession  # noqa: PLC0415  as above

    _before(OwnerSession, "annotate", spring)


def _adopting(spring: Spring) -> None:
    from fleet_worker.adoption import Adoption  # noqa: PLC0415  as above

    _inside(Adoption, "wait", spring, 0.3)


def _taken(spring: Spring) -> None:
    from fleet_common.broker import LaneSource  # noqa: PLC0415  as above

    _after(LaneSource, "take", spring, lambda delivery, *_: delivery is not None)


def _told(spring: Spring) -> None:
    from fleet_common.broker import Publisher  # noqa: PLC0415  as above

    def success(_: Any, __: Any, event: Any, **___: Any) -> bool:
        return event.kind in {"imported", "already-imported"}

    _after(Publisher, "publish_event", spring, success)


def _copied(is_this_copy: Callable[[Any], bool]) -> Callable[[Spring], None]:
    def install(spring: Spring) -> None:
        from fleet_common.broker import Publisher  # noqa: PLC0415  as above

        _after(Publisher, "publish", spring, lambda _, __, message, **___: is_this_copy(message))

    return install


def _is_hand_back(message: Any) -> bool:
    """Whether a copy costs no attempt and was made because the worker ends; it goes by a tier or straight back."""
    return bool(message.exchange == "import.requests" or message.headers.get("retry-reason") == "draining")


def _is_retry(message: Any) -> bool:
    return bool(message.exchange.startswith("import.retry.")) and not _is_hand_back(message)


POINTS: Final[Mapping[str, Callable[[Spring], None]]] = MappingProxyType(
    {
        "taken": _taken,
        "container-made": _container_made,
        "inside-register": _import_process(_inside, "importFileset", 0.05),
        "registered": _import_process(_after, "importFileset"),
        "chunk": _chunk,
        "uploading": _uploading,
        "poison": _poison,
        "uploaded": _import_process(_before, "verifyUpload"),
        "announced": _announced,
        "inside-verify-upload": _import_process(_inside, "verifyUpload", 0.03),
        "server-started": _import_process(_after, "verifyUpload"),
        **{f"server-step-{number}": _server_step(number) for number in range(1, 6)},
        "imported-not-annotated": _imported_not_annotated,
        "told-not-acked": _told,
        "deleting": _deleting,
        "adopting": _adopting,
        "retry-copied": _copied(_is_retry),
        "dead-copied": _copied(lambda message: message.exchange == "import.dead"),
        "handed-back-copied": _copied(_is_hand_back),
    }
)
"""Every point, with what installs a trap there; what moves in the fleet is followed here and nowhere else."""


def _be_impatient(call_seconds: int) -> None:
    from fleet_worker.omero import connection  # noqa: PLC0415  as above

    connection.CALL_TIMEOUT_MS = call_seconds * 1000  # type: ignore[misc]  # the fleet has no setting for it


def main(arguments: list[str]) -> None:
    """Set the traps and run the worker until its end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--marks", type=Path, required=True)
    parser.add_argument("--trap", action="append", default=[])
    parser.add_argument("--call-seconds", type=int, help="how long a call of OMERO may stay unanswered")
    parser.add_argument("fleet", nargs="+")
    chosen = parser.parse_args(arguments)
    for text in chosen.trap:
        trap = Trap.parse(text, chosen.marks)
        POINTS[trap.point](trap.reached)
    if chosen.call_seconds is not None:
        _be_impatient(chosen.call_seconds)
    from fleet_common.cli import main as omero_fleet  # noqa: PLC0415  after the traps are set

    omero_fleet(chosen.fleet)


if __name__ == "__main__":
    # Beside this program lie modules of the tests, which are none of the worker's.
    sys.path.pop(0)
    main(sys.argv[1:])

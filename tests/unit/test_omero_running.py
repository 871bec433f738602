"""A running import that is told to end, with a handle that answers as a server does or as none should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import Ice
import omero
import omero.cmd
import pytest

from fleet_common.errors import Reason, RequestError, Transient
from fleet_worker.omero import running as module
from fleet_worker.omero.facts import ImportOutcome
from fleet_worker.omero.running import RunningCount, RunningImport


class Handle:
    """The server's side: what it says to ``cancel``, and its answer afterwards."""

    def __init__(self, says: object = None, answer: Any = None, statuses: Sequence[Status] = ()) -> None:
        self._says = says
        self._answer = answer
        self._statuses = iter(statuses)
        self.asked = 0
        self.closed = False

    def cancel(self) -> bool:
        """As ``omero.cmd.HandlePrx``."""
        self.asked += 1
        if isinstance(self._says, Exception):
            raise self._says
        return bool(self._says)

    def getResponse(self) -> Any:  # noqa: N802  the name is omero-py's
        """As ``omero.cmd.HandlePrx``."""
        return self._answer

    def getStatus(self) -> Status:  # noqa: N802  the name is omero-py's
        """As ``omero.cmd.HandlePrx``; the last look finds an answer where there is one more."""
        status = next(self._statuses)
        self._answer = status.answer
        return status

    def close(self) -> None:
        """As ``omero.cmd.HandlePrx``."""
        self.closed = True


@dataclass(frozen=True)
class Status:
    """As ``omero.cmd.Status``, and the answer that is there afterwards."""

    stopTime: int = 0  # noqa: N815  OMERO's name
    currentStep: int = 0  # noqa: N815  OMERO's name
    flags: tuple[str, ...] = ()
    answer: Any = None


ENDED = Status(stopTime=1, flags=("FAILURE", "CANCELLED"))


class Deaf:
    """A listener that no notification reaches."""

    def __init__(self, *_: object) -> None: ...

    def close(self, _block: bool) -> None:  # noqa: FBT001  omero-py's signature
        """Nothing to do."""

    def getResponse(self) -> None:  # noqa: N802  the name is omero-py's
        """Nothing arrived."""


@pytest.fixture
def counted() -> RunningCount:
    """One import is at work."""
    count = RunningCount()
    count.begin()
    return count


def importing(handle: Handle, counted: RunningCount, monkeypatch: pytest.MonkeyPatch) -> RunningImport:
    """An import behind that handle."""

    class Connection:
        client = None

    monkeypatch.setattr(module, "_Listener", Deaf)
    return RunningImport(Connection(), handle, 7, "hcs/a", counted)  # type: ignore[arg-type]  # no call gets there


def test_an_import_that_was_ended_is_finished(counted: RunningCount, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing may run any more, so its session may be closed."""
    running = importing(Handle(says=True, answer=omero.cmd.ERR()), counted, monkeypatch)
    assert running.cancel()
    assert running.finished
    assert not counted.any()


def test_an_import_that_ends_soon_is_not_finished_yet(counted: RunningCount, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server agreed while it had not begun: it answers seconds later, and may touch the fileset until then."""
    running = importing(Handle(says=True), counted, monkeypatch)
    assert running.cancel()
    assert not running.finished
    assert counted.any()


@pytest.mark.parametrize("says", [False, omero.LockTimeout(message="timeout")])
def test_an_import_that_cannot_be_ended_goes_on(
    counted: RunningCount, monkeypatch: pytest.MonkeyPatch, says: object
) -> None:
    """The server is in the middle of a step: no error, and still running."""
    running = importing(Handle(says), counted, monkeypatch)
    assert not running.cancel()
    assert not running.finished
    assert counted.any()


def wait(running: RunningImport) -> ImportOutcome:
    return running.wait(deadline_seconds=60, on_step=lambda _: None, stop=lambda: None)


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes between two polls."""
    monkeypatch.setattr(module, "POLL_SECONDS", -1.0)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.001)


@pytest.mark.usefixtures("_hasty")
def test_an_import_that_ended_without_an_answer_is_given_up(
    counted: RunningCount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a server that failed while it failed, then nobody waits for days; nothing runs, so the debris may go."""
    handle = Handle(statuses=[Status(currentStep=1), ENDED, ENDED])
    running = importing(handle, counted, monkeypatch)
    with pytest.raises(Transient, match=r"ended in the server \(FAILURE, CANCELLED\) without an answer") as caught:
        wait(running)
    assert caught.value.reason is Reason.IMPORT_INTERRUPTED
    assert (running.finished, counted.any(), handle.closed) == (True, False, True)


@pytest.mark.usefixtures("_hasty")
def test_an_answer_that_comes_a_moment_after_the_end_is_taken(
    counted: RunningCount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server notes the end before it has its answer ready."""
    refused = omero.cmd.ERR(name="error-on-init", parameters={"message": "loci.formats.UnknownFormatException"})
    handle = Handle(statuses=[replace(ENDED, answer=refused)])
    monkeypatch.setattr(RunningImport, "log_tail", lambda _: "")
    with pytest.raises(RequestError) as caught:
        wait(importing(handle, counted, monkeypatch))
    assert caught.value.reason is Reason.UNKNOWN_FORMAT


def test_a_lost_connection_is_told(counted: RunningCount, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether the server heard."""
    running = importing(Handle(Ice.ConnectionLostException()), counted, monkeypatch)
    with pytest.raises(Transient) as caught:
        running.cancel()
    assert caught.value.reason is Reason.OMERO_UNAVAILABLE
    assert counted.any()


def test_a_finished_import_is_not_asked_to_end(counted: RunningCount, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handle may be closed already."""
    handle = Handle(says=True, answer=omero.cmd.OK())
    running = importing(handle, counted, monkeypatch)
    running.cancel()
    assert not running.cancel()
    assert handle.asked == 1

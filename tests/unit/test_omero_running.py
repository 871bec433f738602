"""A running import that is told to end, with a handle that answers as a server does or as none should."""

from __future__ import annotations

from typing import Any

import Ice
import omero
import omero.cmd
import pytest

from fleet_common.errors import Reason, Transient
from fleet_worker.omero import running as module
from fleet_worker.omero.running import RunningCount, RunningImport


class Handle:
    """The server's side: what it says to ``cancel``, and its answer afterwards."""

    def __init__(self, says: object, answer: Any = None) -> None:
        self._says = says
        self._answer = answer
        self.asked = 0

    def cancel(self) -> bool:
        """As ``omero.cmd.HandlePrx``."""
        self.asked += 1
        if isinstance(self._says, Exception):
            raise self._says
        return bool(self._says)

    def getResponse(self) -> Any:  # noqa: N802  the name is omero-py's
        """As ``omero.cmd.HandlePrx``."""
        return self._answer


class Deaf:
    """A listener that no notification reaches."""

    def __init__(self, *_: object) -> None: ...

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

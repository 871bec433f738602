"""Keeps one child over many questions, and starts another when it hangs, dies or lies: a file costs only itself.

Shared by all threads of a worker; one asks at a time, the others wait, and are asked meanwhile whether to go on. The
child is started with the first question and ended by :meth:`Scanner.close`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from fleet_common.errors import Reason, failure
from fleet_worker.scan import answers
from fleet_worker.scan.answers import Answer, Nonsense, Refusal, Refused
from fleet_worker.scan.child import Child, ChildDied, ChildHung
from fleet_worker.scan.launching import Launch

_LOG = structlog.get_logger()
_TURN_SECONDS: Final = 1.0


class Scanner:
    """Asks Bio-Formats about files.

    Args:
        launch: How to start a child.
        monotonic: A clock, in seconds.
    """

    def __init__(self, launch: Launch, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._launch, self._monotonic = launch, monotonic
        self._turn = threading.Lock()
        self._child: Child | None = None
        self._asked = 0
        self.version = ""
        """Of Bio-Formats; empty until a child has said it."""

    def start(self, stop: Callable[[], None]) -> str:
        """Start the child unless it runs, and return the version of Bio-Formats.

        Raises:
            RequestError: As :meth:`ask`.
        """
        with self._my_turn(stop):
            if self._child is None:
                self._start(stop)
            return self.version

    def ask(self, path: str, stop: Callable[[], None]) -> Answer:
        """What Bio-Formats makes of a file.

        Args:
            path: Absolute, as the child sees it.
            stop: Called once a second; raises when the attempt must end.

        Raises:
            RequestError: As ``stop`` raises; or ``internal-error`` where no child can be started, which is no fault
                of the file.
        """
        with self._my_turn(stop):
            child = self._child or self._start(stop)
            self._asked += 1
            try:
                child.tell(answers.question(self._asked, path))
                return answers.answer(child.hear(self._launch.limits.answer_seconds, stop), self._asked)
            except ChildHung as error:
                return self._lost(Refused(Refusal.HUNG, str(error)))
            except (ChildDied, Nonsense) as error:
                return self._lost(Refused(Refusal.DIED, str(error)))
            except BaseException:
                # Its answer would be taken for that to the next question.
                self._end()
                raise

    def close(self) -> None:
        """End the child; waits for the question that is being asked. May be called again."""
        with self._turn:
            self._end()

    @contextmanager
    def _my_turn(self, stop: Callable[[], None]) -> Iterator[None]:
        while not self._turn.acquire(timeout=_TURN_SECONDS):
            stop()
        try:
            yield
        finally:
            self._turn.release()

    def _start(self, stop: Callable[[], None]) -> Child:
        try:
            child = self._child = Child.start(self._launch, self._monotonic)
            self.version = answers.ready(child.hear(self._launch.limits.start_seconds, stop))
        except (ChildHung, ChildDied, Nonsense) as error:
            self._end()
            command = " ".join(self._launch.command)
            raise failure(Reason.INTERNAL_ERROR, f"Bio-Formats cannot be asked: {error} ({command})") from error
        except BaseException:
            self._end()
            raise
        _LOG.info("scan started", bioformats=self.version, process=child.pid)
        return child

    def _lost(self, refused: Refused) -> Refused:
        _LOG.warning("the scan's child was given up", why=refused.why, text=refused.text)
        self._end()
        return refused

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

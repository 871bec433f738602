"""One child process: a question goes in as a line, the answer comes out as a line, before a deadline.

Used by one thread at a time, which owns it from :meth:`Child.start` to :meth:`Child.end`. The child ends by itself when
its standard input is closed, so it does not outlive a worker that was killed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, Self, cast

from fleet_common.errors import FleetError
from fleet_worker.scan.answers import MAX_LINE_BYTES, Nonsense
from fleet_worker.scan.launching import Launch, environment

_LOOK_SECONDS: Final = 1.0
_CHUNK_BYTES: Final = 1 << 16
_BURY_SECONDS: Final = 10.0


class ChildHung(FleetError):
    """No line came by the deadline."""


class ChildDied(FleetError):
    """The child has ended, or could not be started."""


class Child:
    """A running child.

    Args:
        process: With pipes for standard input and output.
        folder: Of its temporary files; removed in the end.
        monotonic: A clock, in seconds.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        folder: tempfile.TemporaryDirectory[str],
        monotonic: Callable[[], float],
    ) -> None:
        self._process, self._folder, self._monotonic = process, folder, monotonic
        self._in, self._out = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        self._rest = bytearray()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)

    @classmethod
    def start(cls, launch: Launch, monotonic: Callable[[], float]) -> Self:
        """Start a child in a session of its own, so that it can be killed with all that it starts.

        Raises:
            ChildDied: The program is not there.
        """
        folder = tempfile.TemporaryDirectory(prefix="omero-fleet-scan-", ignore_cleanup_errors=True)
        try:
            process = subprocess.Popen(
                launch.arguments(Path(folder.name)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(environment(Path(folder.name))),
                cwd=folder.name,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            folder.cleanup()
            raise ChildDied(f"it cannot be started: {error}") from error
        return cls(process, folder, monotonic)

    @property
    def pid(self) -> int:
        """Its process id, which is that of its process group, too."""
        return self._process.pid

    def tell(self, line: bytes) -> None:
        """Send a line. It fits the pipe, which is empty: nobody asks twice before an answer.

        Raises:
            ChildDied: Nobody reads any more.
        """
        try:
            self._in.write(line)
        except OSError as error:
            raise ChildDied(self._how()) from error

    def hear(self, seconds: float, stop: Callable[[], None]) -> bytes:
        """The next line, without its end.

        Args:
            seconds: To wait at most.
            stop: Called once a second; may raise, and the child must be ended then.

        Raises:
            ChildHung: It did not come.
            ChildDied: The child has ended.
            Nonsense: The line is longer than any answer.
        """
        deadline = self._monotonic() + seconds
        while (end := self._rest.find(b"\n")) < 0:
            if len(self._rest) > MAX_LINE_BYTES:
                raise Nonsense(f"its line is longer than {MAX_LINE_BYTES:,} bytes")
            stop()
            left = deadline - self._monotonic()
            if left <= 0:
                raise ChildHung(f"no answer within {seconds:g} s")
            if self._selector.select(min(left, _LOOK_SECONDS)):
                self._read()
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return line

    def end(self) -> None:
        """Kill it with everything that it started, and remove its folder; never raises, may be called again."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # A process in uninterruptible sleep, on a share that is away, dies when the share comes back.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_BURY_SECONDS)
        self._selector.close()
        self._in.close()
        self._out.close()
        self._folder.cleanup()

    def _read(self) -> None:
        data = os.read(self._out.fileno(), _CHUNK_BYTES)
        if not data:
            raise ChildDied(self._how())
        self._rest += data

    def _how(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_LOOK_SECONDS)
            return f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"
        return "it closed its output"

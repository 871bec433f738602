"""What the stack says to its terminal, and how it runs other programs.

Role: progress lines, quiet commands, and the one exception that ends a stack command. Progress goes to stderr, so that
a command with ``--json`` keeps stdout for its answer. Neighbours: everything in this package. Threading: any thread may
call anything here; lines of steps that run side by side never mix.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TAIL_CHARACTERS: Final = 4000


class StackError(Exception):
    """Something the stack needs is not there or did not work; the text says what to do next."""


class Progress:
    """Prints steps as ``  what ... 1.2 s``, also when several run at once."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._open_line: object = None

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print one step with its duration in seconds, or ``failed``."""
        mark = object()
        began = time.monotonic()
        self._begin(mark, what)
        try:
            yield
        except BaseException:
            self._finish(mark, what, "failed")
            raise
        self._finish(mark, what, f"{time.monotonic() - began:.1f} s")

    def note(self, text: str) -> None:
        """Print a line of its own."""
        with self._lock:
            self._write(f"{self._break_line()}  {text}\n")

    def _begin(self, mark: object, what: str) -> None:
        with self._lock:
            self._write(f"{self._break_line()}  {what} ...")
            self._open_line = mark

    def _finish(self, mark: object, what: str, result: str) -> None:
        with self._lock:
            ours = self._open_line is mark
            head = "" if ours else f"{self._break_line()}  {what} ..."
            self._open_line = None
            self._write(f"{head} {result}\n")

    def _break_line(self) -> str:
        broken = "\n" if self._open_line is not None else ""
        self._open_line = None
        return broken

    def _write(self, text: str) -> None:
        # Looked up each time: pytest and click exchange sys.stderr.
        stream = self._stream or sys.stderr
        stream.write(text)
        stream.flush()


_PROGRESS: Final = Progress()


def step(what: str) -> contextlib.AbstractContextManager[None]:
    """Print a step of the running command with its duration in seconds, or ``failed``."""
    return _PROGRESS.step(what)


def note(text: str) -> None:
    """Print one line of explanation between steps."""
    _PROGRESS.note(text)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float = 600,
) -> str:
    """Run a program quietly and return its output (stdout and stderr together).

    Nothing secret may be an argument: arguments are shown in errors and to every local user.

    Raises:
        StackError: it is not installed, ended with another code than 0, or took too long; with the tail of its output.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env=env,
            cwd=cwd,
            timeout=timeout_seconds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise StackError(f"cannot run {words[0]}: {error.strerror} ({error.filename})") from error
    except subprocess.TimeoutExpired as error:
        raise StackError(f"`{' '.join(words)}` took longer than {timeout_seconds:.0f} s") from error
    if done.returncode:
        raise StackError(f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stdout[-TAIL_CHARACTERS:].strip()}")
    return done.stdout

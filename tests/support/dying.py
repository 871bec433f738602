"""What programs share that kill themselves before every step on the disk in turn, to show what each death leaves.

They fork, and must have one thread only. The steps are calls of :mod:`os` that change a disk; a call of ``os.write`` is
two, for it may also be cut in the middle. What a process says before it dies goes into a journal, by the system's own
calls, which are no step.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_OPEN, _WRITE, _CLOSE = os.open, os.write, os.close


def say(folder: Path, words: str) -> None:
    """Write into the journal."""
    descriptor = _OPEN(folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _WRITE(descriptor, f"{words}\n".encode())
    _CLOSE(descriptor)


def said(folder: Path) -> list[str]:
    """What the process had said until it was killed."""
    journal = folder / "journal"
    return journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []


def kill_at(step: int, calls: Iterable[str]) -> Callable[[], None]:
    """Have this process kill itself before its n-th step; the function that counts one.

    Args:
        step: From 0.
        calls: Functions of :mod:`os`; ``os.write`` is always one of them.
    """
    counter = itertools.count()

    def count() -> None:
        if next(counter) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            count()
            return call(*arguments, **named)

        return stepping

    def write(descriptor: int, content: memoryview) -> int:
        count()
        half = _WRITE(descriptor, content[: len(content) // 2])
        count()
        return half + _WRITE(descriptor, content[half:])

    for name in calls:
        setattr(os, name, counted(getattr(os, name)))
    os.write = write  # type: ignore[assignment]  # the same call, counted
    return count


def die_at_every_step(root: Path, live: Callable[[Path, int], None]) -> None:
    """One forked process for each step, until one comes to its end.

    Args:
        root: Gets a folder for each.
        live: Called in the process, with its folder and the number of the step that it is to die before.
    """
    for step in itertools.count():
        folder = root / f"{step:04}"
        folder.mkdir(parents=True)
        child = os.fork()
        if child == 0:
            live(folder, step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, step
            return


def run(program: Path, *arguments: str, seconds: float) -> None:
    """Run such a program with the same code as in this process, from wherever that came.

    Raises:
        AssertionError: It failed; with what it said.
    """
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(program.parents[1]), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr

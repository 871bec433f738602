"""Kills a watch with SIGKILL at every step on the disk in turn: of its spool, of its state, and of the broker.

Run as a program, for it forks and must have one thread only: ``killed_watch.py FOLDER``. Each step has a folder with
spool and state as the killed process left them, and a ``journal`` of what the broker had got until then. Steps are the
calls of :mod:`os` that change a disk, a call of ``os.write`` being two; every statement of SQLite, its commits too;
and the publishing, before and after the broker has the message.
"""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from fleet_common.broker import Outgoing
from fleet_common.watching import PlateRule
from fleet_producer.watch import store
from support.watching import Bench, FakeBroker

STEPS: Final = ("fsync", "replace", "unlink", "mkdir")
IMAGES: Final = ("a.img", "b.img")
RULE: Final = PlateRule(user="alice", group="screening", target="Dataset:+name:All")
_OPEN, _WRITE, _CLOSE = os.open, os.write, os.close


def say(folder: Path, words: str) -> None:
    """Write into the journal, with the system's own calls, which count as no step."""
    descriptor = _OPEN(folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _WRITE(descriptor, f"{words}\n".encode())
    _CLOSE(descriptor)


def said(folder: Path) -> list[str]:
    """What the broker had got."""
    journal = folder / "journal"
    return journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []


class Journal(FakeBroker):
    """A broker whose memory outlives the process."""

    def __init__(self, folder: Path, step: Callable[[], None]) -> None:
        super().__init__()
        self._folder, self._step = folder, step

    def publish(self, message: Outgoing, *, deadline_seconds: float) -> None:
        """Have the message, and die before or after."""
        self._step()
        before = len(self.messages)
        super().publish(message, deadline_seconds=deadline_seconds)
        if len(self.messages) > before:
            say(self._folder, str(message.message_id))
        self._step()


def bench(folder: Path, step: Callable[[], None] = lambda: None) -> Bench:
    """A host with two images on its share."""
    made = Bench(folder, broker=Journal(folder, step), rules=(RULE,))
    made.watched |= {"files": ("*.img",), "settle_seconds": 10.0}
    for name in IMAGES:
        (made.top / name).write_bytes(name.encode() * 100)
    return made


def kill_at(number: int) -> Callable[[], None]:
    """Have this process kill itself before its n-th step; the function that counts one."""
    counter = itertools.count()

    def count() -> None:
        if next(counter) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            count()
            return call(*arguments, **named)

        return stepping

    def opened(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            count()
        return _OPEN(path, flags, *arguments, **named)

    def write(descriptor: int, content: memoryview) -> int:
        count()
        half = _WRITE(descriptor, content[: len(content) // 2])
        count()
        return half + _WRITE(descriptor, content[half:])

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    os.open, os.write = opened, write  # type: ignore[assignment]  # the same calls, counted
    _count_statements(count)
    return count


def _count_statements(count: Callable[[], None]) -> None:
    connect = sqlite3.connect

    def traced(*arguments: Any, **named: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = connect(*arguments, **named)
        database.set_trace_callback(lambda _statement: count())
        return database

    store._open.__defaults__ = (traced,)


def run_until_killed(root: Path) -> None:
    """One forked process for each step, until one comes to its end."""
    for number in itertools.count():
        folder = root / f"{number:04}"
        folder.mkdir(parents=True)
        child = os.fork()
        if child == 0:
            made = bench(folder, kill_at(number))
            made.watch(60)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, number
            return


def places(root: Path) -> Iterator[Path]:
    """One folder for each step."""
    return iter(sorted(folder for folder in root.iterdir() if folder.is_dir()))


if __name__ == "__main__":
    run_until_killed(Path(sys.argv[1]))

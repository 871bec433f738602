"""Kills a watch with SIGKILL at every step on the disk in turn: of its spool, of its state, and of the broker.

Run as a program, for it forks and must have one thread only: ``killed_watch.py FOLDER``. Each step has a folder with
spool and state as the killed process left them, and a ``journal`` of what the broker had got until then. Steps are the
calls of :mod:`os` that change a disk, see :mod:`dying`; every statement of SQLite, its commits too; and the publishing,
before and after the broker has the message.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from fleet_common.broker import Outgoing
from fleet_common.watching import PlateRule
from fleet_producer.watch import store
from support.dying import die_at_every_step, kill_at, say
from support.watching import Bench, FakeBroker

STEPS: Final = ("fsync", "replace", "unlink", "mkdir")
IMAGES: Final = ("a.img", "b.img")
RULE: Final = PlateRule(user="alice", group="screening", target="Dataset:+name:All")
_OPEN = os.open


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


def die_at(step: int) -> Callable[[], None]:
    """Have this process kill itself before its n-th step; the function that counts one.

    Only files that are made count, for looks at a share open many; statements of SQLite do, too.
    """
    count = kill_at(step, STEPS)

    def opened(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            count()
        return _OPEN(path, flags, *arguments, **named)

    os.open = opened
    _count_statements(count)
    return count


def _count_statements(count: Callable[[], None]) -> None:
    connect = sqlite3.connect

    def traced(*arguments: Any, **named: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = connect(*arguments, **named)
        database.set_trace_callback(lambda _statement: count())
        return database

    store._open.__defaults__ = (traced,)


def live(folder: Path, step: int) -> None:
    """Watch until all is published, or until the death."""
    bench(folder, die_at(step)).watch(60)


def places(root: Path) -> Iterator[Path]:
    """One folder for each step."""
    return iter(sorted(folder for folder in root.iterdir() if folder.is_dir()))


if __name__ == "__main__":
    die_at_every_step(Path(sys.argv[1]), live)

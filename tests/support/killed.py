"""Kills a process that works on a spool with SIGKILL, at every step on the disk in turn.

Run as a program, for it forks and must have one thread only: ``killed.py FOLDER STORY``. Each step has a folder
with the ``spool`` as the killed process left it, and a ``journal`` of what it had said until then; see :mod:`dying`.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet_common.messages import ImportRequest
from fleet_producer.spool import Spool
from support.builders import a_request, a_source
from support.dying import die_at_every_step, kill_at, said, say

STEPS: Final = ("open", "fsync", "close", "replace", "unlink", "mkdir")
QUOTA_BYTES: Final = 1_000_000
CROWD: Final = 4
EACH: Final = 15


def requests(count: int = 3, batch: int = 0) -> list[ImportRequest]:
    """Some requests, always the same; those of another batch have the same ids and other bodies."""
    return [
        a_request(
            request_id=_uuid(number), source=a_source(path=f"plate{number}.tif"), target=f"Dataset:id:{batch + 1}"
        )
        for number in range(count)
    ]


def _uuid(number: int) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, str(number))


@dataclass(frozen=True, slots=True)
class Place:
    """Where one killed process works.

    Attributes:
        folder: Its own.
    """

    folder: Path

    def spool(self) -> Spool:
        """The spool in it."""
        return Spool(self.folder / "state" / "spool", QUOTA_BYTES)

    def say(self, words: str) -> None:
        """Write into the journal."""
        say(self.folder, words)

    def said(self) -> list[str]:
        """What the process had said until it was killed."""
        return said(self.folder)


def submit(place: Place) -> None:
    """A command's whole way: keep all, publish each, note each confirm, hear each outcome."""
    spool = place.spool()
    entries = spool.add(requests())
    place.say("kept")
    for entry in entries:
        place.say(f"published {entry.request_id}")
        spool.mark_sent(entry)
    for entry in entries:
        place.say(f"outcome {entry.request_id}")
        spool.remove(entry)


def replace(place: Place) -> None:
    """The same requests submitted once more, for another target."""
    place.spool().add(requests(batch=1))
    place.say("kept")


def damage(place: Place) -> None:
    """Look through a spool with one file that was cut."""
    place.spool().entries()
    place.say("looked")


STORIES: Final[dict[str, Callable[[Place], None]]] = {"submit": submit, "replace": replace, "damage": damage}


def prepare(place: Place, story: str) -> None:
    """What is there before the story begins."""
    if story == "replace":
        place.spool().add(requests())
    if story == "damage":
        first = place.spool().add(requests())[0]
        os.truncate(place.spool().folder / first.slip.name, len(first.body) // 2)


def run_until_killed(root: Path, story: str) -> None:
    """Tell the story once for each step."""

    def live(folder: Path, step: int) -> None:
        place = Place(folder)
        prepare(place, story)
        kill_at(step, STEPS)
        STORIES[story](place)

    die_at_every_step(root, live)


def crowd(root: Path) -> None:
    """Several processes at once in one spool that does not exist yet: each keeps some of its own and one of all."""
    place = Place(root)
    reading, writing = os.pipe()
    children = []
    for number in range(CROWD):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # ends when the parent closes the other end: all begin together
            _take_part(place, number)
            os._exit(0)
        children.append(child)
    os.close(writing)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * CROWD


def _take_part(place: Place, number: int) -> None:
    spool = place.spool()
    for index in range(EACH):
        (mine,) = spool.add([a_request(request_id=_uuid(1000 + number * EACH + index))])
        spool.add([a_request(request_id=_uuid(0), target=f"Dataset:id:{number * EACH + index + 1}")])
        spool.entries()
        spool.mark_sent(mine)


def main() -> None:
    """Run one story."""
    root, story = Path(sys.argv[1]), sys.argv[2]
    if story == "crowd":
        crowd(root)
    else:
        run_until_killed(root, story)


def places(root: Path) -> Iterator[Place]:
    """One for each step."""
    return (Place(folder) for folder in sorted(root.iterdir()))


if __name__ == "__main__":
    main()

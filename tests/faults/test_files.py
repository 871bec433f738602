"""Files that change, grow or vanish while their plate is sent, and one that is damaged on its way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from support.scenes import HALF, SLOWLY, Ending, Ground, Played, Row, Scene, check

HELD: Final = f"uploading:hold:{HALF}"


def changed(file: Path) -> None:
    """Another byte at its end, the same size."""
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def grew(file: Path) -> None:
    """A byte more than its manifest says."""
    file.write_bytes(file.read_bytes() + b"\0")


def vanished(file: Path) -> None:
    """It is not there any more."""
    file.unlink()


def while_uploading(harm: Callable[[Path], None], stage: Scene, *, heals: bool, **expected: object) -> list[Ending]:
    """Given a plate that is half sent, when a file that is still to be sent is harmed, for a while or for good."""
    plate = stage.plate()
    file = plate.files[-1]
    content = file.read_bytes()
    stage.trapped(*SLOWLY, traps=[HELD])
    request_id = stage.send(plate)
    stage.sprung("uploading")
    harm(file)
    stage.release("uploading")
    if heals:
        stage.story(request_id, lambda story: "retried" in story.kinds)
        file.write_bytes(content)
    return [stage.ending(request_id, plate, **expected)]  # type: ignore[arg-type]  # fields of an ending


def damaged(stage: Scene) -> list[Ending]:
    """Given an upload, when one byte of one file arrives as another, then that file is sent again, and no other."""
    plate = stage.plate()
    stage.trapped(*SLOWLY, traps=["chunk:corrupt:3", "uploading:count"])
    request_id = stage.send(plate)
    ending = stage.ending(request_id, plate)
    assert stage.count("uploading") == len(plate.files) + 1
    assert ending.story.kinds == ["started", "imported"]
    return [ending]


AGAIN: Final = frozenset({2, 3})
ROWS: Final = [
    Row("changed", partial(while_uploading, changed, heals=False), 15),
    Row("grew", partial(while_uploading, grew, heals=True, attempts=AGAIN), 25),
    Row("vanished", partial(while_uploading, vanished, heals=True, attempts=AGAIN), 25),
    Row(
        "grew-for-good",
        partial(
            while_uploading, grew, heals=False, state="dead", reason="attempts-used-up", attempts=frozenset(range(7))
        ),
        50,
    ),
    Row("damaged", damaged, 15),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_omero_holds_what_the_files_are_or_nothing(played: Played, ground: Ground, row: Row) -> None:
    """A file that another size than its manifest says is never sent; one that is damaged on its way is sent again."""
    for ending in played(row):
        check(ground, ending)

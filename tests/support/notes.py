"""A request that was given up, and what people are told of it."""

from __future__ import annotations

from typing import Any

from fleet_common.errors import Reason
from fleet_common.events import Event, Kind
from fleet_common.notify.notes import Note, of_event
from support.builders import BATCH, an_event


def dead(**changes: Any) -> Event:
    """The usual request, given up."""
    facts: dict[str, Any] = {
        "seq": 5,
        "batch": BATCH,
        "source": "hcs/phenix1/P1/Images/Index.idx.xml",
        "reason": Reason.FILE_EMPTY,
        "message": "P1/r01c01.tiff is empty",
        "next_action": "Copy the file again.",
    }
    return an_event(Kind.DEAD, **(facts | changes))


def a_note(offset: int = 0, **changes: Any) -> Note:
    """That the usual request is dead."""
    note = of_event(dead(**changes), offset)
    assert note is not None
    return note

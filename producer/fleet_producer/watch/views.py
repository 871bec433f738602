"""What a look at a plate has shown, and how it is told: data and pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from fleet_common.errors import Permanent, Reason, RequestError
from fleet_common.plates import Plate
from fleet_producer.completeness import History, Look, Mark


@dataclass(frozen=True, slots=True)
class View:
    """What a look has shown, with all that a request needs.

    Attributes:
        look: For the engine.
        plate: What its format read; None while there is none.
        sizes: Size in bytes of each of its files that is there.
        digest: Of files, planes and sizes: tells whether two readings are the same.
        failed: Whether nothing could be seen at all; then the look only says why.
    """

    look: Look
    plate: Plate | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""
    failed: bool = False

    @classmethod
    def of_nothing(cls, why: str, advice: str = "") -> Self:
        """The view after a look that failed."""
        return cls(Look(Mark(), unreadable=why, advice=advice), failed=True)

    def after(self, history: History, elapsed_seconds: float) -> History:
        """The history with this look in it; see :meth:`History.after`."""
        return history.missed(elapsed_seconds) if self.failed else history.after(self.look, elapsed_seconds)


def digest_of(plate: Plate, sizes: Mapping[str, int]) -> str:
    """The SHA-256 of all that an index says and a request needs, and of the sizes of the files that are there."""
    expected = plate.expected
    of_plate = (plate.entry, plate.files, plate.planes, plate.identity, plate.end, plate.operator, plate.started_at)
    of_index = (
        (expected.name, expected.barcode, sorted(expected.wells), expected.sizes, sorted(expected.other_sizes.items()))
        if expected
        else ()
    )
    told = repr((of_plate, of_index, sorted(sizes.items())))
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


def advice_of(error: Exception) -> str:
    """What a person should do when a plate cannot be read; empty where the error does not know."""
    if isinstance(error, Permanent) and error.reason is not Reason.UNKNOWN_FORMAT:
        return error.rule.next_action
    return ""


def unreadable(error: RequestError) -> str:
    """Why there is no list of files yet, as people are told of it."""
    if error.reason is Reason.UNKNOWN_FORMAT:
        return "no index of a known plate format is there yet"
    return f"{error.reason}: {error}"

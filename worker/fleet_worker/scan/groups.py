"""Groups of files as Bio-Formats sees them, as plates that the fleet can import: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleet_common.plates import Plate
from fleet_common.plates.single import SingleFile
from fleet_common.storage import check_relative
from fleet_worker.scan.answers import Scanned

GROUP: Final = "bio-formats"
"""The format of requests whose files only Bio-Formats can list: the worker that imports them asks it again."""


def plate_of(entry: str, scanned: Scanned) -> Plate:
    """A group as a plate; a file by itself is what ``submit`` of that file makes of it.

    Args:
        entry: The file that was asked about, in the share.
        scanned: With files as paths in the share.

    Raises:
        Permanent: ``unsafe-path`` for a file that is not in the share.
    """
    files = tuple(str(check_relative(file)) for file in scanned.files if file != entry)
    if not files and not scanned.is_plate:
        return Plate(format=SingleFile.name, entry=entry, reader="", files=(entry,), images=scanned.sizes)
    return Plate(
        format=GROUP,
        entry=entry,
        reader=scanned.reader,
        files=(entry, *files),
        has_wells=scanned.is_plate,
        images=scanned.sizes,
    )


def largest(groups: Sequence[Plate]) -> list[Plate]:
    """The groups without those that are part of a larger one: a file may be asked about before the set that has it."""
    sets = [frozenset(group.files) for group in groups]
    return [group for group, own in zip(groups, sets, strict=True) if not any(own < other for other in sets)]

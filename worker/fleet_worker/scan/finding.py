"""What is to import below a folder: plates of known formats first, and what Bio-Formats makes of everything else.

Plate formats win because they know what must be there; below the folder of a plate nothing else is looked for. Reads
through :class:`fleet_common.plates.Reader`, asks through a function; used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, RequestError
from fleet_common.names import printable
from fleet_common.plates import Plate, Reader, detect
from fleet_common.plates.single import SingleFile
from fleet_worker.scan.answers import Answer, Refusal, Refused
from fleet_worker.scan.groups import largest, plate_of

Ask = Callable[[str], Answer]
"""What Bio-Formats makes of a file, by its path in the share."""

_ENDS_THE_SCAN: Final = frozenset({Reason.SHARE_UNAVAILABLE})
_IGNORED: Final = (".", "~$")
"""How hidden files begin, and those that office programs leave while they are open."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that may be worth an import and gets none.

    Attributes:
        path: In the share.
        why: For people.
    """

    path: str
    why: str

    def __str__(self) -> str:
        """For people."""
        return f"{printable(self.path)}: {self.why}"


@dataclass(slots=True)
class Findings:
    """What was found.

    Attributes:
        plates: What can be imported, each as one request.
        left_out: What cannot, and why.
        unknown: How many files no reader takes: notes, tables, thumbnails.
    """

    plates: list[Plate] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    unknown: int = 0


def find(folder: str, paths: Iterable[str], reader: Reader, ask: Ask) -> Findings:
    """Look through a folder.

    Args:
        folder: In the share.
        paths: Every file below it, in the order in which they are asked about; it decides which file of a group is
            its entry, so it must always be the same.
        reader: Of the share.
        ask: Bio-Formats.

    Raises:
        RequestError: The share is gone, or as ``ask`` raises.
    """
    listed = [PurePosixPath(path) for path in paths]
    found = Findings()
    claimed = _plates_of_folders(PurePosixPath(folder), listed, reader, found)
    rest = [path for path in listed if claimed.isdisjoint(path.parents) and not path.name.startswith(_IGNORED)]
    _plates_of_files(rest, reader, found)
    known = {file for plate in found.plates for file in plate.files}
    _groups([str(path) for path in rest if str(path) not in known], ask, found)
    return found


def _plates_of_folders(
    top: PurePosixPath, listed: Iterable[PurePosixPath], reader: Reader, found: Findings
) -> set[PurePosixPath]:
    """The folders that are plates, or broken ones; what is below them is theirs."""
    claimed: set[PurePosixPath] = set()
    for folder in _folders(top, listed):
        if claimed.isdisjoint(folder.parents) and _take(folder, reader, found):
            claimed.add(folder)
    return claimed


def _folders(top: PurePosixPath, listed: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    inner = {parent for path in listed for parent in path.parents if parent == top or top in parent.parents}
    return sorted(inner, key=lambda folder: folder.parts)


def _plates_of_files(listed: Iterable[PurePosixPath], reader: Reader, found: Findings) -> None:
    used = {file for plate in found.plates for file in plate.files}
    for path in listed:
        if str(path) not in used and _take(path, reader, found):
            used.update(found.plates[-1].files if found.plates else ())


def _take(path: PurePosixPath, reader: Reader, found: Findings) -> bool:
    """Whether the path is a plate of a known format, be it a broken one."""
    try:
        plate_format, entry = detect(path, reader)
        if plate_format.name == SingleFile.name:
            return False
        plate = plate_format.read(entry, reader)
    except RequestError as error:
        if error.reason in _ENDS_THE_SCAN:
            raise
        if error.reason is not Reason.UNKNOWN_FORMAT:
            found.left_out.append(LeftOut(str(path), f"{error.reason}: {error}"))
        return error.reason is not Reason.UNKNOWN_FORMAT
    if plate.files not in {one.files for one in found.plates}:
        found.plates.append(plate)
    return True


def _groups(paths: Iterable[str], ask: Ask, found: Findings) -> None:
    groups: list[Plate] = []
    used: set[str] = set()
    for path, answer in _answers(paths, ask, used):
        if isinstance(answer, Refused):
            _refuse(path, answer, found)
            continue
        try:
            group = plate_of(path, answer)
        except RequestError as error:
            found.left_out.append(LeftOut(path, f"{error.reason}: {error}"))
            continue
        groups.append(group)
        used.update(group.files)
    found.plates.extend(largest(groups))


def _answers(paths: Iterable[str], ask: Ask, used: set[str]) -> Iterator[tuple[str, Answer]]:
    """Asks about everything that is no part of a group found before."""
    for path in paths:
        if path not in used:
            yield path, ask(path)


def _refuse(path: str, refused: Refused, found: Findings) -> None:
    if refused.why is Refusal.UNKNOWN:
        found.unknown += 1
    else:
        found.left_out.append(LeftOut(path, f"{refused.why.sentence}: {refused.text}"))

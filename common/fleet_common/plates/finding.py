"""What formats share when they look for the entry of a plate: names by their ending, first bytes, one of several.

Does no I/O but through the reader that it is given; no state, no threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.model import Reader


def ends(name: str, endings: Sequence[str]) -> bool:
    """Whether a name has one of the endings, in capitals or not; a hidden file has none."""
    return name.lower().endswith(tuple(endings)) and not name.startswith(".")


def named(names: Iterable[str], *endings: str) -> list[str]:
    """The names that have one of the endings, sorted."""
    return sorted(name for name in names if ends(name, endings))


def first_bytes(path: PurePosixPath, reader: Reader, size: int) -> bytes:
    """The beginning of a file, nothing of an empty one; any other error of the reader gets through."""
    try:
        with reader.open(path) as stream:
            return stream.read(size) or b""
    except RequestError as error:
        if error.reason is Reason.FILE_EMPTY:
            return b""
        raise


def only_entry(
    folder: PurePosixPath, reader: Reader, ending: str, is_entry: Callable[[PurePosixPath], bool], what: str
) -> PurePosixPath | None:
    """The entry of the one plate in a folder; None where there is none.

    Args:
        folder: Where to look.
        reader: Of its share.
        ending: Of the names of entries.
        is_entry: Whether a file of such a name is one by what is in it; asked of the first.
        what: One of them is called.

    Raises:
        Permanent: ``unknown-format`` when there are several.
    """
    found = [folder / name for name in named(reader.names(folder).files, ending)]
    if not found or not is_entry(found[0]):
        return None
    refuse_several(folder, found, what)
    return found[0]


def refuse_several(folder: PurePosixPath, found: Sequence[PurePosixPath], what: str) -> None:
    """Have the one named that is meant.

    Args:
        folder: Where they are.
        found: The entries in it.
        what: One of them is called.

    Raises:
        Permanent: ``unknown-format`` when there are several.
    """
    if len(found) > 1:
        names = ", ".join(printable(path.name) for path in found[:5])
        raise failure(
            Reason.UNKNOWN_FORMAT,
            f"the folder {printable(str(folder))} holds {len(found)} plates ({names}): name the {what} of the one",
        )

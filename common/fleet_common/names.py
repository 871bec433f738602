"""The names that OMERO can keep as they are.

OMERO's importer rewrites a file name that breaks one of its path rules (``:`` becomes ``;``), so that the file in the
managed repository no longer has the name that the plate's index gives it. The fleet refuses such a name instead, before
anything is published. Pure functions, no threads. Used by :mod:`fleet_common.storage`.

The rules are those of ``omero.fs.repo.path_rules`` = "Windows required, UNIX required", the server's default and what
its importer applies whatever the server is set to (OMERO.blitz, classes ``FilePathRestrictionInstance`` and
``MakePathComponentSafe``). Umlauts, spaces and full-width characters are fine.
"""

from __future__ import annotations

import re
from typing import Final

from fleet_common.errors import Reason, failure

MAX_COMPONENT_BYTES: Final = 255

_DEVICES: Final = r"AUX|CLOCK\$|CON|NUL|PRN|COM[1-9]|LPT[1-9]"
_DEVICE: Final = re.compile(rf"(?:{_DEVICES})(?:\.|\Z)", re.IGNORECASE)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_CHARACTER: Final = re.compile(r'["*/:<>?\\|]')
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# One match on the way that nearly every name takes: listings check 100,000 names.
_FINE: Final = re.compile(
    rf'(?!(?:{_DEVICES})(?:\.|\Z))(?!\$)[^\x00-\x1f"*/:<>?\\|\x7f-\x9f\ud800-\udfff]{{1,63}}\Z',
    re.IGNORECASE,
)


def check_component(name: str) -> None:
    """Refuse one component of a path, a file or folder name, that OMERO would not keep as it is.

    Raises:
        Permanent: ``name-refused``, with the name and the rule; ``unsafe-path`` for no name at all, ``.`` and ``..``.
    """
    if name in ("", ".", ".."):
        raise failure(Reason.UNSAFE_PATH, f"{name!r} is no name of a file or folder: leave it out of the path")
    if _FINE.match(name):
        return
    broken = _broken_rule(name)
    if broken:
        raise failure(Reason.NAME_REFUSED, f"OMERO cannot keep the name {printable(name)}: {broken}")


def _broken_rule(name: str) -> str:
    return _broken_by_character(name) or _broken_by_whole(name)


def _broken_by_character(name: str) -> str:
    if found := _CONTROL.search(name):
        return f"it holds the control character U+{ord(found[0]):04X}"
    if found := _CHARACTER.search(name):
        return f'it holds {found[0]}, and the characters " * / : < > ? \\ | are not allowed'
    if _SURROGATE.search(name):
        return "it is not valid Unicode; rename the file with a UTF-8 locale"
    return ""


def _broken_by_whole(name: str) -> str:
    if _DEVICE.match(name):
        return "it is, or begins with, the name of a Windows device (AUX CLOCK$ CON NUL PRN COM1-9 LPT1-9)"
    if name.startswith("$"):
        return "it begins with $, as the metadata files of NTFS do"
    if len(name.encode()) > MAX_COMPONENT_BYTES:
        return f"it is longer than {MAX_COMPONENT_BYTES} bytes in UTF-8"
    return ""


def printable(text: str, limit: int = 300) -> str:
    """A text that came from outside, quoted for an error: one line, no control characters, at most ``limit`` long."""
    shown = text if len(text) <= limit else f"{text[:limit]}..."
    return repr(shown.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))

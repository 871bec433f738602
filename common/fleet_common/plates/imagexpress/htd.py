"""Reads an HTD: what MetaXpress plans to acquire.

An HTD is text, a key and its values per line: ``"WellsSelection1", TRUE, FALSE``. The first key is ``HTSInfoFile``, the
last line ``"EndFile"``. Bio-Formats 6.7 (``CellWorxReader.parseHTD``) decodes it as UTF-8, cuts it at line feeds and
takes the keys in their order, so a key is refused here where it would fail or forget what came before. Lines of other
keys are passed over. Reads at most 1 MiB; one call, no state, no threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.model import Bytes, WellPosition

MAX_BYTES: Final = 1 << 20
MAX_PLANES: Final = 1_000_000
MAX_ROWS: Final = 32
MAX_COLUMNS: Final = 48
MAX_SITES: Final = 100
"""In one direction."""
MAX_WAVES: Final = 64
MAX_STEPS: Final = 10_000
MAX_NAME_CHARACTERS: Final = 200
LETTERS: Final = 26

_HEAD: Final = '"HTSInfoFile"'
_TAIL: Final = '"EndFile"'
_NUMBER: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_NUMBERED: Final = re.compile(r"(WellsSelection|SiteSelection|WaveName)([0-9]{1,4})", re.ASCII)
_FLAGS: Final = {"true": True, "false": False}
# What java.lang.String.trim takes away.
_BLANK: Final = "".join(map(chr, range(ord(" ") + 1)))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be acquired.

    Attributes:
        rows: Rows of the plate.
        columns: Columns of the plate.
        wells: The chosen ones, by row and column.
        sites: How many are chosen in each well, which are its fields.
        waves: Names of the wavelengths, which are the channels; an empty text where there is none.
        waves_named: Whether the names of files tell the wave.
        timepoints: At least 1.
        steps: Planes of a stack, at least 1. MetaXpress 6.7 writes 0 for none, and no Bio-Formats that was tried (6.7,
            7.3.1) opens such a plate.
        identity: The plate's own id; empty if there is none.
    """

    rows: int
    columns: int
    wells: tuple[WellPosition, ...]
    sites: int
    waves: tuple[str, ...]
    waves_named: bool
    timepoints: int
    steps: int
    identity: str


class _Broken(Exception):
    """What is wrong with the line at hand."""


def parse(stream: Bytes, path: str) -> Plan:
    """Read a whole HTD.

    Args:
        stream: The file, from its beginning.
        path: Its name in errors.

    Raises:
        Permanent: ``format-broken`` with path, line and key; ``unsupported`` for wells below row Z.
        Transient: ``manifest-differs`` while its last line is missing.
    """
    lines = _lines(_text(stream, path), path)
    keys = _Keys()
    for number, line in enumerate(lines, start=1):
        key, value = _split(line)
        try:
            keys.take(key, value)
        except _Broken as error:
            raise _broken(path, f"line {number} in {printable(key, 40)}: {error}") from error
    try:
        plan = keys.plan()
        _check(plan)
    except _Broken as error:
        raise _broken(path, str(error)) from error
    if plan.wells[-1][0] >= LETTERS:
        raise failure(
            Reason.UNSUPPORTED,
            f"{path} has wells below row Z, whose names Bio-Formats does not find: it would show blank images",
        )
    return plan


def _text(stream: Bytes, path: str) -> str:
    content = b""
    while len(content) <= MAX_BYTES and (part := stream.read(MAX_BYTES + 1 - len(content))):
        content += part
    if len(content) > MAX_BYTES:
        raise _broken(path, f"it is larger than {MAX_BYTES} bytes")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _broken(path, "it is written in UTF-16, which Bio-Formats cannot read: save it as plain text")
    return content.decode("utf-8-sig", "replace")


def _lines(text: str, path: str) -> list[str]:
    """The lines before the last, which shows that the file is whole."""
    lines = [line.strip(_BLANK) for line in text.split("\n")]
    if not lines[0].startswith(_HEAD):
        raise _broken(path, f"line 1: it does not begin with {_HEAD}")
    if _TAIL not in lines:
        raise failure(
            Reason.MANIFEST_DIFFERS,
            f"{path} has no last line {_TAIL} after line {len(lines)}: it is still being written, or was cut",
        )
    end = lines.index(_TAIL)
    if any(lines[end:][1:]):
        raise _broken(path, f"line {end + 2}: there is more after {_TAIL}")
    return lines[:end]


def _split(line: str) -> tuple[str, str]:
    """Key and value as the reader finds them; no key at all where it would pass the line over."""
    end = line.find('",')
    return (line[1:end].strip(_BLANK), line[end + 2 :].strip(_BLANK)) if end >= 1 else ("", "")


class _Keys:
    """Takes the keys in their order."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._flags: dict[str, bool] = {}
        self._rows: dict[tuple[str, int], list[bool]] = {}
        self._names: dict[int, str] = {}
        self._identity = ""
        self._seen: set[str] = set()

    def take(self, key: str, value: str) -> None:
        """Keep one line; a key that is not known is passed over."""
        if key in _LIMITS:
            self._once(key)
            self._numbers[key] = self._number(key, value)
        elif key in ("Sites", "Waves"):
            self._once(key)
            self._flags[key] = _flag(value)
        elif key == "UniquePlateIdentifier":
            self._once(key)
            self._identity = _unquoted(value)
        elif key.startswith(tuple(_TAKERS)):
            self._once(key)
            self._take_numbered(key, value)

    def _once(self, key: str) -> None:
        if key in self._seen:
            raise _Broken("it is given twice")
        self._seen.add(key)

    def _take_numbered(self, key: str, value: str) -> None:
        match = _NUMBERED.fullmatch(key)
        if not match:
            raise _Broken("it does not end with a number")
        _TAKERS[match[1]](self, int(match[2]), value)

    def _number(self, key: str, value: str) -> int:
        after, least, most = _LIMITS[key]
        if after and after not in self._numbers:
            raise _Broken(f"it comes before {after}, and Bio-Formats would fail")
        if not _NUMBER.fullmatch(value):
            raise _Broken(f"{printable(value, 40)} is not a whole number")
        if not least <= int(value) <= most:
            raise _Broken(f"{value} is not within {least} and {most}")
        return int(value)

    def wells(self, number: int, value: str) -> None:
        """Which wells of a row are chosen."""
        self._rows["WellsSelection", number] = self._row(number, value, "YWells", "XWells")

    def sites(self, number: int, value: str) -> None:
        """Which sites of a row are chosen."""
        self._rows["SiteSelection", number] = self._row(number, value, "YSites", "XSites")

    def _row(self, number: int, value: str, rows: str, columns: str) -> list[bool]:
        if rows not in self._numbers:
            raise _Broken(f"it comes before {rows}, and Bio-Formats would fail")
        if not 1 <= number <= self._numbers[rows]:
            raise _Broken(f"its number is not within 1 and {self._numbers[rows]}, as {rows} says")
        values = value.rstrip(f",{_BLANK}").split(",")
        if len(values) != self._numbers[columns]:
            raise _Broken(f"it has {len(values)} values, not {self._numbers[columns]} as {columns} says")
        return [_flag(one) for one in values]

    def wave(self, number: int, value: str) -> None:
        """The name of a wave."""
        many = self._numbers.get("NWavelengths", 0)
        if not 1 <= number <= many:
            raise _Broken(f"its number is not within 1 and {many}, as NWavelengths before it says")
        self._names[number] = _unquoted(value)

    def plan(self) -> Plan:
        """What all of them say."""
        for key in ("XWells", "YWells", "NWavelengths"):
            if key not in self._numbers:
                raise _Broken(f"{key} is missing")
        return Plan(
            rows=self._numbers["YWells"],
            columns=self._numbers["XWells"],
            wells=self._chosen("WellsSelection", self._numbers["YWells"]),
            sites=self._site_count(),
            waves=tuple(self._names.get(wave + 1, "") for wave in range(self._numbers["NWavelengths"])),
            waves_named=self._flags.get("Waves", False) or self._numbers["NWavelengths"] > 1,
            timepoints=self._numbers.get("TimePoints", 1),
            steps=max(1, self._numbers.get("ZSteps", 1)),
            identity=self._identity,
        )

    def _chosen(self, key: str, rows: int) -> tuple[WellPosition, ...]:
        missing = next((row + 1 for row in range(rows) if (key, row + 1) not in self._rows), None)
        if missing:
            raise _Broken(f"{key}{missing} is missing")
        found = ((row, column) for row in range(rows) for column, on in enumerate(self._rows[key, row + 1]) if on)
        return tuple(found)

    def _site_count(self) -> int:
        grid = self._numbers.get("XSites", 0), self._numbers.get("YSites", 0)
        if not self._flags.get("Sites", True):
            if grid != (1, 1) and any(key == "SiteSelection" for key, _ in self._rows):
                raise _Broken("Sites is FALSE, and there is a SiteSelection all the same: Bio-Formats would fail")
            return 1
        if 0 in grid:
            raise _Broken("XSites or YSites is missing")
        # Where there is one site only, nothing need say that it is chosen.
        return 1 if grid == (1, 1) else len(self._chosen("SiteSelection", grid[1]))


# The key that must stand before it, the least and the greatest value.
_LIMITS: Final[Mapping[str, tuple[str, int, int]]] = {
    "TimePoints": ("", 1, MAX_STEPS),
    "ZSteps": ("", 0, MAX_STEPS),
    "XWells": ("", 1, MAX_COLUMNS),
    "YWells": ("XWells", 1, MAX_ROWS),
    "XSites": ("", 1, MAX_SITES),
    "YSites": ("XSites", 1, MAX_SITES),
    "NWavelengths": ("", 1, MAX_WAVES),
}
_TAKERS: Final[Mapping[str, Callable[[_Keys, int, str], None]]] = {
    "WellsSelection": _Keys.wells,
    "SiteSelection": _Keys.sites,
    "WaveName": _Keys.wave,
}


def _check(plan: Plan) -> None:
    if not plan.wells:
        raise _Broken("no well is chosen")
    if not plan.sites:
        raise _Broken("no site is chosen")
    planes = len(plan.wells) * plan.sites * len(plan.waves) * plan.timepoints * plan.steps
    if planes > MAX_PLANES:
        raise _Broken(f"it plans {planes} images, more than {MAX_PLANES}")


def _flag(value: str) -> bool:
    text = value.strip(_BLANK).lower()
    if text not in _FLAGS:
        raise _Broken(f"{printable(value, 40)} is neither TRUE nor FALSE")
    return _FLAGS[text]


def _unquoted(value: str) -> str:
    text = value.replace('"', "")
    if len(text) > MAX_NAME_CHARACTERS:
        raise _Broken(f"its text is longer than {MAX_NAME_CHARACTERS} characters")
    return text


def _broken(path: str, what: str) -> RequestError:
    return failure(Reason.FORMAT_BROKEN, f"{path}: {what}")

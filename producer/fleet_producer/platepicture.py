"""A plate as a picture: a character for each well; 1536 wells fit a terminal of 80 columns. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from fleet_common.plates import FileProblem, Plate, WellPosition, well_name

WHOLE: Final = "#"
PARTLY: Final = "o"
LOST: Final = "x"
BLANK: Final = "-"
UNUSED: Final = "."
LEGEND: Final = (
    f"{WHOLE} whole   {PARTLY} files missing or damaged   {LOST} no file   "
    f"{BLANK} blank, never measured   {UNUSED} unused"
)
_TENS: Final = 10


def picture(plate: Plate, bad: Iterable[FileProblem]) -> list[str]:
    """Draw a plate; nothing for what is none.

    Args:
        plate: What its format read.
        bad: Its files that are missing or damaged.
    """
    expected = plate.expected
    if expected is None:
        return []
    marks = _marks(plate, {problem.path for problem in bad})
    columns = range(expected.columns)
    width = len(_row_name(expected.rows - 1))
    rows = (
        f"{_row_name(row):>{width}} {''.join(marks.get((row, column), UNUSED) for column in columns)}"
        for row in range(expected.rows)
    )
    return [f"{' ' * width} {''.join(_column_mark(column) for column in columns)}", *rows]


def _marks(plate: Plate, bad: set[str]) -> dict[WellPosition, str]:
    """What to draw for every well that OMERO will hold."""
    wells = plate.expected.wells if plate.expected else frozenset()
    files = Counter((plane.row, plane.column) for plane in plate.planes if plane.path)
    lost = Counter((plane.row, plane.column) for plane in plate.planes if plane.path in bad)
    return {well: _mark(files[well], lost[well]) for well in wells | files.keys()}


def _mark(files: int, lost: int) -> str:
    if not files:
        return BLANK
    if not lost:
        return WHOLE
    return LOST if lost == files else PARTLY


def _row_name(row: int) -> str:
    return well_name(row, 0)[:-2]


def _column_mark(column: int) -> str:
    """The last digit of a column's number; every tenth one shows its tens."""
    number = column + 1
    return str(number // _TENS) if number % _TENS == 0 else str(number % _TENS) if number < _TENS else " "

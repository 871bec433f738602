"""Where the wells of a made plate are, and which planes it has: the same for all vendors. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from fleet_stack.console import StackError
from fleet_stack.plates.spec import PlaneKey, PlateSpec

PLATE_SIZES: Final = ((8, 12), (16, 24), (32, 48))
"""Rows and columns of the usual plates."""

Well = tuple[int, int]
"""Row and column, both from 0."""


def arranged(spec: PlateSpec) -> tuple[int, int, tuple[Well, ...]]:
    """Rows and columns of the smallest usual plate that has the wells, and where they are: row by row.

    Raises:
        StackError: There is no such plate.
    """
    if min(spec.wells, spec.fields, spec.channels, spec.planes, spec.timepoints) < 1:
        raise StackError("a plate needs wells, fields, channels, planes and timepoints of 1 or more")
    for rows, columns in PLATE_SIZES:
        positions = tuple(sorted(spec.positions)) or tuple(divmod(well, columns) for well in range(spec.wells))
        if all(row < rows and column < columns for row, column in positions):
            return rows, columns, positions
    raise StackError(f"no plate has these wells: give 1 to {32 * 48}, or positions inside 32 x 48")


def keys_of(spec: PlateSpec, positions: Iterable[Well]) -> Iterator[PlaneKey]:
    """The planes of these wells, without fields that are absent."""
    for row, column in positions:
        for number in range(spec.fields):
            if (row, column, number) in spec.absent:
                continue
            for t in range(spec.timepoints):
                for z in range(spec.planes):
                    yield from (PlaneKey(row, column, number, t, z, c) for c in range(spec.channels))


def row_letters(row: int) -> str:
    """The letters of a row as instruments write them: 0 is A, 26 is AA."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[row] if row < len(letters) else f"A{letters[row - len(letters)]}"

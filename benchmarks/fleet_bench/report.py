"""What results say on a terminal: one line for each figure that has a target. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_bench.model import Figure, Result


def lines(result: Result) -> Iterator[str]:
    """``ratio`` lines, and the floors that explain them."""
    for figure in result.figures:
        yield f"{figure.unit if figure.unit == 'ratio' else 'figure'} {result.case} {_told(figure)}"
    for floor in result.floors:
        yield f"floor {result.case} {floor.name}: {floor.seconds} s, {floor.fraction:.2f} of the fleet's {floor.of}"
    for note in result.notes:
        yield f"note {result.case} {note}"


def _told(figure: Figure) -> str:
    unit = "" if figure.unit == "ratio" else f" {figure.unit}"
    wanted = f", wanted {figure.target}: {'reached' if figure.reached else 'MISSED'}" if figure.target else ""
    return f"{figure.name} {figure.value}{unit}{wanted}"

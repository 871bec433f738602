"""What results say on a terminal, one line for each figure, and the file that keeps them. Threading: one thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fleet_bench.model import Bench, Figure, Result


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


def write(result: Result, file: Path, machine: dict[str, str]) -> None:
    """Put a result into a file of results, in place of an earlier one of the same case."""
    known = Bench.model_validate_json(file.read_text(encoding="utf-8")).results if file.exists() else ()
    bench = Bench(machine=machine, results=(*(one for one in known if one.case != result.case), result))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(bench.model_dump_json(indent=1) + "\n", encoding="utf-8")

"""The results as pictures: ratios beside their targets, floors, and the curves of single cases.

The same results give the same bytes. Threading: one thread, which is all that matplotlib's figures take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from fleet_bench.model import Bench, Curve, Figure, Result

_WIDTH: Final = 8.0
_ROW: Final = 0.42
"""Inches of height for each row."""
_COLOURS: Final = {"whole": "#1b6ca8", "upload": "#e07b39"}


def draw(bench: Bench, folder: Path) -> list[Path]:
    """Write all pictures as SVG and return their paths; nothing for what was not measured."""
    # Without a salt the identifiers inside differ from run to run.
    mpl.rcParams["svg.hashsalt"] = "fleet-bench"
    folder.mkdir(parents=True, exist_ok=True)
    compared = [result for result in bench.results if result.pairs]
    made = [_write(_ratios(compared), folder / "performance-ratios.svg")] if compared else []
    if floored := [result for result in compared if result.floors]:
        made.append(_write(_floors(floored), folder / "performance-floors.svg"))
    curved = (result for result in bench.results if result.curves)
    return made + [_write(_curves(result), folder / f"performance-{result.case}.svg") for result in curved]


def _ratios(results: Sequence[Result]) -> Picture:
    """One row for each case: the fleet's times by the importer's, their spread, and what is wanted."""
    picture, axes = _rows([result.case for result in results], "the fleet's time by the importer's; 1 is as fast")
    axes.axvline(1.0, color="#888888", linewidth=1)
    for row, result in enumerate(results):
        for figure in (one for one in result.figures if one.name in _COLOURS):
            _ratio(axes, row + (0.16 if figure.name == "upload" else -0.16), figure)
    for name, colour in _COLOURS.items():
        axes.plot([], [], "o", color=colour, label=f"{name}, with its spread")
    axes.plot([], [], "|", color="black", markersize=12, label="wanted")
    axes.set_xlim(left=0)
    axes.legend(loc="lower right", fontsize=8)
    return picture


def _ratio(axes: Any, row: float, figure: Figure) -> None:
    value, colour = figure.value, _COLOURS[figure.name]
    axes.plot([value.low, value.high], [row, row], color=colour, linewidth=2, alpha=0.5)
    axes.plot([value.median], [row], "o", color=colour)
    if figure.target:
        axes.plot([figure.target.limit], [row], "|", color="black", markersize=12)


def _floors(results: Sequence[Result]) -> Picture:
    bars = [(f"{result.case}: {floor.name}", floor) for result in results for floor in result.floors]
    picture, axes = _rows([label for label, _ in bars], "floor by the fleet's time; 1 is as fast as the server allows")
    axes.axvline(1.0, color="#888888", linewidth=1)
    axes.barh(range(len(bars)), [floor.fraction for _, floor in bars], color=[_COLOURS[floor.of] for _, floor in bars])
    for name, colour in _COLOURS.items():
        axes.barh([], [], color=colour, label=f"of its {name} time")
    axes.legend(loc="lower right", fontsize=8)
    return picture


def _curves(result: Result) -> Picture:
    """One plot for each pair of axes."""
    ordered = sorted(result.curves, key=_axes_of)
    plots = [list(curves) for _, curves in groupby(ordered, key=_axes_of)]
    picture = Picture(figsize=(_WIDTH, 3.2 * len(plots)), layout="constrained")
    for axes, curves in zip(picture.subplots(len(plots), squeeze=False).flat, plots, strict=True):
        _curve(axes, curves)
    return picture


def _curve(axes: Any, curves: Iterable[Curve]) -> None:
    for curve in curves:
        xs, ys = zip(*curve.points, strict=True)
        axes.plot(xs, ys, "o-", label=curve.name)
        axes.set_xlabel(curve.x)
        axes.set_ylabel(curve.y)
        if min(xs) > 0 and max(xs) / min(xs) > 50:  # noqa: PLR2004  from there on a line crowds its beginning
            axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _axes_of(curve: Curve) -> tuple[str, str]:
    return (curve.x, curve.y)


def _rows(labels: Sequence[str], title: str) -> tuple[Picture, Any]:
    picture = Picture(figsize=(_WIDTH, 1.0 + _ROW * len(labels)), layout="constrained")
    axes = picture.subplots()
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(title)
    axes.grid(axis="x", alpha=0.3)
    return picture, axes


def _write(picture: Picture, path: Path) -> Path:
    picture.savefig(path, format="svg", metadata={"Date": None, "Creator": "make bench"})
    return path

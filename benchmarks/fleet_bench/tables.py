"""The results as tables for ``docs/explanation/performance.md``. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from fleet_bench.model import Bench, Figure, Floor, Result

Row = Sequence[str]
_RATIOS: Final = ("whole", "upload")
_START: Final = ("importer: start and scan", "importer: login")
_FEWEST: Final = 10
"""Below this value a figure is shown with two decimals."""
_MANY: Final = 1000
"""From this value on with none, and with a comma."""


def page(bench: Bench) -> str:
    """All tables, with a line on the machine and the notes of all cases."""
    compared = [result for result in bench.results if result.pairs]
    around = [result for result in bench.results if not result.pairs]
    parts = [
        _machine(bench),
        _against(compared),
        _plain(compared),
        _start(compared),
        _floors(compared),
        _held(compared),
    ]
    return "\n\n".join(part for part in (*parts, _around(around), _notes(bench.results)) if part) + "\n"


def _machine(bench: Bench) -> str:
    machine = bench.machine
    minutes = sum(result.seconds for result in bench.results) / 60
    return (
        f"Measured by `make bench` in {minutes:.0f} minutes on {machine['cores']} cores that servers, workers and "
        f"importer share ({machine['system']}, Python {machine['python']}). Medians, with smallest and largest value."
    )


def _against(results: Sequence[Result]) -> str:
    head = ("case", "whole time", "wanted", "upload phase", "wanted", "fleet", "importer", "pairs")
    return _section("The fleet's time as a fraction of the importer's", head, map(_compared, results))


def _compared(result: Result) -> Row:
    named = {figure.name: figure for figure in result.figures}
    ratios = [cell for name in _RATIOS for cell in _judged(named.get(name))]
    seconds = [_seconds(named.get(f"{side}: whole")) for side in ("fleet", "importer")]
    return (f"`{result.case}`: {result.title}", *ratios, *seconds, str(len(result.pairs)))


def _judged(figure: Figure | None) -> tuple[str, str]:
    if figure is None:
        return "", ""
    wanted = f"{figure.target}{'' if figure.reached else ' (missed)'}" if figure.target else ""
    return _spread(figure), wanted


def _plain(results: Sequence[Result]) -> str:
    names = ("whole", "whole, plain TCP", "upload", "upload, plain TCP")
    found = [(result, {figure.name: figure for figure in result.figures}) for result in results]
    rows = [(f"`{one.case}`", *(_spread(named[name]) for name in names)) for one, named in found if names[1] in named]
    head = ("case", "whole, TLS", "whole, plain", "upload, TLS", "upload, plain")
    return _section("The fleet over TLS and over plain TCP, both as a fraction of the importer's", head, rows)


def _start(results: Sequence[Result]) -> str:
    found = [(result, {figure.name: figure for figure in result.figures}) for result in results]
    rows = [(f"`{one.case}`", *(_seconds(named.get(name)) for name in _START)) for one, named in found]
    return _section(
        "What the importer needs before its first file goes up",
        ("case", "Java and the scan of all paths", "login"),
        rows,
    )


def _floors(results: Sequence[Result]) -> str:
    rows = [_floored(result, floor) for result in results for floor in result.floors]
    return _section(
        "The floor, as a fraction of both sides' times (1.00 of the fleet's: nothing can be faster)",
        ("case", "floor", "takes", "beside", "of the fleet's", "of the importer's", "wanted of the fleet"),
        rows,
    )


def _floored(result: Result, floor: Floor) -> Row:
    """A floor that is no smaller a fraction of the importer's than is wanted of the fleet shows why that is missed."""
    named = {figure.name: figure for figure in result.figures}
    importer = named.get(f"importer: {floor.of}")
    fraction = f"{floor.seconds.median / importer.value.median:.2f}" if importer else ""
    takes = f"{_number(floor.seconds.median)} s"
    return (
        f"`{result.case}`",
        floor.name,
        takes,
        floor.of,
        f"{floor.fraction:.2f}",
        fraction,
        _judged(named.get(floor.of))[1],
    )


def _held(results: Sequence[Result]) -> str:
    """What is wanted of a case beside its floor."""
    rows = [
        (f"`{result.case}`", figure.name, *_judged(figure))
        for result in results
        for figure in result.figures
        if figure.target and figure.name.partition(",")[0] not in _RATIOS
    ]
    return _section("What is wanted beside the floor", ("case", "figure", "measured", "wanted"), rows)


def _around(results: Sequence[Result]) -> str:
    rows = [
        (f"`{result.case}`: {result.title}", figure.name, f"{_spread(figure)} {figure.unit}", _judged(figure)[1])
        for result in results
        for figure in result.figures
    ]
    return _section("The fleet around it", ("case", "figure", "measured", "wanted"), rows)


def _notes(results: Sequence[Result]) -> str:
    return "\n".join(f"- `{result.case}`: {note}" for result in results for note in result.notes)


def _section(title: str, head: Row, rows: Iterable[Row]) -> str:
    lines = list(_table(head, rows))
    return "\n".join((f"### {title}", "", *lines)) if lines else ""


def _table(head: Row, rows: Iterable[Row]) -> Iterator[str]:
    """A table in Markdown; nothing where there are no rows."""
    for number, row in enumerate(rows):
        if number == 0:
            yield f"| {' | '.join(head)} |"
            yield f"|{'---|' * len(head)}"
        yield f"| {' | '.join(row)} |"


def _seconds(figure: Figure | None) -> str:
    return f"{_spread(figure)} s" if figure else ""


def _spread(figure: Figure) -> str:
    value = figure.value
    if value.count == 1:
        return _number(value.median)
    return f"{_number(value.median)} ({_number(value.low)}-{_number(value.high)})"


def _number(value: float) -> str:
    if abs(value) >= _MANY:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < _FEWEST else f"{value:.1f}"

"""``omero-fleet plate inspect``: what the fleet makes of a plate, without publishing anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fleet_common.cli import Context
from fleet_common.errors import RequestError
from fleet_common.exits import Exit
from fleet_common.plates import End, FileProblem, Plate, damages, odd_sizes, problems, well_name
from fleet_common.plates.gaps import gaps
from fleet_common.plates.versions import version_name
from fleet_common.storage import Share, Shares, measure
from fleet_common.wholeness import judge_all
from fleet_producer.platepicture import LEGEND, picture
from fleet_producer.prepare import look_at

_MAX_TOLD = 20


@click.group()
def plate() -> None:
    """Look at a plate without publishing it."""


@plate.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--no-tiffs", is_flag=True, help="Do not open TIFFs to see whether they are whole.")
@click.option("--same-sizes", is_flag=True, help="Name files of another size than others of their channel.")
@click.pass_obj
def inspect(context: Context, /, path: Path, *, as_json: bool, no_tiffs: bool, same_sizes: bool) -> int:
    """Show format, identity, files, wells and fields, and what is missing or damaged; ends with 3 when something is.

    \b
    Examples:
      omero-fleet plate inspect '/data/P1__2026-01-01T10_00_00-Measurement 1'
      omero-fleet plate inspect /data/P1/Images/Index.idx.xml --json
      omero-fleet plate inspect /data/P1 --no-tiffs
    """
    context.settings()
    try:
        share, found = look_at(path, Shares([Share("here", _top(path))]))
        sizes = measure(share, found.files)
        damaged = () if no_tiffs else damages(found, judge_all(share, sizes))
    except RequestError as error:
        click.echo(f"{path}: {error.reason}: {error}. {error.rule.next_action}", err=True)
        return Exit.REFUSED
    odd = odd_sizes(found, sizes) if same_sizes else ()
    bad = (*problems(found, sizes), *damaged, *odd)
    report = describe_plate(found, sizes, bad)
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(lines_of(report, found, bad)))
    return Exit.REFUSED if bad else Exit.OK


def describe_plate(found: Plate, sizes: Mapping[str, int], bad: tuple[FileProblem, ...]) -> dict[str, Any]:
    """The plate as a flat record: facts first, problems last."""
    absent = problems(found, sizes)
    report: dict[str, Any] = {
        "format": found.format,
        "entry": found.entry,
        "reader": found.reader or "chosen by the server",
        "files": len(found.files),
        "files_there": len(found.files) - len(absent),
        "bytes": sum(sizes.values()),
        "identity": found.identity,
        "started_at": found.started_at,
        "operator": found.operator,
        "instrument": found.instrument,
        "acquisition": {End.UNKNOWN: "no end mark", End.RUNNING: "running", End.ENDED: "ended"}[found.end],
        "needs_bioformats": version_name(found.needs_bioformats) or "any",
    }
    if found.expected is not None:
        expected = found.expected
        report |= {
            "name": expected.name,
            "barcode": expected.barcode,
            "wells": [well_name(row, column) for row, column in sorted(expected.wells)],
            "fields_per_well": expected.fields_per_well,
            "size": expected.sizes._asdict(),
            "channels": list(expected.channels),
            "images": expected.images,
            "planes": expected.planes,
        }
    report["instrument_errors"] = [f"{error.where}: {error.state}" for error in found.errors]
    report["warnings"] = list(found.warnings)
    report["gaps"] = list(gaps(found, absent))
    report["problems"] = [str(problem) for problem in bad]
    return report


def lines_of(report: Mapping[str, Any], found: Plate, bad: tuple[FileProblem, ...]) -> list[str]:
    """The record for people: wells as a picture, problems one a line."""
    lists = ("wells", "instrument_errors", "warnings", "gaps", "problems")
    lines = [f"{key:16} {_shown(key, report)}" for key in report if key not in lists and key != "files_there"]
    drawn = picture(found, bad)
    lines += ["", *drawn, LEGEND] if drawn else []
    for key in lists[1:]:
        lines += _listed(key.replace("_", " "), report[key])
    return lines


def _shown(key: str, report: Mapping[str, Any]) -> str:
    value = report[key]
    if key == "files":
        return f"{report['files_there']} of {value}"
    if key == "channels":
        return ", ".join(name or "unnamed" for name in value)
    return ", ".join(f"{name} {number}" for name, number in value.items()) if isinstance(value, dict) else str(value)


def _listed(title: str, texts: list[str]) -> list[str]:
    more = [f"  and {len(texts) - _MAX_TOLD} more; all of them with --json"] if len(texts) > _MAX_TOLD else []
    return ["", f"{title}:", *(f"  {text}" for text in texts[:_MAX_TOLD]), *more] if texts else []


def _top(path: Path) -> Path:
    # Companion files may lie in the folders above the entry file, so the whole file system counts as the share here.
    return Path(path.absolute().anchor)

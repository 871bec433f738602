"""``omero-fleet plate inspect``: what the fleet makes of a plate, without publishing anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fleet_common.cli import Context
from fleet_common.errors import RequestError
from fleet_common.exits import Exit
from fleet_common.plates import Plate, problems, well_name
from fleet_common.storage import Share, Shares, measure
from fleet_producer.prepare import look_at


@click.group()
def plate() -> None:
    """Look at a plate without publishing it."""


@plate.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def inspect(context: Context, /, path: Path, *, as_json: bool) -> int:
    """Show format, files, wells, fields and what is missing; ends with 3 when something is.

    \b
    Examples:
      omero-fleet plate inspect '/data/P1__2026-01-01T10_00_00-Measurement 1'
      omero-fleet plate inspect /data/P1/Images/Index.idx.xml --json
    """
    context.settings()
    try:
        share, found = look_at(path, Shares([Share("here", _top(path))]))
        sizes = measure(share, found.files)
    except RequestError as error:
        click.echo(f"{path}: {error.reason}: {error}. {error.rule.next_action}", err=True)
        return Exit.REFUSED
    report = describe_plate(found, sizes)
    click.echo(
        json.dumps(report, indent=2) if as_json else "\n".join(f"{key:16} {value}" for key, value in report.items())
    )
    return Exit.REFUSED if report["problems"] else Exit.OK


def describe_plate(found: Plate, sizes: Any) -> dict[str, Any]:
    """The plate as a flat record: facts first, problems last."""
    report: dict[str, Any] = {
        "format": found.format,
        "entry": found.entry,
        "reader": found.reader or "chosen by the server",
        "files": len(found.files),
        "bytes": sum(sizes.values()),
        "identity": found.identity,
        "started_at": found.started_at,
        "operator": found.operator,
        "instrument": found.instrument,
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
    report["problems"] = [str(problem) for problem in problems(found, sizes)]
    return report


def _top(path: Path) -> Path:
    # Companion files may lie in the folders above the entry file, so the whole file system counts as the share here.
    return Path(path.absolute().anchor)

"""``omero-fleet paths check``: what each share, and each path, means on this host."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fleet_common import render
from fleet_common.cli import Context
from fleet_common.errors import RequestError, UsageError
from fleet_common.exits import Exit
from fleet_common.settings import Settings
from fleet_common.storage import Share, Shares
from fleet_producer.roots import Root, look


@click.group()
def paths() -> None:
    """Show what each share means on this host."""


@paths.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def check(context: Context, /, paths: tuple[Path, ...], *, as_json: bool) -> int:
    """List every share as this host sees it, and say in which share each PATH lies; ends with 13 when one is unfit.

    A request names a share and a path in it. Workers have the same shares, perhaps elsewhere: their side is checked by
    omero-fleet doctor. Run this as the user, or as the service, that runs omero-fleet watch.

    \b
    Examples:
      omero-fleet --config producer.toml paths check
      omero-fleet --config producer.toml paths check /data/hcs/phenix1/P1 --json
    """
    settings = context.settings()
    if not settings.shares:
        raise UsageError("no share is known: give shares in the settings")
    roots = [look(name, root) for name, root in settings.shares.items()]
    wanted = [*paths, *(folder.path for folder in settings.watch.folders)]
    places = [place_of(path, settings) for path in wanted]
    if as_json:
        click.echo(json.dumps({"shares": [asdict(root) for root in roots], "paths": places}, indent=2))
    else:
        click.echo("\n".join([*map(line_of, roots), *map(_place_line, places)]))
    unfit = any(root.problem for root in roots) or any(place["problem"] for place in places)
    return Exit.UNFIT if unfit else Exit.OK


def place_of(path: Path, settings: Settings) -> dict[str, Any]:
    """In which share a path of this host lies."""
    try:
        share, relative = Shares(Share(name, root) for name, root in settings.shares.items()).locate(path)
    except RequestError as error:
        return {"path": str(path), "share": "", "in_share": "", "problem": f"{error.reason}: {error}"}
    problem = "" if path.exists() else "there is nothing here"
    return {"path": str(path), "share": share, "in_share": str(relative), "problem": problem}


def line_of(root: Root) -> str:
    """What a person is told of a share."""
    seen = f"{root.entries} names in {root.seconds:.2f} s, {render.size(root.free_bytes)} free"
    first = f"{root.share} = {root.path}  {root.kind}  {root.problem or seen}"
    return f"{first}\n    {root.remark}" if root.remark else first


def _place_line(place: dict[str, Any]) -> str:
    where = f"{place['share']}/{place['in_share']}" if place["share"] else ""
    return "  ".join(filter(None, [place["path"], where, place["problem"]]))

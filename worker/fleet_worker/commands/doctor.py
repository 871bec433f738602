"""``omero-fleet doctor``: whether a worker can run with these settings, and what dead attempts left in OMERO."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

import click

from fleet_common.cli import Context
from fleet_common.durations import parse_duration
from fleet_common.errors import UsageError
from fleet_common.exits import Exit
from fleet_worker.checkup import Checkup
from fleet_worker.findings import Finding, Verdict
from fleet_worker.sweep import LOST_AFTER_SECONDS, SweepReport, sweep

_MARKS: Final = {Verdict.OK: "ok  ", Verdict.WARN: "warn", Verdict.FAIL: "FAIL"}


@click.command()
@click.option("--sweep", "sweeps", is_flag=True, help="Remove what dead attempts left in OMERO, if all else is well.")
@click.option("--dry-run", is_flag=True, help="With --sweep: only say what would be removed.")
@click.option("--older-than", metavar="TIME", help="With --sweep: folders at least so old: 90s, 2h. Default: 1h.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def doctor(context: Context, /, *, sweeps: bool, dry_run: bool, older_than: str | None, as_json: bool) -> int:
    """Check settings, shares, RabbitMQ and OMERO as a worker would, and say what to do.

    Says what the slots may be with OMERO's thread settings, and refuses more; says what the delivery time-out of
    RabbitMQ must be. Changes nothing without --sweep, which removes unfinished filesets of the fleet whose session is
    closed, and import folders older than an hour that no fileset names, each as its owner. Younger folders are safe
    to remove once no worker and no other client imports.

    \b
    Examples:
      omero-fleet --config worker.toml doctor
      omero-fleet --config worker.toml doctor --sweep --dry-run
      omero-fleet --config worker.toml doctor --sweep --older-than 5m
    """
    if (dry_run or older_than) and not sweeps:
        raise UsageError("--dry-run and --older-than say how to sweep: give --sweep, too")
    lost_after_seconds = parse_duration(older_than).total_seconds() if older_than else LOST_AFTER_SECONDS
    with Checkup(context.settings()) as checkup:
        found = list(_shown(checkup.run(), quiet=as_json))
        fit = not any(one.verdict is Verdict.FAIL for one in found)
        report = sweep(checkup, dry_run=dry_run, lost_after_seconds=lost_after_seconds) if sweeps and fit else None
        unreachable = checkup.unreachable
    if as_json:
        click.echo(json.dumps(_as_json(found, report), indent=2))
    else:
        _conclude(found, report, asked=sweeps)
    if unreachable:
        return Exit.UNREACHABLE
    return Exit.OK if fit and not (report and report.failed) else Exit.UNFIT


def _shown(findings: Iterable[Finding], *, quiet: bool) -> Iterable[Finding]:
    for one in findings:
        if not quiet:
            click.echo(f"{_MARKS[one.verdict]}  {one.check}: {one.text}")
            if one.advice:
                click.echo(f"      {one.advice}")
        yield one


def _conclude(found: list[Finding], report: SweepReport | None, *, asked: bool) -> None:
    failures = sum(one.verdict is Verdict.FAIL for one in found)
    warnings = sum(one.verdict is Verdict.WARN for one in found)
    if report is not None:
        for piece in (*report.filesets, *report.folders):
            click.echo(f"{piece.fate}  {piece.what} of {piece.owner} in {piece.group}  {piece.detail}".rstrip())
        click.echo(f"swept: {len(report.filesets)} filesets, {len(report.folders)} folders found")
    elif asked:
        click.echo("not swept: mend what failed first")
    click.echo(f"{failures} failed, {warnings} warnings: a worker {'can' if not failures else 'cannot'} run so")


def _as_json(found: list[Finding], report: SweepReport | None) -> dict[str, Any]:
    return {"findings": [asdict(one) for one in found], "sweep": report.as_json() if report else None}

"""``omero-fleet submit``: check plates and images, publish requests, and wait for their outcomes if asked."""

from __future__ import annotations

import getpass
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pydantic

from fleet_common import render
from fleet_common.assembling import Order, Prepared
from fleet_common.cli import Context
from fleet_common.errors import RequestError, UsageError
from fleet_common.events import Status
from fleet_common.exits import Exit
from fleet_common.messages import (
    Batch,
    ChecksumAlgorithm,
    ImportRequest,
    Options,
    Owner,
    Priority,
    Skip,
    SubmittedBy,
    explain,
)
from fleet_common.scanning import SCAN
from fleet_common.settings import Settings
from fleet_common.storage import Share, Shares
from fleet_common.targets import parse_target
from fleet_producer.prepare import prepare
from fleet_producer.sending import How, Sender
from fleet_producer.spool import Spool, SpoolError
from fleet_producer.spoolfolder import spool_of

Statuses = Mapping[uuid.UUID, Status]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--share", "shares", multiple=True, metavar="NAME=DIR", help="Where a share is mounted here; repeatable.")
@click.option(
    "--target", required=True, help="OMERO's grammar: Screen:+name:X, Dataset:id:5, Project:name:P/Dataset:name:D."
)
@click.option("--user", required=True, help="OMERO user who shall own the data.")
@click.option("--group", required=True, help="OMERO group of the data; the user must be its member.")
@click.option("--lane", help="Lane to publish to.  [default: producer.lane, else the broker user]")
@click.option("--priority", type=click.Choice([str(one) for one in Priority]), default="normal", show_default=True)
@click.option("--batch", help="Name that keeps these requests together.  [default: host and time]")
@click.option("--name", help="Name of plate or image in OMERO.  [default: as OMERO's importer names it]")
@click.option("--description", help="Description of plate or image in OMERO.")
@click.option(
    "--checksum-algorithm", type=click.Choice([str(one) for one in ChecksumAlgorithm]), help="As omero import."
)
@click.option("--skip", multiple=True, type=click.Choice([*map(str, Skip), "all"]), help="As omero import; repeatable.")
@click.option("--parallel-upload", type=int, help="At most this many files of one request in flight.")
@click.option("--again", is_flag=True, help="Import once more what was imported before.")
@click.option(
    "--partial", is_flag=True, help="Import a plate without the files that it lacks; recorded with your name."
)
@click.option("--dry-run", is_flag=True, help="Check everything, publish nothing.")
@click.option("--wait", is_flag=True, help="Follow until every outcome is known, and exit by it.")
@click.option(
    "--timeout", "timeout_seconds", type=float, default=86400.0, show_default=True, help="Seconds for --wait."
)
@click.option(
    "--deadline",
    "deadline_seconds",
    type=float,
    default=60.0,
    show_default=True,
    help="Seconds to reach the broker and for each confirm.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def submit(context: Context, /, paths: tuple[Path, ...], **given: Any) -> int:
    """Check plates and images and publish one import request for each PATH.

    PATH is a plate's folder, its entry file, or a single image. All are checked before the first is published: when
    one is not fit, nothing is published (exit 3). Without a confirm in time (exit 4) or without a broker (exit 5) the
    same command may safely be repeated: the same files for the same owner are imported once.

    Any other folder, of 10,000 files at most, becomes one request for a scan: a worker looks with Bio-Formats what it
    holds, and publishes an import request for each image and plate, in the same batch. Then --wait waits for the scan
    alone; omero-fleet status --batch shows the rest.

    A plate that lacks files is refused. With --partial it is imported without them, and OMERO shows blank planes in
    their place: that somebody decided so is written into the request and beside the plate in OMERO.

    Every request is kept in the spool (producer.spool, see omero-fleet spool --help) from before it is published until
    --wait has seen its outcome, so that it outlives this host's and the broker's accidents.

    \b
    Examples:
      omero-fleet submit /data/plate1 --share hcs=/data --target 'Screen:+name:My screen' \
          --user alice --group screening --wait
      omero-fleet submit /data/plate2 --target 'Screen:+name:My screen' --user alice --group screening --partial
      omero-fleet submit *.tif --target Dataset:+name:Tuesday --user alice --group screening --batch tuesday --json
    """
    settings = context.settings()
    how = How(given["deadline_seconds"], given["wait"], given["timeout_seconds"])
    order = _order(settings, given)
    prepared = _prepare_all(paths, _shares(settings, given["shares"]), order)
    if prepared is None:
        return Exit.REFUSED
    requests = [one.request for one in prepared]
    if given["dry_run"]:
        _print_requests(requests, {}, "checked", as_json=given["as_json"])
        return Exit.OK
    return _publish(settings, requests, how, as_json=given["as_json"])


def _order(settings: Settings, given: dict[str, Any]) -> Order:
    lane = given["lane"] or settings.producer.lane or settings.broker.user
    default_batch = f"{settings.producer.host} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    skip = tuple(Skip) if "all" in given["skip"] else tuple(Skip(word) for word in given["skip"])
    algorithm = given["checksum_algorithm"]
    try:
        return Order(
            owner=Owner(user=given["user"], group=given["group"]),
            target=_target(given["target"]),
            lane=lane,
            priority=Priority(given["priority"]),
            batch=Batch(id=uuid.uuid4(), name=given["batch"] or default_batch),
            submitted_by=SubmittedBy(
                host=settings.producer.host, instrument=settings.producer.instrument, person=_person()
            ),
            options=Options(
                name=given["name"],
                description=given["description"],
                checksum_algorithm=ChecksumAlgorithm(algorithm) if algorithm else None,
                skip=skip,
                parallel_upload=given["parallel_upload"],
            ),
            nonce=uuid.uuid4().hex if given["again"] else "",
            partial_by=(_person() or settings.producer.host) if given["partial"] else "",
        )
    except pydantic.ValidationError as error:
        raise UsageError(explain(error)) from error


def _target(text: str) -> str:
    try:
        parse_target(text)
    except ValueError as error:
        raise UsageError(f"--target: {error}") from error
    return text


def _person() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A container may run under a number that has no name, and Windows has no module for it.
        return None


def _shares(settings: Settings, flags: Sequence[str]) -> Shares:
    named = dict(settings.shares)
    for flag in flags:
        name, separator, folder = flag.partition("=")
        if not (name and separator and folder):
            raise UsageError(f"--share wants NAME=DIR, not {flag!r}")
        named[name] = Path(folder)
    if not named:
        raise UsageError("no share is known: name one with --share NAME=DIR, or give shares in the settings")
    return Shares(Share(name, folder) for name, folder in named.items())


def _prepare_all(paths: Sequence[Path], shares: Shares, order: Order) -> list[Prepared] | None:
    """All requests, or None when at least one path is not fit; every problem is told, not only the first."""
    prepared: list[Prepared] = []
    refused = 0
    for path in paths:
        try:
            prepared.append(prepare(path, shares, order, lambda: datetime.now(UTC)))
            _tell_of_scan(path, prepared[-1].request)
        except RequestError as error:
            refused += 1
            click.echo(f"{path}: {error.reason}: {error}. {error.rule.next_action}", err=True)
        except pydantic.ValidationError as error:
            raise UsageError(explain(error)) from error
    if refused:
        click.echo(f"{refused} of {len(paths)} are not fit for import; nothing was published", err=True)
        return None
    return prepared


def _tell_of_scan(path: Path, request: ImportRequest) -> None:
    """A plate whose index is not there yet is such a folder, too: nobody shall take its scan for the plate."""
    if request.source.format == SCAN:
        files = request.source.manifest.files
        click.echo(f"{path}: no plate of a known format; a worker looks what its {files} files are (scan)", err=True)


def _publish(settings: Settings, requests: Sequence[ImportRequest], how: How, *, as_json: bool) -> int:
    spool = spool_of(settings)
    sender = Sender(settings, spool, how)
    try:
        entries = spool.add(requests)
    except SpoolError as error:
        click.echo(f"omero-fleet: {error}. Nothing was published.", err=True)
        return Exit.NOT_KEPT
    with sender:
        sender.publish(entries)
        if not sender.failures:
            sender.wait()
    if sender.published or not sender.failures:
        _print_requests([entry.request for entry in sender.published], sender.outcomes.statuses, as_json=as_json)
    _explain_failures(sender, len(entries), spool)
    return sender.exit_code()


def _explain_failures(sender: Sender, count: int, spool: Spool) -> None:
    for error in sender.failures:
        click.echo(
            f"omero-fleet: {error}. The same command may safely be repeated: nothing is imported twice. "
            f"({len(sender.published)} of {count} requests were published) The others stay in the spool "
            f"{spool.folder}: omero-fleet spool resend publishes them, omero-fleet spool drop forgets them.",
            err=True,
        )


def _print_requests(
    requests: Sequence[ImportRequest], statuses: Statuses, state: str = "accepted", *, as_json: bool
) -> None:
    rows = [row_of(one, statuses.get(one.request_id), state) for one in requests]
    if as_json:
        click.echo(json.dumps({"requests": rows}, indent=2))
        return
    for row, one in zip(rows, requests, strict=True):
        status = statuses.get(one.request_id)
        click.echo(
            f"{row['request_id']} {row['state']} {row['source']} {render.detail(status) if status else ''}".rstrip()
        )


def row_of(request: ImportRequest, status: Status | None, state: str) -> dict[str, Any]:
    """What a program is told of a request; its status where there is one, else the state."""
    row: dict[str, Any] = {
        "request_id": str(request.request_id),
        "source": f"{request.source.share}/{request.source.path}",
        "format": request.source.format,
        "lane": request.lane,
        "batch": request.batch.model_dump(mode="json"),
        "files": request.source.manifest.files,
        "bytes": request.source.manifest.bytes,
        "state": state,
    }
    if request.source.partial is not None:
        row["missing"] = request.source.partial.missing
    if status is not None:
        row |= {"state": str(status.state), "status": status.model_dump(mode="json", exclude_none=True)}
    return row

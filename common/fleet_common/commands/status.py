"""``omero-fleet status`` and ``omero-fleet follow``: where a plate is, from the event log."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import click
import pydantic

from fleet_common import render
from fleet_common.broker import EventReader
from fleet_common.cli import Context
from fleet_common.connect import broker_address
from fleet_common.errors import UsageError
from fleet_common.events import FINAL, SUCCEEDED, Event, Fold, Kind, Status, encode_event, fold_all, roll_up
from fleet_common.exits import Exit

_STATUS_LIST = pydantic.TypeAdapter(list[Status])


@click.command()
@click.argument("requests", nargs=-1, metavar="[REQUEST]...")
@click.option("--batch", help="Only requests of this batch: its name or id.")
@click.option("--lane", help="Only requests of this lane.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_obj
def status(
    context: Context, /, requests: tuple[str, ...], batch: str | None, lane: str | None, *, as_json: bool
) -> int:
    """Show where requests and batches are, and why, and what to do next.

    REQUEST is a request id or its beginning. Reads the whole event log, so it needs a broker account that may:
    an operator's.

    \b
    Examples:
      omero-fleet status
      omero-fleet status --batch tuesday
      omero-fleet status 0d2f4c31 --json
    """
    with EventReader(broker_address(context.settings().broker)) as reader:
        known = fold_all(reader.read_all()).values()
    chosen = [one for one in known if matches(one, requests, batch, lane)]
    if as_json:
        click.echo(_STATUS_LIST.dump_json(chosen, indent=2, exclude_none=True).decode())
    else:
        lines = [line for one in chosen for line in render.status_lines(one)]
        click.echo("\n".join([*lines, render.roll_up_line(roll_up(chosen))]))
    return Exit.OK if chosen or not (requests or batch) else Exit.NOT_FOUND


def matches(one: Status, requests: tuple[str, ...], batch: str | None, lane: str | None) -> bool:
    """Whether a status is asked for; no condition means all."""
    wanted = not requests or any(str(one.request_id).startswith(text.lower()) for text in requests)
    in_batch = batch is None or (one.batch is not None and batch in {one.batch.name, str(one.batch.id)})
    return wanted and in_batch and lane in {None, one.lane}


@click.command()
@click.argument("request", metavar="REQUEST")
@click.option("--timeout", "timeout_seconds", type=float, default=86400.0, show_default=True, help="Seconds to wait.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON event a line.")
@click.pass_obj
def follow(context: Context, /, request: str, timeout_seconds: float, *, as_json: bool) -> int:
    """Follow one request, from its first event in the log until its outcome.

    Ends with 0 when it was imported, 6 when it is dead or cancelled, 7 when the time is up.

    \b
    Examples:
      omero-fleet follow 0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b
      omero-fleet follow 0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b --json
    """
    wanted = _request_id(request)
    state: Kind | None = None
    with EventReader(broker_address(context.settings().broker)) as reader:
        for event in _until_final(reader.follow("first", deadline_seconds=timeout_seconds), wanted):
            click.echo(encode_event(event).decode() if as_json else render.event_line(event))
            state = event.kind
    if state not in FINAL:
        return Exit.STILL_WAITING
    return Exit.OK if state in SUCCEEDED else Exit.DEAD


def _request_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise UsageError(f"{text!r} is no request id; omero-fleet status lists them") from None


def _until_final(events: Iterator[Event], wanted: uuid.UUID) -> Iterator[Event]:
    known: Fold | None = None
    for event in events:
        if event.request_id == wanted:
            known = known or Fold(event)
            known.add(event)
            yield event
            if known.status.is_final:
                return

"""``omero-fleet status`` and ``omero-fleet follow``: where a plate is, from the event log.

Both know a request by lane and id, as :func:`fleet_common.events.fold_all` does. ``follow`` looks at one lane: the one
that is named, or the only one that the log knows of the request; where there are several, somebody must choose. So no
other lane's producer can end a follow, or make it look elsewhere unnoticed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import click
import pydantic

from fleet_common import render
from fleet_common.broker import EventReader
from fleet_common.cli import Context
from fleet_common.commands.pauses import pause_lines
from fleet_common.commands.verifying import Asked, finding_line, verified
from fleet_common.connect import broker_address
from fleet_common.errors import UsageError
from fleet_common.events import SUCCEEDED, Event, Fold, Status, encode_event, fold_all, roll_up
from fleet_common.exits import Exit

_STATUS_LIST = pydantic.TypeAdapter(list[Status])


@click.command()
@click.argument("requests", nargs=-1, metavar="[REQUEST]...")
@click.option("--batch", help="Only requests of this batch: its name or id.")
@click.option("--lane", help="Only requests of this lane.")
@click.option("--verify", is_flag=True, help="Ask OMERO about requests that are not known to be imported.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_obj
def status(  # noqa: PLR0913  one for each option
    context: Context, /, requests: tuple[str, ...], batch: str | None, lane: str | None, *, verify: bool, as_json: bool
) -> int:
    """Show where requests and batches are, and why, and what to do next.

    REQUEST is a request id or its beginning. A request that several lanes tell of is shown once for each. Reads the
    whole event log, so it needs a broker account that may: an operator's.

    The last events can be lost with a node of the broker. --verify asks OMERO about every chosen request that is not
    known to be imported, tells the event log the outcomes that it lacks, and says on standard error what it found. A
    whole request id, or a batch, need not be in the event log. It needs OMERO's service account in the settings.

    \b
    Examples:
      omero-fleet status
      omero-fleet status --batch tuesday
      omero-fleet status 0d2f4c31 --json
      omero-fleet status --batch tuesday --verify
    """
    settings = context.settings()
    broker = settings.broker
    with EventReader(broker_address(broker)) as reader:
        known = fold_all(reader.read_all())
    found = {key: one for key, one in known.items() if matches(one, requests, batch, lane)}
    if verify:
        found, findings = verified(settings, known, found, Asked(requests, batch, lane))
        for finding in findings:
            click.echo(finding_line(finding), err=True)
    chosen = list(found.values())
    if as_json:
        click.echo(_STATUS_LIST.dump_json(chosen, indent=2, exclude_none=True).decode())
    else:
        lines = [line for one in chosen for line in render.status_lines(one)]
        click.echo("\n".join([*lines, render.roll_up_line(roll_up(chosen)), *pause_lines(broker)]))
    return Exit.OK if chosen or not (requests or batch) else Exit.NOT_FOUND


def matches(one: Status, requests: tuple[str, ...], batch: str | None, lane: str | None) -> bool:
    """Whether a status is asked for; no condition means all."""
    wanted = not requests or any(str(one.request_id).startswith(text.lower()) for text in requests)
    in_batch = batch is None or (one.batch is not None and batch in {one.batch.name, str(one.batch.id)})
    return wanted and in_batch and lane in {None, one.lane}


@click.command()
@click.argument("request", metavar="REQUEST")
@click.option("--lane", help="The request's lane; needed when several lanes tell of it, or none does yet.")
@click.option("--timeout", "timeout_seconds", type=float, default=86400.0, show_default=True, help="Seconds to wait.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON event a line.")
@click.pass_obj
def follow(context: Context, /, request: str, lane: str | None, timeout_seconds: float, *, as_json: bool) -> int:
    """Follow one request, from its first event in the log until its outcome.

    Shows all that was told until now, then what is told from now on, unless the request has ended: one that died and
    was taken again goes on. Ends with 0 when it was imported, 6 when it is dead or cancelled, 7 when the time is up,
    10 when the log knows nothing of it and no lane is given.

    \b
    Examples:
      omero-fleet follow 0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b
      omero-fleet follow 0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b --lane phenix1 --json
    """
    wanted, deadline = _request_id(request), time.monotonic() + timeout_seconds
    with EventReader(broker_address(context.settings().broker)) as reader:
        told = list(_about(reader.read_all(), wanted, lane))
        lane = lane or only_lane(told)
        if lane is None:
            click.echo(f"the event log knows nothing of {wanted}; name its lane with --lane to wait for it", err=True)
            return Exit.NOT_FOUND
        live = _about(_from_there(reader, deadline - time.monotonic()), wanted, lane)
        outcome = until_final(told, live, _json if as_json else render.event_line)
    if outcome is None or not outcome.is_final:
        return Exit.STILL_WAITING
    return Exit.OK if outcome.state in SUCCEEDED else Exit.DEAD


def only_lane(told: Iterable[Event]) -> str | None:
    """The lane of these events of one request; None when there is no event.

    Raises:
        UsageError: There are several.
    """
    lanes = sorted({event.lane for event in told})
    if len(lanes) > 1:
        raise UsageError(f"the lanes {', '.join(lanes)} tell of this request: name one with --lane")
    return lanes[0] if lanes else None


def until_final(told: Sequence[Event], live: Iterator[Event], line: Callable[[Event], str]) -> Status | None:
    """Print what was told, and then what is told, until the request has ended; its status, None without any event."""
    known: Fold | None = None
    for number, event in enumerate(chain(told, live), start=1):
        click.echo(line(event))
        known = known or Fold(event)
        known.add(event)
        if number >= len(told) and known.status.is_final:
            break
    return known.status if known else None


def _from_there(reader: EventReader, deadline_seconds: float) -> Iterator[Event]:
    start = reader.next_offset
    return reader.follow("first" if start is None else start, deadline_seconds=max(0.0, deadline_seconds))


def _about(events: Iterable[Event], wanted: uuid.UUID, lane: str | None) -> Iterator[Event]:
    return (event for event in events if event.request_id == wanted and lane in {None, event.lane})


def _json(event: Event) -> str:
    return encode_event(event).decode()


def _request_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise UsageError(f"{text!r} is no request id; omero-fleet status lists them") from None

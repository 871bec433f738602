"""``omero-fleet cancel``, ``pause`` and ``resume``: orders to all workers through the control log.

``cancel`` gives the order first. Then it tells the end of every chosen request that waits itself, so that its status is
right at once, also for one that comes back from a retry tier in hours: the worker that meets it then says it again.
"""

from __future__ import annotations

import getpass
import json
import socket
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import click
import pydantic

from fleet_common.broker import (
    EventReader,
    Publisher,
    PublishRefused,
    PublishTimeout,
    PublishUnroutable,
    publish_order,
)
from fleet_common.broker.streams import Start
from fleet_common.cli import Context
from fleet_common.commands.cancelling import Board, Cancelling
from fleet_common.commands.choosing import Choice, NothingFoundError, choose
from fleet_common.connect import broker_address, broker_names
from fleet_common.control import Order, Verb
from fleet_common.errors import UsageError
from fleet_common.exits import Exit
from fleet_common.messages import explain
from fleet_common.settings import BrokerSettings

_STOP_SECONDS: Final = 5.0
_MOST_OF_A_NAME: Final = 120

_why = click.option("--why", help="A sentence for status, logs and whoever wonders.")
_all_lanes = click.option("--all", "everything", is_flag=True, help="All lanes, also those that do not exist yet.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.argument("requests", nargs=-1, metavar="[REQUEST]...")
@click.option("--batch", help="All requests of this batch, also later ones: its name or id.")
@click.option("--lane", help="Only what this lane tells of; needed when several lanes have a batch of that name.")
@click.option("--undo", is_flag=True, help="Take a cancel back.")
@_why
@click.option("--wait", is_flag=True, help="Wait until no worker is at any of them.")
@click.option("--timeout", "timeout_seconds", type=float, default=600.0, show_default=True, help="Seconds for --wait.")
@_as_json
@click.pass_obj
def cancel(context: Context, /, requests: tuple[str, ...], **given: Any) -> int:
    """Cancel requests that wait or are in work; what was imported stays.

    REQUEST is a request id or its unique beginning. A worker that is at a request stops at its next check, removes what
    it sent and settles it; one that waits, even for a late retry, is settled when its turn comes. The order stands
    until it is taken back: to import the same files all the same, use submit --again, or first cancel --undo.

    Ends with 11 when at least one was imported before; with 10, and nothing cancelled, when the event log knows nothing
    of one; with 7 when the time of --wait is up. Needs an operator's broker account.

    \b
    Examples:
      omero-fleet cancel 0d2f4c31 --why 'wrong plate' --wait
      omero-fleet cancel --batch tuesday
      omero-fleet cancel --batch tuesday --undo
    """
    if given["undo"] and given["wait"]:
        raise UsageError("--undo has nothing to wait for")
    verb = Verb.UNCANCEL if given["undo"] else Verb.CANCEL
    settings, board = context.settings().broker, Board()
    with EventReader(broker_address(settings), broker_names(settings)) as reader:
        board.add_all(reader.read_all())
        try:
            choice = choose(board.statuses, requests, given["batch"], given["lane"])
        except NothingFoundError as error:
            click.echo(f"omero-fleet: {error}; nothing was done", err=True)
            return Exit.NOT_FOUND
        orders = _orders(verb, given["why"], choice)
        return _giving(settings, lambda publisher: _cancel(publisher, reader, (board, choice, orders), given))


def _cancel(
    publisher: Publisher, reader: EventReader, what: tuple[Board, Choice, Sequence[Order]], given: dict[str, Any]
) -> Exit:
    board, choice, orders = what
    for order in orders:
        publish_order(publisher, order)
    # What workers did meanwhile is known now; whatever they take from here on, they know the order.
    board.add_all(reader.read_all(_place(reader)))
    tell = partial(publisher.publish_event, required=True)
    cancelling = Cancelling(board, choice, orders[0], tell, lambda: datetime.now(UTC))
    cancelling.look_at_all()
    if given["wait"]:
        for event in reader.follow(
            _place(reader), stop=lambda: not cancelling.in_work, deadline_seconds=given["timeout_seconds"]
        ):
            cancelling.hear(event)
    if given["as_json"]:
        click.echo(json.dumps({"orders": [_row(one) for one in orders], "requests": list(cancelling.rows())}, indent=2))
    else:
        click.echo("\n".join(cancelling.lines()))
    return cancelling.exit_code(waited=given["wait"])


def _place(reader: EventReader) -> Start:
    return "first" if reader.next_offset is None else reader.next_offset


def _orders(verb: Verb, why: str | None, choice: Choice) -> list[Order]:
    """One order for each request and batch that was named."""
    return [
        *(_order(verb, why, request_id=one) for one in choice.request_ids),
        *(_order(verb, why, batch_id=one) for one in choice.batch_ids),
    ]


@click.command()
@click.argument("lanes", nargs=-1, metavar="[LANE]...")
@_all_lanes
@_why
@_as_json
@click.pass_obj
def pause(context: Context, /, lanes: tuple[str, ...], **given: Any) -> int:
    """Have workers take nothing more from lanes; what they are at goes on.

    A pause survives restarts of workers and broker, and lasts until resume. omero-fleet status shows it. Needs an
    operator's broker account.

    \b
    Examples:
      omero-fleet pause phenix1 --why 'the instrument is being moved'
      omero-fleet pause --all
    """
    return _about_lanes(context.settings().broker, Verb.PAUSE, lanes, given)


@click.command()
@click.argument("lanes", nargs=-1, metavar="[LANE]...")
@_all_lanes
@_why
@_as_json
@click.pass_obj
def resume(context: Context, /, lanes: tuple[str, ...], **given: Any) -> int:
    """Have workers take from lanes again.

    The latest order that concerns a lane counts: a lane that is resumed after --all was paused goes on alone, and
    --all resumes those too that were paused by name. Needs an operator's broker account.

    \b
    Examples:
      omero-fleet resume phenix1
      omero-fleet resume --all
    """
    return _about_lanes(context.settings().broker, Verb.RESUME, lanes, given)


def _about_lanes(settings: BrokerSettings, verb: Verb, lanes: tuple[str, ...], given: dict[str, Any]) -> int:
    if bool(lanes) == given["everything"]:
        raise UsageError("name lanes, or all of them with --all")
    order = _order(verb, given["why"], lanes=tuple(dict.fromkeys(lanes)), everything=given["everything"])
    code = _giving(settings, lambda publisher: publish_order(publisher, order))
    if code == Exit.OK:
        click.echo(json.dumps(_row(order), indent=2) if given["as_json"] else f"{_named(order)}: {order.text}")
    return code


def _named(order: Order) -> str:
    plural = "s" if len(order.lanes) > 1 else ""
    return "all lanes" if order.everything else f"lane{plural} {', '.join(order.lanes)}"


def _giving(settings: BrokerSettings, act: Callable[[Publisher], Exit | None]) -> Exit:
    """Do something with a publisher; the exit code is 0, or says why the broker did not take the order."""
    publisher = Publisher(broker_address(settings), broker_names(settings))
    publisher.start()
    try:
        return act(publisher) or Exit.OK
    except PublishTimeout as error:
        click.echo(f"omero-fleet: {error}", err=True)
        return Exit.NOT_CONFIRMED
    except (PublishRefused, PublishUnroutable) as error:
        click.echo(f"omero-fleet: {error}. Orders need the broker account of an operator.", err=True)
        return Exit.NOT_PUBLISHED
    finally:
        publisher.stop(_STOP_SECONDS)


def _order(verb: Verb, why: str | None, **about: Any) -> Order:
    try:
        return Order(order_id=uuid.uuid4(), verb=verb, at=datetime.now(UTC), by=_who(), why=why, **about)
    except pydantic.ValidationError as error:
        raise UsageError(explain(error)) from error


def _who() -> str:
    """``person@host``, in characters that an order may hold."""
    try:
        person = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        person = "somebody"
    return f"{_plain(person)}@{_plain(socket.gethostname())}"


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter.isprintable())[:_MOST_OF_A_NAME]


def _row(order: Order) -> dict[str, Any]:
    return order.model_dump(mode="json", exclude_none=True)

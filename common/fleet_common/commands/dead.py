"""``omero-fleet dead``: look at the requests that were given up, put them back, or remove them for ever.

Every command holds the whole queue while it runs, so two operators cannot settle one letter twice; what is not settled
goes back into its place. The order of settling is: copy confirmed, event confirmed, letter removed. A crash in between
leaves a letter whose request runs again, and running it twice imports it once; never a loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click

from fleet_common import deadview
from fleet_common.broker import BrokerUnavailable, DeadQueue, Link, Publisher
from fleet_common.cli import Context
from fleet_common.commands.deadwork import Desk, Report, now, operator_of, put_back_all, remove_all
from fleet_common.connect import broker_address, broker_names
from fleet_common.dead import DeadLetter, Filter, Held, gather, read_letter
from fleet_common.durations import parse_duration
from fleet_common.errors import UsageError
from fleet_common.exits import Exit
from fleet_common.replays import CHANGEABLE, Replay, parse_changes, plan
from fleet_common.settings import Settings

_CONNECT_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0
_UNROUTABLE_SECONDS: Final = 5.0
"""Somebody waits; longer than RabbitMQ 3.10 needs after its own start, see docs/reference/broker.md."""
_PROGRESS_EVERY: Final = 1000
_SHOWN: Final = 20
"""Rows before the question of ``drop``."""
_Command = TypeVar("_Command", bound=Callable[..., Any])

_FILTERS: Final = (
    click.option("--lane", help="Only requests that came through this lane."),
    click.option("--batch", help="Only requests of this batch: its name or id."),
    click.option("--reason", help="Only requests that died of this, for example target-not-found."),
    click.option("--older-than", metavar="TIME", help="Only those that died at least so long ago: 90s, 2h, 3d."),
    click.option("--newer-than", metavar="TIME", help="Only those that died at most so long ago."),
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
_all = click.option("--all", "all_letters", is_flag=True, help="All dead letters: needed when nothing else is named.")
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_requests = click.argument("requests", nargs=-1, metavar="[REQUEST]...")


def _filters(command: _Command) -> _Command:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group()
def dead() -> None:
    """List, show, replay or drop the requests that were given up."""


@dead.command("list")
@_requests
@_filters
@_as_json
@click.pass_obj
def list_(context: Context, /, requests: tuple[str, ...], *, as_json: bool, **given: Any) -> int:
    """List dead requests, the oldest first; all of them stay where they are.

    REQUEST is a request id or its beginning.

    \b
    Examples:
      omero-fleet dead list
      omero-fleet dead list --lane phenix1 --reason target-not-found --newer-than 3d
      omero-fleet dead list --json
    """
    settings, wanted = context.settings(), _filter(requests, given)
    with _dead_queue(settings) as queue:
        held = _read(queue, settings)
    chosen = [one.letter for one in _chosen(held, wanted)]
    if as_json:
        click.echo(json.dumps([deadview.summary(letter) for letter in chosen], indent=2))
    else:
        click.echo("\n".join(deadview.table(chosen)))
    return Exit.NOT_FOUND if _misses(held, wanted) else Exit.OK


@dead.command()
@click.argument("request", metavar="REQUEST")
@_as_json
@click.pass_obj
def show(context: Context, /, request: str, *, as_json: bool) -> int:
    """Show everything about a dead request: why it died, what to do, the server's log, and its body.

    REQUEST is a request id or its beginning. The letter stays where it is.

    \b
    Examples:
      omero-fleet dead show 0d2f4c31
      omero-fleet dead show 0d2f4c31 --json
    """
    settings, wanted = context.settings(), _filter((request,), {})
    with _dead_queue(settings) as queue:
        held = _read(queue, settings)
    if _misses(held, wanted):
        return Exit.NOT_FOUND
    letters = [one.letter for one in _chosen(held, wanted)]
    if as_json:
        click.echo(json.dumps([deadview.full(letter) for letter in letters], indent=2))
    else:
        click.echo("\n\n".join("\n".join(deadview.full_text(letter)) for letter in letters))
    return Exit.OK


@dead.command()
@_requests
@_filters
@_all
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help=f"Change {', '.join(CHANGEABLE)}; repeatable."
)
@_dry_run
@_as_json
@click.pass_obj
def replay(
    context: Context,
    /,
    requests: tuple[str, ...],
    changes: tuple[str, ...],
    *,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Put dead requests back into their lanes, with no attempt counted.

    REQUEST is a request id or its beginning. Class, id and who submitted it stay; without --set the body stays byte for
    byte. All are checked before the first is put back. One that no lane takes stays dead (exit 5). The event log keeps
    who did it, and what was changed. When this command is cut off, repeat it: nothing is imported twice.

    \b
    Examples:
      omero-fleet dead replay 0d2f4c31 --set owner.group=screening --set 'target=Screen:+name:Assay 7'
      omero-fleet dead replay --reason share-unavailable --newer-than 1d
      omero-fleet dead replay --all --dry-run
    """
    settings, fields = context.settings(), parse_changes(changes)
    _check_user(settings)
    wanted = _some(_filter(requests, given), all_letters=given["all_letters"])
    report = Report("replayed", as_json=as_json, dry_run=dry_run)
    with _dead_queue(settings) as queue:
        held = _read(queue, settings)
        if _misses(held, wanted):
            return Exit.NOT_FOUND
        plans = _plan_all(_chosen(held, wanted), fields)
        if dry_run:
            return report.would(plans)
        with _desk(settings, queue) as desk:
            return put_back_all(desk, plans, report)


@dead.command()
@_requests
@_filters
@_all
@click.option("--yes", is_flag=True, help="Do not ask.")
@_dry_run
@_as_json
@click.pass_obj
def drop(
    context: Context, /, requests: tuple[str, ...], *, yes: bool, dry_run: bool, as_json: bool, **given: Any
) -> int:
    """Remove dead requests for ever; asks first.

    REQUEST is a request id or its beginning. The event log keeps who did it.

    \b
    Examples:
      omero-fleet dead drop 0d2f4c31
      omero-fleet dead drop --batch tuesday --reason file-empty --yes
      omero-fleet dead drop --older-than 90d --dry-run
    """
    settings = context.settings()
    wanted = _some(_filter(requests, given), all_letters=given["all_letters"])
    report = Report("dropped", as_json=as_json, dry_run=dry_run)
    with _dead_queue(settings) as queue:
        held = _read(queue, settings)
        if _misses(held, wanted):
            return Exit.NOT_FOUND
        plans = [Replay(one, one.letter.origin_key, b"") for one in _chosen(held, wanted)]
        if dry_run:
            return report.would(plans)
        if plans and not (yes or _agreed(plans)):
            return report.end(Exit.OK)
        with _desk(settings, queue) as desk:
            return remove_all(desk, plans, report)


def _agreed(plans: list[Replay]) -> bool:
    letters = [one.held.letter for one in plans]
    click.echo("\n".join(deadview.table(letters[:_SHOWN])), err=True)
    if len(letters) > _SHOWN:
        click.echo(f"... {deadview.count(len(letters))} in all", err=True)
    return click.confirm("Remove them for ever?", err=True)


def _filter(requests: tuple[str, ...], given: dict[str, Any]) -> Filter:
    if not all(requests):
        raise UsageError("an empty REQUEST would mean all of them; name a request, or use --all")
    older, newer = given.get("older_than"), given.get("newer_than")
    return Filter(
        requests=requests,
        lane=given.get("lane"),
        batch=given.get("batch"),
        reason=given.get("reason"),
        older_than=parse_duration(older) if older else None,
        newer_than=parse_duration(newer) if newer else None,
    )


def _some(wanted: Filter, *, all_letters: bool) -> Filter:
    if wanted.is_empty != all_letters:
        raise UsageError("name requests or a filter, or --all for all dead letters, not both")
    return wanted


def _check_user(settings: Settings) -> None:
    if settings.broker.user not in settings.worker.fleet_users:
        raise UsageError(
            f"the broker user {settings.broker.user!r} is none of worker.fleet_users "
            f"({', '.join(settings.worker.fleet_users)}): workers would take it for the one who submitted the requests"
        )


def _plan_all(chosen: list[Held], fields: Mapping[str, str]) -> list[Replay]:
    """Every problem is told, not only the first, and nothing is done."""
    plans, problems = [], []
    for one in chosen:
        try:
            plans.append(plan(one, fields))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join([*problems, "nothing was replayed"]))
    return plans


@contextmanager
def _dead_queue(settings: Settings) -> Iterator[DeadQueue]:
    link = Link(broker_address(settings.broker), role="consume")
    link.start()
    try:
        if not link.wait_connected(_CONNECT_SECONDS):
            raise BrokerUnavailable(f"no connection to {link.address}: {link.state.reason}")
        with DeadQueue(link, broker_names(settings.broker)) as queue:
            yield queue
    finally:
        link.stop(_STOP_SECONDS)


@contextmanager
def _desk(settings: Settings, queue: DeadQueue) -> Iterator[Desk]:
    names = broker_names(settings.broker)
    publisher = Publisher(broker_address(settings.broker), names, unroutable_grace_seconds=_UNROUTABLE_SECONDS)
    publisher.start()
    try:
        yield Desk(queue, publisher, operator_of(settings))
    finally:
        publisher.stop(_STOP_SECONDS)


def _read(queue: DeadQueue, settings: Settings) -> list[Held]:
    return gather(_with_progress(queue, settings.worker.fleet_users))


def _with_progress(queue: DeadQueue, fleet_users: tuple[str, ...]) -> Iterator[tuple[int, DeadLetter]]:
    for number, buried in enumerate(queue.read(), start=1):
        yield buried.tag, read_letter(buried, fleet_users)
        if number % _PROGRESS_EVERY == 0:
            click.echo(f"{number} dead letters read", err=True)


def _chosen(held: list[Held], wanted: Filter) -> list[Held]:
    moment = now()
    return [one for one in held if wanted.matches(one.letter, moment)]


def _misses(held: list[Held], wanted: Filter) -> bool:
    missing = wanted.unknown([one.letter for one in held])
    if missing:
        click.echo(f"no dead letter of {', '.join(missing)}; omero-fleet dead list shows all", err=True)
    return bool(missing)

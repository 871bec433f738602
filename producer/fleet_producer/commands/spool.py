"""``omero-fleet spool``: what this host keeps until its outcome is known; send it again, settle it, or drop it.

Role: the person's side of :mod:`fleet_producer.spool`. Neighbours: ``choosing`` says which requests are meant,
``sending`` publishes. Threading: the command's own thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from fleet_common.broker import EventReader
from fleet_common.cli import Context
from fleet_common.connect import broker_address
from fleet_common.exits import Exit
from fleet_producer.choosing import Choice, duration_seconds, ended, matches, show_age
from fleet_producer.sending import How, Sender
from fleet_producer.slips import Entry
from fleet_producer.spool import Spool, SpoolError, now_utc
from fleet_producer.spoolfiles import SetAside
from fleet_producer.spoolfolder import spool_of


class _SpoolGroup(click.Group):
    """Ends every subcommand alike when the disk fails."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except SpoolError as error:
            click.echo(f"omero-fleet: {error}", err=True)
            return Exit.NOT_KEPT


@click.group(cls=_SpoolGroup)
def spool() -> None:
    """Look after requests that this host keeps until their outcome is known.

    The spool is a folder: producer.spool in the settings, by default omero-fleet/spool/VHOST@HOST below
    $XDG_STATE_HOME, ~/.local/state, or on Windows %LOCALAPPDATA%. A request is `pending` before RabbitMQ has confirmed
    it, `sent` after that, and gone when its outcome is known. What could not be read lies in its folder `bad`.
    """


_WANTED = click.argument("requests", nargs=-1, metavar="[REQUEST]...")
_DEADLINE = click.option(
    "--deadline",
    "deadline_seconds",
    type=float,
    default=60.0,
    show_default=True,
    help="Seconds to reach the broker and for each confirm.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@spool.command("list")
@_WANTED
@_JSON
@click.pass_obj
def list_(context: Context, /, requests: tuple[str, ...], *, as_json: bool) -> int:
    """List requests, oldest first, and what was set aside with the reason.

    REQUEST is a request id or its beginning.

    \b
    Examples:
      omero-fleet spool list
      omero-fleet spool list 0d2f4c31 --json
    """
    kept = spool_of(context.settings())
    now = now_utc()
    entries = [entry for entry in kept.entries() if matches(entry.slip.name, requests)]
    aside = [one for one in kept.set_aside() if matches(one.name, requests)]
    if as_json:
        rows = [_row(entry, now) for entry in entries]
        _print({"folder": str(kept.folder), "requests": rows, "set_aside": [asdict(one) for one in aside]})
    else:
        click.echo(
            "\n".join([*(_line(entry, now) for entry in entries), *map(_aside_line, aside), _sum(kept, entries)])
        )
    return Exit.OK if entries or aside or not requests else Exit.NOT_FOUND


@spool.command()
@_WANTED
@click.option("--lane", help="Only requests of this lane: --wait needs the right to follow each lane.")
@click.option("--stale", is_flag=True, help="Also what was sent long ago and has no known outcome.")
@click.option(
    "--older-than",
    "older_than_seconds",
    type=duration_seconds,
    default="1d",
    show_default=True,
    metavar="DURATION",
    help="What long ago means: 90s, 30m, 12h, 1d.",
)
@click.option("--wait", is_flag=True, help="Follow until every outcome is known, and exit by it.")
@click.option(
    "--timeout", "timeout_seconds", type=float, default=86400.0, show_default=True, help="Seconds for --wait."
)
@_DEADLINE
@_JSON
@click.pass_obj
def resend(context: Context, /, requests: tuple[str, ...], **given: Any) -> int:
    """Publish again what is pending, and with --stale what a deleted queue may have lost.

    REQUEST, an id or its beginning, publishes that request whatever its state and age, with --stale only when it is
    pending or stale. Safe at any time: what was imported answers already-imported, and what still waits in a queue is
    imported once. With --wait, what gets an outcome leaves the spool. What is refused stays, and the rest goes on.

    \b
    Examples:
      omero-fleet spool resend
      omero-fleet spool resend --stale --older-than 12h --wait
      omero-fleet spool resend 0d2f4c31
    """
    settings = context.settings()
    kept = spool_of(settings)
    choice = Choice(requests, given["lane"], stale=given["stale"], older_than_seconds=given["older_than_seconds"])
    entries = kept.entries()
    chosen = choice.of(entries, now_utc())
    if requests and not choice.named(entries):
        return _nothing_found(requests)
    return _send(Sender(settings, kept, _how(given)), chosen, as_json=given["as_json"])


@spool.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_DEADLINE
@_JSON
@click.pass_obj
def retry(context: Context, /, names: tuple[str, ...], **given: Any) -> int:
    """Read again what was set aside, for instance after an upgrade, and publish what is whole.

    NAME is the name of a file in the folder `bad` or its beginning; without one all of them are read.

    \b
    Examples:
      omero-fleet spool retry
      omero-fleet spool retry 0d2f4c31
    """
    settings = context.settings()
    kept = spool_of(settings)
    aside = [one for one in kept.set_aside() if matches(one.name, names)]
    if names and not aside:
        return _nothing_found(names)
    restored = [entry for one in aside for entry in kept.restore(one.name)]
    for one in kept.set_aside():
        click.echo(_aside_line(one), err=True)
    return _send(Sender(settings, kept, _how(given | {"wait": False})), restored, as_json=given["as_json"])


@spool.command()
@_JSON
@click.pass_obj
def settle(context: Context, /, *, as_json: bool) -> int:
    """Remove what has its outcome, by the event log: needs a broker account that may read it, an operator's.

    \b
    Examples:
      omero-fleet --config operator.toml spool settle
    """
    settings = context.settings()
    kept = spool_of(settings)
    entries = kept.entries()
    with EventReader(broker_address(settings.broker)) as reader:
        known = ended(reader.read_all()) if entries else {}
    rows = []
    for entry in entries:
        state = known.get((entry.request.lane, entry.request_id))
        if state is not None:
            kept.remove(entry)
            rows.append({"request_id": str(entry.request_id), "source": source_of(entry), "state": str(state)})
    if as_json:
        _print({"settled": rows, "left": len(entries) - len(rows)})
    else:
        lines = [f"{row['request_id']} {row['state']} {row['source']}" for row in rows]
        click.echo("\n".join([*lines, f"{len(rows)} settled, {len(entries) - len(rows)} left"]))
    return Exit.OK


@spool.command()
@click.argument("requests", nargs=-1, required=True, metavar="REQUEST...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def drop(context: Context, /, requests: tuple[str, ...], *, yes: bool) -> int:
    """Forget requests, or files that were set aside. What RabbitMQ holds of them goes on: omero-fleet cancel stops it.

    REQUEST is a request id or its beginning, or the name of a file in the folder `bad`.

    \b
    Examples:
      omero-fleet spool drop 0d2f4c31
      omero-fleet spool drop 0d2f4c31 7f8b1c60 --yes
    """
    kept = spool_of(context.settings())
    now = now_utc()
    entries = [entry for entry in kept.entries() if matches(entry.slip.name, requests)]
    aside = [one for one in kept.set_aside() if matches(one.name, requests)]
    if not (entries or aside):
        return _nothing_found(requests)
    click.echo("\n".join([*(_line(entry, now) for entry in entries), *map(_aside_line, aside)]))
    if not yes:
        click.confirm(f"Forget {len(entries) + len(aside)} of {kept.folder}?", abort=True, err=True)
    for entry in entries:
        kept.remove(entry)
    for one in aside:
        kept.drop_aside(one.name)
    return Exit.OK


def source_of(entry: Entry) -> str:
    """Share and path of the entry file."""
    return f"{entry.request.source.share}/{entry.request.source.path}"


def _how(given: dict[str, Any]) -> How:
    return How(given["deadline_seconds"], given["wait"], given.get("timeout_seconds", 0.0))


def _send(sender: Sender, chosen: Sequence[Entry], *, as_json: bool) -> int:
    if chosen:
        with sender:
            sender.publish(chosen)
            for error in sender.failures:
                click.echo(f"omero-fleet: {error}. What was not published stays in the spool.", err=True)
            sender.wait()
    now = now_utc()
    rows = [_row(entry, now) | _status(sender, entry) for entry in sender.published]
    if as_json:
        _print({"requests": rows, "left": len(chosen) - len(rows)})
    else:
        lines = [f"{row['request_id']} {row['state']} {row['source']}" for row in rows]
        click.echo("\n".join([*lines, f"{len(rows)} of {len(chosen)} published"]))
    return sender.exit_code() if chosen else Exit.OK


def _status(sender: Sender, entry: Entry) -> dict[str, Any]:
    status = sender.outcomes.statuses.get(entry.request_id)
    return {} if status is None else {"state": str(status.state)}


def _row(entry: Entry, now: datetime) -> dict[str, Any]:
    return {
        "request_id": str(entry.request_id),
        "state": str(entry.slip.state),
        "age_seconds": round(entry.age_seconds(now), 3),
        "sent_at": entry.slip.sent_at.isoformat() if entry.slip.sent_at else None,
        "lane": entry.request.lane,
        "priority": str(entry.request.priority),
        "batch": entry.request.batch.model_dump(mode="json"),
        "source": source_of(entry),
    }


def _line(entry: Entry, now: datetime) -> str:
    words = [str(entry.request_id), str(entry.slip.state), show_age(entry.age_seconds(now))]
    return "  ".join([*words, f"lane {entry.request.lane}", source_of(entry)])


def _aside_line(one: SetAside) -> str:
    return f"{one.name}  set aside  {one.reason}"


def _sum(kept: Spool, entries: Sequence[Entry]) -> str:
    pending = sum(entry.slip.sent_at is None for entry in entries)
    return f"{kept.folder}: {pending} pending, {len(entries) - pending} sent"


def _print(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def _nothing_found(wanted: Sequence[str]) -> Exit:
    click.echo(f"omero-fleet: the spool knows nothing of {', '.join(wanted)}; see omero-fleet spool list", err=True)
    return Exit.NOT_FOUND

"""Settles dead letters one by one, and reports what came of each; the ``dead`` commands decide which.

::

    replay   copy confirmed ─ event confirmed ─ letter removed
    drop     event confirmed ─ letter removed
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import click

from fleet_common.broker import BrokerFailure, DeadQueue, Publisher, PublishRefused, PublishTimeout, PublishUnroutable
from fleet_common.deadview import count, visible
from fleet_common.events import Event
from fleet_common.exits import Exit
from fleet_common.replays import Replay, copy_of, drop_events, replay_events
from fleet_common.settings import Settings

_PROGRESS_EVERY: Final = 100


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


def operator_of(settings: Settings) -> str:
    """Who does this, for the audit: ``person@host``."""
    try:
        person = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        person = settings.broker.user
    return f"{person}@{settings.producer.host}"


@dataclass(frozen=True, slots=True)
class Desk:
    """What an operator settles dead letters with."""

    queue: DeadQueue
    publisher: Publisher
    who: str

    def tell_and_remove(self, one: Replay, events: Sequence[Event]) -> None:
        """Tell for certain, then take the letters out."""
        for event in events:
            self.publisher.publish_event(event, required=True)
        self.queue.remove(one.held.tags)


@dataclass
class Report:
    """What was done, as it is printed at the end.

    Attributes:
        done: In one word.
        as_json: Whether for a program.
        dry_run: Whether nothing was really done.
    """

    done: str
    as_json: bool
    dry_run: bool = False
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def would(self, plans: Sequence[Replay]) -> Exit:
        """Say what would be done."""
        for one in plans:
            self.add(one)
        return self.end(Exit.OK)

    def add(self, one: Replay, error: str | None = None) -> None:
        """Note what came of one letter."""
        changes = [{"field": change.field, "from": change.before, "to": change.after} for change in one.changes]
        row = {"name": one.held.letter.name, "key": one.key, "state": "dead" if error else self._word()}
        self._rows.append(
            row | {"letters": len(one.held.tags), "changes": changes} | ({"error": error} if error else {})
        )
        if len(self._rows) % _PROGRESS_EVERY == 0:
            click.echo(f"{len(self._rows)} settled", err=True)

    def end(self, code: Exit) -> Exit:
        """Print everything; the exit code is passed on."""
        if self.as_json:
            click.echo(json.dumps(self._rows, indent=2))
            return code
        for row in self._rows:
            changes = "; ".join(f"{one['field']} from {one['from']!r} to {one['to']!r}" for one in row["changes"])
            words = (row["name"], row["state"], row["key"], changes, row.get("error", ""))
            click.echo(visible("  ".join(word for word in words if word)))
        settled = sum("error" not in row for row in self._rows)
        click.echo(f"{count(settled)} {self._word()}" if settled else f"nothing {self._word()}")
        return code

    def _word(self) -> str:
        return f"would be {self.done}" if self.dry_run else self.done


def put_back_all(desk: Desk, plans: Sequence[Replay], report: Report) -> Exit:
    """Replay one after the other; one that no lane takes stays, and the others go on."""
    refused: dict[str, str] = {}
    try:
        for one in plans:
            # Each unroutable message costs seconds, and the next one with the same key would be no luckier.
            if one.key not in refused:
                _put_back(desk, one, refused)
            report.add(one, refused.get(one.key))
    except BrokerFailure as error:
        return _cut_off(error, report)
    finally:
        desk.publisher.ring()
    return report.end(Exit.NOT_PUBLISHED if refused else Exit.OK)


def _put_back(desk: Desk, one: Replay, refused: dict[str, str]) -> None:
    # Made first: a worker that takes the copy at once must tell later numbers than this.
    events = replay_events(one, desk.who, now())
    try:
        desk.publisher.publish(copy_of(one, desk.publisher.names, desk.who))
    except (PublishUnroutable, PublishRefused) as error:
        refused[one.key] = str(error)
        return
    desk.tell_and_remove(one, events)


def remove_all(desk: Desk, plans: Sequence[Replay], report: Report) -> Exit:
    """Drop one after the other."""
    try:
        for one in plans:
            desk.tell_and_remove(one, drop_events(one.held.letter, desk.who, now()))
            report.add(one)
    except BrokerFailure as error:
        return _cut_off(error, report)
    return report.end(Exit.OK)


def _cut_off(error: BrokerFailure, report: Report) -> Exit:
    report.end(Exit.OK)
    click.echo(f"omero-fleet: {error}. The others stay dead; the same command may safely be repeated.", err=True)
    return Exit.NOT_CONFIRMED if isinstance(error, PublishTimeout) else Exit.NOT_PUBLISHED

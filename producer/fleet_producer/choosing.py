"""Which requests of the spool a person means, and which have come to their end: pure functions, no I/O."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import click

from fleet_common.errors import UsageError
from fleet_common.events import FINAL, SUCCEEDED, Event, Fold, Kind
from fleet_producer.slips import Entry

_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_LEAST_CHARACTERS: Final = 4
_BEGINS_ANEW: Final = frozenset({Kind.ACCEPTED, Kind.REPLAYED})


def duration_seconds(text: str) -> float:
    """A duration on the command line: a number with its unit.

    Raises:
        BadParameter: It is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration: write 90s, 30m, 12h or 1d")
    return float(found[1]) * _SECONDS[found[2]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be sent again.

    Attributes:
        wanted: Request ids or their beginnings; none means all.
        lane: Only this one; None means all.
        stale: Whether to look at the age.
        older_than_seconds: What was sent longer ago is stale.
    """

    wanted: tuple[str, ...]
    lane: str | None
    stale: bool
    older_than_seconds: float

    def named(self, entries: Iterable[Entry]) -> list[Entry]:
        """What is asked for, whatever its state."""
        in_lane = (entry for entry in entries if self.lane in {None, entry.request.lane})
        return [entry for entry in in_lane if matches(entry.slip.name, self.wanted)]

    def of(self, entries: Iterable[Entry], now: datetime) -> list[Entry]:
        """What is to be sent: pending ones, named ones, and with ``stale`` of those sent the old ones only."""
        return [entry for entry in self.named(entries) if self._is_due(entry, now)]

    def _is_due(self, entry: Entry, now: datetime) -> bool:
        if entry.slip.sent_at is None:
            return True
        return entry.age_seconds(now) >= self.older_than_seconds if self.stale else bool(self.wanted)


def matches(name: str, wanted: Sequence[str]) -> bool:
    """Whether a name begins with one of the texts; no text means all.

    Raises:
        UsageError: A text is so short that it would mean half of the spool.
    """
    for text in wanted:
        if len(text) < _LEAST_CHARACTERS:
            raise UsageError(f"{text!r} is too short for a request: write at least {_LEAST_CHARACTERS} characters")
    return not wanted or any(name.lower().startswith(text.lower()) for text in wanted)


def ended(events: Iterable[Event]) -> Mapping[tuple[str, uuid.UUID], Kind]:
    """The outcome of every request that has one and was not submitted again since.

    The fold alone would not do: ``accepted`` comes from hosts whose clocks may be hours off, so a request that died and
    was submitted again is dead until a worker has it. Here the order of the log counts instead.

    Args:
        events: In the order of the event log.
    """
    folds: dict[tuple[str, uuid.UUID], Fold] = {}
    anew: dict[tuple[str, uuid.UUID], bool] = {}
    for event in events:
        key = (event.lane, event.request_id)
        folds.setdefault(key, Fold(event)).add(event)
        if event.kind in FINAL or event.kind in _BEGINS_ANEW:
            anew[key] = event.kind in _BEGINS_ANEW
    return {key: known.status.state for key, known in folds.items() if _is_over(known, anew=anew.get(key, False))}


def _is_over(known: Fold, *, anew: bool) -> bool:
    return known.is_final and (known.status.state in SUCCEEDED or not anew)


def show_age(seconds: float) -> str:
    """An age in the largest unit that fits, for example ``3.5 h``."""
    unit = next((unit for unit in ("d", "h", "m") if abs(seconds) >= _SECONDS[unit]), "s")
    return f"{seconds / _SECONDS[unit]:.1f} {unit}" if unit != "s" else f"{seconds:.0f} s"

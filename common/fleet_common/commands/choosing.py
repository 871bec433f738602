"""Which requests a command means: ids, unique beginnings, batches; against what the event log knows.

Neighbours: ``control`` beside this reads the log. Threading: plain data.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fleet_common.errors import FleetError, UsageError
from fleet_common.events import Status

_SHORTEST: Final = 4
_MOST_LISTED: Final = 5


class NothingFoundError(FleetError):
    """The event log knows nothing of what was named."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was named on the command line, as ids.

    Attributes:
        request_ids: Requests.
        batch_ids: Batches: several calls of submit may have given the same name.
        lane: Only what this lane tells of; None for all.
    """

    request_ids: tuple[uuid.UUID, ...] = ()
    batch_ids: tuple[uuid.UUID, ...] = ()
    lane: str | None = None

    def includes(self, status: Status) -> bool:
        """Whether a request is meant."""
        of_batch = status.batch is not None and status.batch.id in self.batch_ids
        return self.lane in {None, status.lane} and (of_batch or status.request_id in self.request_ids)


def choose(statuses: Iterable[Status], requests: tuple[str, ...], batch: str | None, lane: str | None) -> Choice:
    """The ids of what was named: requests by id or unique beginning, or a batch by id or name.

    A whole id need not be in the log, which is bounded by age.

    Raises:
        UsageError: Neither or both were named, or a name means several.
        NothingFoundError: The log knows nothing of a beginning or a name.
    """
    if bool(requests) == (batch is not None):
        raise UsageError("name requests, or a batch with --batch")
    known = [status for status in statuses if lane in {None, status.lane}]
    if batch is not None:
        return Choice(batch_ids=_batches(known, batch), lane=lane)
    ids = sorted({status.request_id for status in known})
    return Choice(request_ids=tuple(dict.fromkeys(_request(ids, text) for text in requests)), lane=lane)


def _request(ids: list[uuid.UUID], text: str) -> uuid.UUID:
    if (whole := _whole_id(text)) is not None:
        return whole
    if len(text) < _SHORTEST:
        raise UsageError(f"{text!r} is too short: give at least {_SHORTEST} characters of the request's id")
    found = [one for one in ids if str(one).startswith(text.lower())]
    if len(found) > 1:
        listed = ", ".join(map(str, found[:_MOST_LISTED])) + (", ..." if len(found) > _MOST_LISTED else "")
        raise UsageError(f"{len(found)} requests begin with {text}: {listed}")
    if not found:
        raise NothingFoundError(f"the event log knows no request that begins with {text}")
    return found[0]


def _batches(known: list[Status], name: str) -> tuple[uuid.UUID, ...]:
    if (whole := _whole_id(name)) is not None:
        return (whole,)
    found = [(status.batch.id, status.lane) for status in known if status.batch and status.batch.name == name]
    if not found:
        raise NothingFoundError(f"the event log knows no batch {name!r}")
    lanes = sorted({lane for _, lane in found})
    if len(lanes) > 1:
        # Producers choose names freely: another lane's batch of the same name must not go with it unnoticed.
        raise UsageError(f"the lanes {', '.join(lanes)} have a batch {name!r}: name one with --lane")
    return tuple(dict.fromkeys(batch_id for batch_id, _ in found))


def _whole_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None

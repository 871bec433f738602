"""``omero-fleet status --verify``: rebuilds outcomes that the event log has lost, from what OMERO holds.

Whoever looks into OMERO is found by entry point, because it needs omero-py and this package does not: ``status`` works
without. Threading: one thread; the publisher has a link of its own.
"""

from __future__ import annotations

import importlib.metadata
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from fleet_common.broker import Publisher, PublishRefused
from fleet_common.connect import broker_address, broker_names
from fleet_common.errors import NeedsOperator, Permanent, UsageError
from fleet_common.events import SUCCEEDED, Event, Status, fold
from fleet_common.recall import Finding, Found, judge
from fleet_common.settings import Settings

ENTRY_POINTS: Final = "omero_fleet.verifiers"
_STOP_SECONDS: Final = 5.0
Key = tuple[str, uuid.UUID]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for; no condition means all.

    Attributes:
        requests: Ids or beginnings; a whole id need not be in the event log.
        batch: Its name or id; its requests need not be in the event log.
        lane: Only this one; also for filesets that do not say theirs.
    """

    requests: tuple[str, ...] = ()
    batch: str | None = None
    lane: str | None = None


class Verifier(Protocol):
    """Looks into OMERO. An entry point of :data:`ENTRY_POINTS` is a function of the settings that opens one."""

    def find(self, request_id: uuid.UUID) -> Sequence[Found]:
        """Every fileset that carries the request's id.

        Raises:
            RequestError: OMERO is away, or refuses.
        """

    def requests_of(self, batch: str) -> Collection[uuid.UUID]:
        """The requests whose filesets name this batch, by its name or id."""


def verified(
    settings: Settings, known: Mapping[Key, Status], chosen: Mapping[Key, Status], asked: Asked
) -> tuple[dict[Key, Status], list[Finding]]:
    """Ask OMERO about every chosen request that has not succeeded, and tell the event log what it lacks.

    Args:
        settings: Of the operator, with an account of OMERO.
        known: What the event log says of all requests.
        chosen: What it says of those that are asked for.
        asked: What is asked for.

    Returns:
        The chosen statuses with those that were rebuilt, and what was found.

    Raises:
        UsageError: This host cannot look into OMERO, or the broker refuses the account's events.
        RequestError: OMERO or the broker is away.
    """
    with _opened(settings) as verifier:
        wanted = _wanted(verifier, known, chosen, asked)
        findings = [_finding(verifier, one, known, asked.lane) for one in wanted]
    findings = [one for one in findings if one.event is None or asked.lane in {None, one.event.lane}]
    events = [one.event for one in findings if one.event is not None]
    _tell(settings, events)
    return {**chosen, **{(event.lane, event.request_id): fold([event]) for event in events}}, findings


def finding_line(finding: Finding) -> str:
    """One finding on one line."""
    return f"{finding.request_id}  {finding.text}"


def _wanted(
    verifier: Verifier, known: Mapping[Key, Status], chosen: Mapping[Key, Status], asked: Asked
) -> list[uuid.UUID]:
    lost = [status.request_id for status in chosen.values() if status.state not in SUCCEEDED]
    named = [one for one in map(_whole_id, asked.requests) if one is not None]
    of_batch = verifier.requests_of(asked.batch) if asked.batch and not asked.requests else ()
    in_log = {request_id for _, request_id in known}
    return list(dict.fromkeys([*lost, *(one for one in (*named, *of_batch) if one not in in_log)]))


def _whole_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _finding(verifier: Verifier, request_id: uuid.UUID, known: Mapping[Key, Status], lane: str | None) -> Finding:
    told = [status for (_, one), status in known.items() if one == request_id]
    try:
        found = verifier.find(request_id)
    except (Permanent, NeedsOperator) as error:
        # Of this request only: its owner is an administrator by now, say.
        return Finding(request_id, f"OMERO does not say: {error}")
    return judge(request_id, told, found, lane=lane, now=datetime.now(UTC))


def _tell(settings: Settings, events: Sequence[Event]) -> None:
    if not events:
        return
    publisher = Publisher(broker_address(settings.broker), broker_names(settings.broker))
    publisher.start()
    try:
        for event in events:
            publisher.publish_event(event, required=True)
    except PublishRefused as error:
        raise UsageError(f"{error}. Outcomes are told with the broker account of an operator") from error
    finally:
        publisher.stop(_STOP_SECONDS)


def _opened(settings: Settings) -> AbstractContextManager[Verifier]:
    entries = list(importlib.metadata.entry_points(group=ENTRY_POINTS))
    if not entries:
        raise UsageError("--verify looks into OMERO, which is not part of this installation: install the worker")
    try:
        opener: Callable[[Settings], AbstractContextManager[Verifier]] = entries[0].load()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--verify needs the package {error.name}: pip install 'omero-import-fleet[worker]'"
        ) from error
    return opener(settings)

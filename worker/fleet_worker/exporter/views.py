"""Makes the series of :mod:`fleet_common.fleetmetrics` of what was seen. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from fleet_common.broker.overview import Filling, Overview
from fleet_common.fleetmetrics import BATCH_PARTS, DEAD_REASONS, Series
from fleet_common.heartbeats import Settle
from fleet_common.ledger import IN_WORK, WAITING, Ledger, Tally
from fleet_common.messages import Priority
from fleet_common.metrics import SLOT_KINDS
from fleet_common.producers import Heard, Producers
from fleet_common.settings import OmeroSettings
from fleet_worker.exporter.board import Seen
from fleet_worker.omero.serverfacts import ServerLimits
from fleet_worker.slots import slot_count

_ALONE: Final = ()


@dataclass(frozen=True, slots=True)
class OmeroState:
    """What OMERO says of itself.

    Attributes:
        limits: How much it does at once.
        read_only: What of it is read-only.
        free_bytes: In its data folder; None where it cannot tell.
        running_imports: Of the fleet.
        open_sessions: Of everybody.
    """

    limits: ServerLimits
    read_only: tuple[str, ...]
    free_bytes: int | None
    running_imports: int
    open_sessions: int


def of_settings(omero: OmeroSettings) -> Seen:
    """What the settings allow the fleet."""
    return {"slots_configured": {(kind,): float(slot_count(omero, kind)) for kind in SLOT_KINDS}}


def of_overview(found: Overview, lanes: Collection[str]) -> Seen:
    """The queues; a lane of the settings that was never declared is empty."""
    every = sorted({*lanes, *(lane for lane, _ in found.lanes)})
    places = [(lane, priority) for lane in every for priority in Priority]
    fillings = {place: found.lanes.get(place, Filling()) for place in places}
    seen: dict[str, Series] = {
        "queue_ready": {(lane, str(one)): float(fillings[lane, one].ready) for lane, one in places},
        "queue_unacked": {(lane, str(one)): float(fillings[lane, one].unacked) for lane, one in places},
        "retries_waiting": {_ALONE: float(found.retries)},
        "workers_connected": {_ALONE: float(found.workers)},
        "slots_taken": {(kind,): float(found.slots.get(kind, 0)) for kind in SLOT_KINDS},
    }
    if found.delivery_timeout_seconds is not None:
        seen["delivery_timeout_seconds"] = {_ALONE: found.delivery_timeout_seconds}
    return seen


def of_dead(reasons: Iterable[str]) -> Seen:
    """Dead letters by reason; a word that this version does not know counts as unknown."""
    counts = Counter(reason if reason in DEAD_REASONS else DEAD_REASONS[-1] for reason in reasons)
    return {"dead_letters": {(reason,): float(counts[reason]) for reason in DEAD_REASONS}}


def of_ledger(ledger: Ledger, lanes: Collection[str], now_seconds: float, *, skipped: int) -> Seen:
    """Open requests, how long the oldest one waits, and the newest batch of each lane."""
    open_requests: dict[tuple[str, ...], float] = {(lane, state): 0.0 for lane in lanes for state in (WAITING, IN_WORK)}
    oldest: dict[tuple[str, ...], float] = {(lane,): 0.0 for lane in lanes}
    for lane, tracked in ledger.open_requests():
        if lane not in lanes:
            continue
        open_requests[lane, tracked.state] += 1
        if tracked.state == WAITING:
            oldest[lane,] = max(oldest[lane,], now_seconds - tracked.since_seconds)
    newest = {tally.lane: tally for tally in ledger.batches() if tally.lane in lanes}
    return {
        "open_requests": open_requests,
        "oldest_waiting_seconds": oldest,
        "event_log_skipped": {_ALONE: float(skipped)},
        "event_log_forgotten": {_ALONE: float(ledger.forgotten)},
        **_of_batches(newest),
    }


def _of_batches(newest: Mapping[str, Tally]) -> Seen:
    parts = list(enumerate(BATCH_PARTS))
    items = newest.items()
    return {
        "batch_requests": {
            (lane, state): float(count) for lane, tally in items for state, count in tally.counts.items()
        },
        "batch_size": {(lane, part): float(tally.size[index]) for lane, tally in items for index, part in parts},
        "batch_sent": {(lane, part): float(tally.size[index + 2]) for lane, tally in items for index, part in parts},
        "batch_first_event_timestamp_seconds": {(lane,): tally.since_seconds for lane, tally in items},
        "batch_last_event_timestamp_seconds": {(lane,): tally.changed_seconds for lane, tally in items},
    }


def of_producers(producers: Producers, lanes: Collection[str], now_seconds: float) -> Seen:
    """Spools and acquisitions of each lane whose producers tell heartbeats: sums, and the worst of ages."""
    heard = {lane: found for lane in lanes if (found := producers.of(lane, now_seconds))}
    sums = {name: _by_lane(heard, partial(_total, field)) for name, field in _SUMS.items()}
    return {
        **sums,
        "producer_acquisitions": _acquisitions(heard),
        "producer_last_heartbeat_timestamp_seconds": _by_lane(heard, lambda found: min(one.seconds for one in found)),
        "producer_oldest_unconfirmed_seconds": _by_lane(
            heard, lambda found: max(one.heartbeat.oldest_unconfirmed_seconds for one in found)
        ),
        "producer_seconds_since_scan": _by_lane(
            heard,
            lambda found: max(one.heartbeat.seconds_since_scan + now_seconds - one.seconds for one in found),
        ),
    }


_SUMS: Final = {
    "producer_spool_requests": "spool_requests",
    "producer_spool_bytes": "spool_bytes",
    "producer_unconfirmed_requests": "unconfirmed",
    "producer_set_aside": "set_aside",
    "producer_parked": "parked",
    "producer_folders_away": "folders_away",
}
"""Metrics that are the sum of a field of all heartbeats of a lane."""

_Heard = tuple[Heard, ...]


def _total(field: str, found: _Heard) -> float:
    return float(sum(getattr(one.heartbeat, field) for one in found))


def _by_lane(heard: Mapping[str, _Heard], value: Callable[[_Heard], float]) -> Series:
    return {(lane,): value(found) for lane, found in heard.items()}


def _acquisitions(heard: Mapping[str, _Heard]) -> Series:
    return {
        (lane, str(state)): float(sum(one.heartbeat.acquisitions.get(state, 0) for one in found))
        for lane, found in heard.items()
        for state in Settle
    }


def of_omero(state: OmeroState) -> Seen:
    """What OMERO can take; what it does not tell is left out."""
    pools = {
        "min_threads": state.limits.min_threads,
        "background_threads": state.limits.background_threads,
    }
    seen: dict[str, Series] = {
        "omero_read_only": {_ALONE: float(bool(state.read_only))},
        "omero_threads": {(pool,): float(size) for pool, size in pools.items() if size is not None},
        "omero_running_imports": {_ALONE: float(state.running_imports)},
        "omero_open_sessions": {_ALONE: float(state.open_sessions)},
    }
    if state.free_bytes is not None:
        seen["omero_free_bytes"] = {_ALONE: float(state.free_bytes)}
    return seen

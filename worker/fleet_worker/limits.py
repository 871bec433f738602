"""How many imports OMERO bears at once, and how many workers that is: pure arithmetic over what the server says.

Measured on servers with default settings (docs/explanation/omero-import.md): as many imports as the server has threads
for them leave none for anybody else, and every import and every ``importFileset`` may hold two connections to the
database; where these run out, the whole server stands still for minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from fleet_common.settings import OmeroSettings, WorkerSettings
from fleet_worker.omero.serverfacts import ServerLimits

DEFAULT_POOL_SIZE: Final = 10
"""``omero.db.poolsize`` where nobody set it."""
_CONNECTIONS_EACH: Final = 2


@dataclass(frozen=True, slots=True)
class AllowedSlots:
    """What the slots may be; None for what the server did not tell enough for.

    Attributes:
        import_slots: At most; 0 where the server has too few threads or connections for any.
        create_slots: At most, beside so many import slots.
    """

    import_slots: int | None
    create_slots: int | None


def allowed(limits: ServerLimits) -> AllowedSlots:
    """The most that the server bears: imports first, what is left of the pool for calls of ``importFileset``."""
    by_threads = _by_threads(limits)
    if limits.pool_size is None:
        return AllowedSlots(by_threads, None)
    pairs = limits.pool_size // _CONNECTIONS_EACH
    imports = max(0, pairs - 1 if by_threads is None else min(by_threads, pairs - 1))
    return AllowedSlots(imports, max(0, pairs - imports))


@dataclass(frozen=True, slots=True)
class FleetSize:
    """How many workers a server can use.

    Attributes:
        workers: So many keep its import slots busy, for the next filesets are uploaded meanwhile.
        most_workers: More have nothing to do but to wait, and only add availability.
        most_uploading: So many may send as many files at once as their settings say, over all.
    """

    workers: int
    most_workers: int
    most_uploading: int


def fleet_size(omero: OmeroSettings, worker: WorkerSettings) -> FleetSize:
    """How many workers with these settings the import slots can use.

    Half as many requests as there are slots are on their way while the slots are taken; as many as there are slots may
    be, at most (:func:`fleet_worker.slots.slot_count`, ``staged``).
    """
    slots = omero.import_slots
    return FleetSize(
        workers=math.ceil((slots + slots / 2) / worker.parallel_filesets),
        most_workers=math.ceil(2 * slots / worker.parallel_filesets),
        most_uploading=max(1, omero.upload_slots // worker.parallel_upload),
    )


def pool_needed(omero: OmeroSettings) -> int:
    """The smallest ``omero.db.poolsize`` that bears the slots of the settings."""
    return _CONNECTIONS_EACH * (omero.import_slots + omero.create_slots)


def slot_problems(limits: ServerLimits, omero: OmeroSettings) -> tuple[str, ...]:
    """What the server certainly does not bear, each as a sentence that says what to change; empty if nothing is wrong.

    Args:
        limits: What the server told; what it did not tell is not judged.
        omero: The settings of all workers of this server.
    """
    return tuple(filter(None, (_too_few_threads(limits, omero), _too_small_pool(limits, omero))))


def _by_threads(limits: ServerLimits) -> int | None:
    known = [value for value in (limits.min_threads, limits.background_threads) if value is not None]
    return max(0, min(known) - 1) if known else None


def _too_few_threads(limits: ServerLimits, omero: OmeroSettings) -> str | None:
    most = _by_threads(limits)
    if most is None or omero.import_slots <= most:
        return None
    wanted = omero.import_slots + 1
    return (
        f"omero.import_slots is {omero.import_slots}, and OMERO bears {most}: it has {limits.min_threads} threads and "
        f"{limits.background_threads} places for imports. Set import_slots to {most}, or omero.threads.min_threads and "
        f"omero.threads.background_threads to {wanted} or more"
    )


def _too_small_pool(limits: ServerLimits, omero: OmeroSettings) -> str | None:
    needed = pool_needed(omero)
    if limits.pool_size is None or needed <= limits.pool_size:
        return None
    return (
        f"omero.import_slots {omero.import_slots} and create_slots {omero.create_slots} need {needed} connections to "
        f"OMERO's database, and its pool has {limits.pool_size}. Lower them, or set omero.db.poolsize to {needed}"
    )

"""What to do about what earlier attempts left in OMERO: a pure decision over all filesets with the request id.

Anybody can write an annotation, so only filesets of the request's own owner and group count. Nothing is ever deleted
while the server may still work on it, and a complete fileset is never deleted at all, except the loser of an election,
by the attempt that made it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from fleet_common.errors import Reason, failure
from fleet_worker.annotations import DIFFERENCE, FAILED, RESULT, VERIFIED
from fleet_worker.omero.facts import OwnerIds
from fleet_worker.omero.state import FilesetState, State, classify


class Step(enum.StrEnum):
    """What comes next for a request."""

    IMPORT = "import"
    ADOPT_COMPLETE = "adopt-complete"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Plan:
    """What comes next, and which fileset it is about.

    Attributes:
        step: Import anew, take a complete fileset as the result, or wait for what may still run.
        fileset_id: The complete or running fileset; 0 for a new import.
        debris: Unfinished filesets of attempts that are certainly over; to be deleted first.
        verified: Whether the complete fileset was verified when it was imported; then its files need not be there any
            more, and an instrument's disk may be emptied while a duplicate of the request still waits.
    """

    step: Step
    fileset_id: int = 0
    debris: tuple[int, ...] = ()
    verified: bool = False


def ours(found: Iterable[FilesetState], owner: OwnerIds) -> tuple[FilesetState, ...]:
    """Those filesets that belong to the request's owner and group, by id."""
    mine = [state for state in found if (state.owner_id, state.group_id) == (owner.user_id, owner.group_id)]
    return tuple(sorted(mine, key=lambda state: state.id))


def plan(found: Iterable[FilesetState], owner: OwnerIds, digest: str) -> Plan:
    """Decide before an import.

    Raises:
        NeedsOperator: Several complete filesets, or one that was made of other files, or one whose verification failed.
    """
    mine = ours(found, owner)
    complete = [state for state in mine if classify(state) is State.COMPLETE]
    if len(complete) > 1:
        raise failure(Reason.SEVERAL_FILESETS, f"complete filesets of this request: {_ids(complete)}")
    if complete:
        return _adopted(_same_files(complete[0], digest))
    busy = [state for state in mine if _may_run(state)]
    if busy:
        return Plan(Step.WAIT, busy[0].id)
    return Plan(Step.IMPORT, debris=tuple(state.id for state in mine))


def elected(found: Iterable[FilesetState], owner: OwnerIds, own_fileset_id: int) -> int:
    """The id of the fileset that wins among those that may live: the lowest, or the own one if it is alone.

    A call of a worker that was killed can still land seconds later, so this is asked after the own registration.
    """
    rivals = [state.id for state in ours(found, owner) if _may_run(state) or classify(state) is State.COMPLETE]
    return min([*rivals, own_fileset_id])


def _adopted(state: FilesetState) -> Plan:
    result = state.annotation.get(RESULT)
    if result == FAILED:
        told = state.annotation.get(DIFFERENCE, "its verification failed when it was imported")
        raise failure(Reason.VERIFICATION_FAILED, f"Fileset:{state.id}: {told}")
    return Plan(Step.ADOPT_COMPLETE, state.id, verified=result == VERIFIED)


def _may_run(state: FilesetState) -> bool:
    verdict = classify(state)
    return verdict is State.QUEUED_OR_RUNNING or (verdict is State.UPLOAD_UNFINISHED and not state.session_closed)


def _same_files(state: FilesetState, digest: str) -> FilesetState:
    if state.digest != digest:
        raise failure(Reason.MANIFEST_CONFLICT, f"Fileset:{state.id} has this request id, but was made of other files")
    return state


def _ids(states: Iterable[FilesetState]) -> str:
    return ", ".join(f"Fileset:{state.id}" for state in states)

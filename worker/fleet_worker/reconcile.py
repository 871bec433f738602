"""What to do about what earlier attempts left in OMERO: a pure decision over all filesets with the request id.

Anybody can write an annotation, so only filesets of the request's own owner and group count. Whoever asks holds the
request's lock: the worker that made an unfinished upload is dead, or stops at its next check, so such a fileset is
debris even while its session lives on. Nothing is ever deleted while the server may still work on it, and a complete
fileset is never deleted at all, except the loser of an election, by the attempt that made it, and one whose deletion an
attempt had begun while it was unfinished.
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
    ADOPT_RUNNING = "adopt-running"


@dataclass(frozen=True, slots=True)
class Plan:
    """What comes next, and which fileset it is about.

    Attributes:
        step: Import anew, take a complete fileset as the result, or wait for what the server still has and look again.
        fileset_id: The complete or running fileset; 0 for a new import.
        debris: Unfinished filesets of attempts that are over; to be deleted first.
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
    debris = _debris(mine)
    running = _in(mine, State.QUEUED_OR_RUNNING)
    if running:
        # Before all else: it may become a second complete one, which only a person can judge.
        return Plan(Step.ADOPT_RUNNING, running[0].id, debris)
    complete = _in(mine, State.COMPLETE)
    if len(complete) > 1:
        raise failure(Reason.SEVERAL_FILESETS, f"complete filesets of this request: {_ids(complete)}")
    if complete:
        return _adopted(_same_files(complete[0], digest), debris)
    return Plan(Step.IMPORT, debris=debris)


@dataclass(frozen=True, slots=True)
class Election:
    """Whether the own fileset stays.

    Attributes:
        winner: The fileset that stays; the own one unless a rival got further, or as far and has a lower id.
        debris: Unfinished filesets of attempts that are over, which landed late; to be deleted.
        running: Rivals that the server is still at.
    """

    winner: int
    debris: tuple[int, ...] = ()
    running: tuple[int, ...] = ()


def elect(found: Iterable[FilesetState], owner: OwnerIds, own_fileset_id: int, *, complete: bool) -> Election:
    """Decide after the own registration, and once more when the own import is complete.

    A call of a worker that was killed can still land seconds later, minutes on a busy server. What landed unfinished is
    debris. What got further wins against a fileset that is only registered; against a complete one the lower id does.
    """
    rivals = [state for state in ours(found, owner) if state.id != own_fileset_id]
    running = [state.id for state in _in(rivals, State.QUEUED_OR_RUNNING)]
    living = [*running, *(state.id for state in _in(rivals, State.COMPLETE))]
    candidates = [own_fileset_id, *living] if complete or not living else living
    return Election(min(candidates), _debris(rivals), tuple(running))


def _in(states: Iterable[FilesetState], wanted: State) -> list[FilesetState]:
    return [state for state in states if classify(state) is wanted]


def _debris(states: Iterable[FilesetState]) -> tuple[int, ...]:
    return tuple(state.id for state in states if classify(state) in {State.UPLOAD_UNFINISHED, State.BROKEN})


def _adopted(state: FilesetState, debris: tuple[int, ...]) -> Plan:
    result = state.annotation.get(RESULT)
    if result == FAILED:
        told = state.annotation.get(DIFFERENCE, "its verification failed when it was imported")
        raise failure(Reason.VERIFICATION_FAILED, f"Fileset:{state.id}: {told}")
    return Plan(Step.ADOPT_COMPLETE, state.id, debris, verified=result == VERIFIED)


def _same_files(state: FilesetState, digest: str) -> FilesetState:
    if state.digest != digest:
        raise failure(Reason.MANIFEST_CONFLICT, f"Fileset:{state.id} has this request id, but was made of other files")
    return state


def _ids(states: Iterable[FilesetState]) -> str:
    return ", ".join(f"Fileset:{state.id}" for state in states)

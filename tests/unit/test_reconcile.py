"""What to do about what earlier attempts left in OMERO."""

from __future__ import annotations

import itertools

import pytest

from fleet_common.errors import NeedsOperator, Reason
from fleet_worker.omero.facts import OwnerIds
from fleet_worker.omero.state import FilesetState, State, classify
from fleet_worker.reconcile import Election, Plan, Step, elect, ours, plan
from support.builders import ALICE, DIGEST, POSSIBLE_STATES, a_fileset

BOB = OwnerIds("bob", 99, "screening", ALICE.group_id)

ONE = [
    # (state, whether its session is closed, what comes next, whether it may still live)
    (State.UPLOAD_UNFINISHED, True, Plan(Step.IMPORT, debris=(7,)), False),
    # Whoever asks holds the request's lock: the worker of that session is dead, or stops at its next check.
    (State.UPLOAD_UNFINISHED, False, Plan(Step.IMPORT, debris=(7,)), False),
    (State.QUEUED_OR_RUNNING, False, Plan(Step.ADOPT_RUNNING, 7), True),
    (State.BROKEN, True, Plan(Step.IMPORT, debris=(7,)), False),
    (State.COMPLETE, True, Plan(Step.ADOPT_COMPLETE, 7), True),
]
LIVE = {(state, closed) for state, closed, _, live in ONE if live}


def _described(states: tuple[tuple[State, bool], ...]) -> str:
    return " + ".join(f"{state}{'' if closed else ' (session open)'}" for state, closed in states) or "nothing"


def test_the_builders_make_the_states_that_they_say() -> None:
    """And the table above has every possible one."""
    assert {(state, closed) for state, closed, _, _ in ONE} == set(POSSIBLE_STATES)
    for state, closed in POSSIBLE_STATES:
        assert classify(a_fileset(7, state, session_closed=closed)) is state
        assert a_fileset(7, state, session_closed=closed).session_closed is closed


# --- plan ---------------------------------------------------------------------------------------------------------


def test_nothing_found_means_import() -> None:
    """The usual case."""
    assert plan([], ALICE, DIGEST) == Plan(Step.IMPORT)


@pytest.mark.parametrize(("state", "closed", "expected", "_live"), ONE, ids=lambda one: str(one)[:40])
def test_what_follows_from_one_fileset(state: State, closed: bool, expected: Plan, _live: bool) -> None:  # noqa: FBT001  columns of the table
    """Row by row."""
    assert plan([a_fileset(7, state, session_closed=closed)], ALICE, DIGEST) == expected


@pytest.mark.parametrize(
    "states",
    [*itertools.product(POSSIBLE_STATES, repeat=2), *itertools.product(POSSIBLE_STATES, repeat=3)],
    ids=_described,
)
def test_what_follows_from_several_filesets(states: tuple[tuple[State, bool], ...]) -> None:
    """Every combination of two and three: what runs is waited for, then the complete one is the result."""
    found = [a_fileset(n, state, session_closed=closed) for n, (state, closed) in enumerate(states, start=11)]
    complete = [one.id for one in found if classify(one) is State.COMPLETE]
    running = [n for n, pair in enumerate(states, start=11) if pair in LIVE and pair[0] is not State.COMPLETE]
    debris = tuple(n for n, pair in enumerate(states, start=11) if pair not in LIVE)
    if running:
        assert plan(found, ALICE, DIGEST) == Plan(Step.ADOPT_RUNNING, running[0], debris)
    elif len(complete) > 1:
        with pytest.raises(NeedsOperator) as caught:
            plan(found, ALICE, DIGEST)
        assert caught.value.reason is Reason.SEVERAL_FILESETS
        assert all(f"Fileset:{number}" in str(caught.value) for number in complete)
    elif complete:
        assert plan(found, ALICE, DIGEST) == Plan(Step.ADOPT_COMPLETE, complete[0], debris)
    else:
        assert plan(found, ALICE, DIGEST) == Plan(Step.IMPORT, debris=debris)


@pytest.mark.parametrize(("state", "closed"), POSSIBLE_STATES, ids=str)
@pytest.mark.parametrize(
    "stranger",
    [{"owner_id": BOB.user_id}, {"group_id": 1000}, {"owner_id": BOB.user_id, "group_id": 1000}],
    ids=["another owner", "another group", "both"],
)
def test_a_fileset_of_somebody_else_does_not_count(stranger: dict[str, int], state: State, closed: bool) -> None:  # noqa: FBT001  columns of the table
    """Anybody can write the annotation: it neither stops an import nor is it deleted or adopted."""
    fileset = a_fileset(7, state, session_closed=closed, **stranger)
    assert plan([fileset], ALICE, DIGEST) == Plan(Step.IMPORT)
    for complete in (False, True):
        assert elect([fileset], ALICE, 30, complete=complete) == Election(30)


def test_a_complete_fileset_of_other_files_is_for_a_person() -> None:
    """The same id with other files: one of both is wrong, and nothing is deleted."""
    found = [a_fileset(7, State.COMPLETE, annotation={"digest": "cd" * 32})]
    with pytest.raises(NeedsOperator, match="Fileset:7 has this request id, but was made of other files") as caught:
        plan(found, ALICE, DIGEST)
    assert caught.value.reason is Reason.MANIFEST_CONFLICT


def test_a_complete_fileset_without_a_digest_is_for_a_person() -> None:
    """An annotation that somebody edited proves nothing."""
    with pytest.raises(NeedsOperator, match="Fileset:7"):
        plan([a_fileset(7, State.COMPLETE, annotation={})], ALICE, DIGEST)


@pytest.mark.parametrize(
    ("annotation", "verified"),
    [({}, False), ({"result": "verified"}, True), ({"result": "something else"}, False)],
    ids=["not annotated", "verified", "unknown"],
)
def test_a_complete_fileset_says_whether_it_was_verified(annotation: dict[str, str], *, verified: bool) -> None:
    """Then its files need not be there any more."""
    found = [a_fileset(7, State.COMPLETE, annotation={"digest": DIGEST} | annotation)]
    assert plan(found, ALICE, DIGEST) == Plan(Step.ADOPT_COMPLETE, 7, verified=verified)


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ({"difference": "well B03 is missing"}, "Fileset:7: well B03 is missing"),
        ({}, "Fileset:7: its verification failed when it was imported"),
    ],
)
def test_a_fileset_whose_verification_failed_gives_the_same_answer_for_ever(
    annotation: dict[str, str], says: str
) -> None:
    """It is for a person, whatever the files look like today."""
    told = {"digest": DIGEST, "result": "verification-failed"} | annotation
    with pytest.raises(NeedsOperator, match=f"^{says}$") as caught:
        plan([a_fileset(7, State.COMPLETE, annotation=told)], ALICE, DIGEST)
    assert caught.value.reason is Reason.VERIFICATION_FAILED


def test_debris_of_other_files_is_debris_all_the_same() -> None:
    """It is unfinished, and its id is this request's."""
    found = [a_fileset(7, State.BROKEN, annotation={"digest": "cd" * 32})]
    assert plan(found, ALICE, DIGEST) == Plan(Step.IMPORT, debris=(7,))


def test_the_order_of_the_answer_does_not_matter() -> None:
    """OMERO may give filesets in any order."""
    found = [a_fileset(number, State.QUEUED_OR_RUNNING, session_closed=False) for number in (30, 7, 19)]
    assert {plan(order, ALICE, DIGEST) for order in itertools.permutations(found)} == {Plan(Step.ADOPT_RUNNING, 7)}


def test_ours_are_sorted_by_id() -> None:
    """The lowest id is the oldest."""
    found = [a_fileset(30, State.BROKEN), a_fileset(7, State.BROKEN), a_fileset(8, State.BROKEN, owner_id=1)]
    assert [state.id for state in ours(found, ALICE)] == [7, 30]


# --- election -----------------------------------------------------------------------------------------------------


EVERY_TWO_OR_THREE = [*itertools.product(POSSIBLE_STATES, repeat=2), *itertools.product(POSSIBLE_STATES, repeat=3)]


@pytest.mark.parametrize("number", [7, 30])
@pytest.mark.parametrize(("state", "closed", "_plan", "live"), ONE, ids=lambda one: str(one)[:40])
def test_a_rival_that_got_further_wins_against_a_registration(
    state: State,
    closed: bool,  # noqa: FBT001  a column of the table
    _plan: Plan,
    live: bool,  # noqa: FBT001  as above
    number: int,
) -> None:
    """Whatever its id; one that is only registered too is a dead worker's, landed late, and debris."""
    election = elect([a_fileset(number, state, session_closed=closed), own(19)], ALICE, 19, complete=False)
    assert election.winner == (number if live else 19)
    assert election.debris == (() if live else (number,))


@pytest.mark.parametrize(("state", "closed", "_plan", "live"), ONE, ids=lambda one: str(one)[:40])
@pytest.mark.parametrize(("number", "wins"), [(7, True), (30, False)])
def test_the_lower_id_wins_between_two_that_are_complete(
    state: State,
    closed: bool,  # noqa: FBT001  a column of the table
    _plan: Plan,
    live: bool,  # noqa: FBT001  as above
    number: int,
    wins: bool,  # noqa: FBT001  as above
) -> None:
    """Both ask the same question, and come to the same result."""
    election = elect([a_fileset(number, state, session_closed=closed), done(19)], ALICE, 19, complete=True)
    assert election.winner == (number if live and wins else 19)
    assert election.running == ((number,) if state is State.QUEUED_OR_RUNNING else ())


@pytest.mark.parametrize("rivals", EVERY_TWO_OR_THREE, ids=_described)
def test_several_rivals(rivals: tuple[tuple[State, bool], ...]) -> None:
    """Every combination: the lowest that lives wins, what does not live is debris, and nothing is both."""
    found = [a_fileset(n, state, session_closed=closed) for n, (state, closed) in enumerate(rivals, start=11)]
    living = [number for number, rival in enumerate(rivals, start=11) if rival in LIVE]
    for complete in (False, True):
        election = elect([*found, own(19)], ALICE, 19, complete=complete)
        assert election.winner == min([*living, 19])
        assert {*election.debris} == {one.id for one in found} - {*living}
        assert {*election.running} <= {*living}


@pytest.mark.parametrize("number", [11, 12, 13])
def test_all_complete_attempts_elect_the_same_fileset(number: int) -> None:
    """Each asks by itself, and exactly one stays."""
    found = [done(12), done(13), done(11)]
    assert elect(found, ALICE, number, complete=True).winner == 11


def test_the_own_fileset_wins_where_omero_does_not_show_it_yet() -> None:
    """It is there: the server has just said its id."""
    assert elect([], ALICE, 19, complete=False) == Election(19)


def own(number: int) -> FilesetState:
    """A fileset that an attempt has just registered."""
    return a_fileset(number, State.UPLOAD_UNFINISHED, session_closed=False)


def done(number: int) -> FilesetState:
    """A fileset that an attempt has completed."""
    return a_fileset(number, State.COMPLETE)

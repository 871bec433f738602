"""The table of errors, and what follows from each row for a request."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fleet_common.errors import (
    RULES,
    Cancelled,
    LeaseLost,
    NeedsOperator,
    Permanent,
    Reason,
    RequestError,
    Transient,
    Verdict,
    failure,
)
from fleet_worker.decisions import MAX_DELAY_SECONDS, Action, Decision, decide

DAY_SECONDS = 86400.0


@dataclass(frozen=True)
class Row:
    """What the first failure of a reason leads to.

    ``delay_seconds`` None means: never tried again. ``attempts`` 0 means: tried again without counting.
    """

    kind: type[RequestError]
    delay_seconds: float | None = None
    attempts: int = 0
    pause: bool = False
    action: Action = Action.RETRY


BURIED = Row(Permanent)
FOR_A_PERSON = Row(NeedsOperator)

# One row a reason, written down a second time on purpose: whoever changes the table must mean it.
TABLE = {
    Reason.INVALID_REQUEST: BURIED,
    Reason.REQUEST_TOO_LARGE: BURIED,
    Reason.UNKNOWN_VERSION: BURIED,
    Reason.NEWER_VERSION: Row(Transient, 300),
    Reason.UNSUPPORTED: BURIED,
    Reason.NO_USER_ID: BURIED,
    Reason.NOT_ALLOWED: BURIED,
    Reason.UNKNOWN_SHARE: BURIED,
    Reason.UNSAFE_PATH: BURIED,
    Reason.NAME_REFUSED: BURIED,
    Reason.NOT_A_REGULAR_FILE: BURIED,
    Reason.FILE_EMPTY: BURIED,
    Reason.FILE_CUT: BURIED,
    Reason.PIXELS_DIFFER: BURIED,
    Reason.FORMAT_BROKEN: BURIED,
    Reason.MANIFEST_DIFFERS: Row(Transient, 10, attempts=6),
    Reason.SHARE_UNAVAILABLE: Row(Transient, 60),
    Reason.OWNER_UNKNOWN: BURIED,
    Reason.OWNER_REFUSED: BURIED,
    Reason.GROUP_UNKNOWN: BURIED,
    Reason.OWNER_NOT_IN_GROUP: BURIED,
    Reason.TARGET_NOT_FOUND: BURIED,
    Reason.TARGET_NOT_LINKABLE: BURIED,
    Reason.TARGET_AMBIGUOUS: BURIED,
    Reason.TARGET_MISMATCH: BURIED,
    Reason.UNKNOWN_FORMAT: BURIED,
    Reason.READER_FAILED: BURIED,
    Reason.SERVER_READER_TOO_OLD: BURIED,
    Reason.IMPORT_FAILED: Row(Transient, 60, attempts=3),
    Reason.IMPORT_INTERRUPTED: Row(Transient, 10, attempts=5),
    Reason.UPLOAD_DIFFERS: Row(Transient, 10, attempts=3),
    Reason.VERIFICATION_FAILED: FOR_A_PERSON,
    Reason.SEVERAL_FILESETS: FOR_A_PERSON,
    Reason.MANIFEST_CONFLICT: FOR_A_PERSON,
    Reason.ELECTION_LOST: Row(Transient, 10),
    Reason.OMERO_UNAVAILABLE: Row(Transient, 10, pause=True),
    Reason.OMERO_BUSY: Row(Transient, 10, pause=True),
    # The service account's password is no request's fault: requests wait for the operator in their lanes.
    Reason.OMERO_LOGIN_REFUSED: Row(NeedsOperator, 10, pause=True),
    Reason.OMERO_REFUSED: BURIED,
    Reason.OMERO_READ_ONLY: Row(Transient, 60, pause=True),
    Reason.OMERO_FULL: Row(Transient, 60, pause=True),
    Reason.REPOSITORY_UNAVAILABLE: Row(Transient, 60),
    Reason.OMERO_OVERCOMMITTED: FOR_A_PERSON,
    Reason.BROKER_UNAVAILABLE: Row(Transient, 10),
    Reason.SESSION_LOST: Row(Transient, 10, pause=True),
    Reason.LOCK_HELD: Row(Transient, 60, action=Action.HAND_BACK),
    Reason.STILL_RUNNING: Row(Transient, 60, action=Action.HAND_BACK),
    Reason.LOCK_BLOCKED: FOR_A_PERSON,
    Reason.LEASE_LOST: Row(LeaseLost),
    # Straight back into the lane: others have room.
    Reason.DRAINING: Row(Transient, 0, action=Action.HAND_BACK),
    Reason.ATTEMPTS_USED_UP: BURIED,
    Reason.CRASH_LOOP: FOR_A_PERSON,
    Reason.CRASH_SUSPECT: Row(Transient, 0, action=Action.HAND_BACK),
    Reason.DELIVERY_LIMIT: FOR_A_PERSON,
    Reason.CANCELLED: Row(Cancelled),
    Reason.INTERNAL_ERROR: Row(Transient, 60, attempts=3),
}
COUNTED = sorted(reason for reason, row in TABLE.items() if row.attempts)
FREE = sorted(reason for reason, row in TABLE.items() if row.delay_seconds is not None and not row.attempts)
REFUSED = sorted(reason for reason, row in TABLE.items() if row.kind in {Permanent, NeedsOperator} and not row.pause)


# --- the table of errors ------------------------------------------------------------------------------------------


def test_every_reason_has_a_rule_and_a_row_here() -> None:
    """A reason without either would be settled by accident."""
    assert set(TABLE) == set(RULES) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_an_error_has_the_class_of_its_verdict(reason: Reason) -> None:
    """Class and table cannot disagree."""
    error = failure(reason, "what happened")
    assert type(error) is TABLE[reason].kind
    assert (error.reason, str(error), error.rule) == (reason, "what happened", RULES[reason])


@pytest.mark.parametrize("reason", Reason)
def test_every_rule_tells_a_person_what_to_do(reason: Reason) -> None:
    """One whole sentence."""
    text = RULES[reason].next_action
    assert text[0].isupper()
    assert text.endswith(".")


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_safe_as_a_label_and_header(reason: Reason) -> None:
    """Lower-case words with hyphens."""
    assert reason.replace("-", "").isalpha()
    assert reason == reason.lower()


def test_the_tail_of_the_log_stays_with_the_error() -> None:
    """It goes into the dead letter."""
    assert failure(Reason.READER_FAILED, "no", log_tail="Caused by: x").log_tail == "Caused by: x"
    assert failure(Reason.READER_FAILED, "no").log_tail == ""


def test_the_verdicts_of_the_table_are_those_of_the_design() -> None:
    """A person is asked only where automation would make it worse."""
    asked = {reason for reason in Reason if RULES[reason].verdict is Verdict.NEEDS_OPERATOR}
    assert asked == {reason for reason, row in TABLE.items() if row.kind is NeedsOperator}


# --- the decision -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", Reason)
def test_the_first_failure_of_every_reason(reason: Reason) -> None:
    """Row by row."""
    row = TABLE[reason]
    decision = decide(failure(reason, "x"), attempt=1)
    if row.kind is LeaseLost:
        assert decision == Decision(Action.ABANDON, reason, 1)
    elif row.kind is Cancelled:
        assert decision == Decision(Action.CANCEL, reason, 1)
    elif row.delay_seconds is None:
        assert decision == Decision(Action.BURY, reason, 1)
    else:
        counted = 1 if row.attempts else 0
        assert decision == Decision(row.action, reason, counted, row.delay_seconds, row.pause)


@pytest.mark.parametrize("reason", COUNTED)
def test_the_last_attempt_is_buried_as_used_up(reason: Reason) -> None:
    """At the last attempt, not before and not after."""
    last = TABLE[reason].attempts
    before = decide(failure(reason, "x"), last - 1)
    assert (before.action, before.reason, before.attempt) == (Action.RETRY, reason, last - 1)
    assert decide(failure(reason, "x"), last) == Decision(Action.BURY, Reason.ATTEMPTS_USED_UP, last)
    assert decide(failure(reason, "x"), last + 1).action is Action.BURY


@pytest.mark.parametrize(
    ("reason", "delays"),
    [
        (Reason.MANIFEST_DIFFERS, [10, 60, 360, 2160, 12960]),
        (Reason.IMPORT_INTERRUPTED, [10, 60, 360, 2160]),
        (Reason.UPLOAD_DIFFERS, [10, 60]),
        (Reason.IMPORT_FAILED, [60, 360]),
        (Reason.INTERNAL_ERROR, [60, 360]),
    ],
)
def test_each_further_attempt_waits_six_times_as_long(reason: Reason, delays: list[float]) -> None:
    """Until the attempts are used up."""
    found = [decide(failure(reason, "x"), attempt) for attempt in range(1, TABLE[reason].attempts)]
    assert [decision.delay_seconds for decision in found] == delays


@pytest.mark.parametrize("reason", COUNTED)
def test_no_wait_is_longer_than_the_longest_tier(reason: Reason) -> None:
    """8 hours."""
    for attempt in range(1, TABLE[reason].attempts):
        assert decide(failure(reason, "x"), attempt).delay_seconds <= MAX_DELAY_SECONDS


@pytest.mark.parametrize("attempt", [1, 2, 7, 1000])
@pytest.mark.parametrize("reason", FREE)
def test_what_is_not_the_requests_fault_costs_no_attempt(reason: Reason, attempt: int) -> None:
    """However often it happens, and the delay does not grow."""
    decision = decide(failure(reason, "x"), attempt)
    assert (decision.action, decision.attempt, decision.delay_seconds) == (
        TABLE[reason].action,
        attempt - 1,
        TABLE[reason].delay_seconds,
    )


@pytest.mark.parametrize("reason", REFUSED)
@pytest.mark.parametrize("attempt", [1, 4])
def test_what_can_never_succeed_is_buried_at_once(reason: Reason, attempt: int) -> None:
    """With its own reason, at any attempt."""
    assert decide(failure(reason, "x"), attempt) == Decision(Action.BURY, reason, attempt)


@pytest.mark.parametrize(
    ("reason", "asked", "expected"),
    [
        (Reason.OMERO_BUSY, 300.0, 300.0),
        (Reason.OMERO_BUSY, 3.0, 10.0),
        (Reason.CRASH_SUSPECT, 10.0, 10.0),
        (Reason.IMPORT_FAILED, 600.0, 600.0),
        (Reason.IMPORT_FAILED, 1.0, 60.0),
    ],
)
def test_a_wait_that_the_server_asked_for_is_respected(reason: Reason, asked: float, expected: float) -> None:
    """The longer of both."""
    assert decide(Transient(reason, "x", delay_seconds=asked), 1).delay_seconds == expected


@pytest.mark.parametrize(
    ("age_seconds", "action"),
    [(0.0, Action.RETRY), (DAY_SECONDS, Action.RETRY), (DAY_SECONDS + 1, Action.BURY)],
)
def test_a_newer_version_is_dead_after_a_day(age_seconds: float, action: Action) -> None:
    """With its own reason: somebody must upgrade the workers."""
    decision = decide(failure(Reason.NEWER_VERSION, "x"), 1, age_seconds)
    assert (decision.action, decision.reason) == (action, Reason.NEWER_VERSION)


@pytest.mark.parametrize("reason", [reason for reason in FREE if reason is not Reason.NEWER_VERSION])
def test_no_outage_is_too_long(reason: Reason) -> None:
    """A server may be away for weeks, and nothing is lost."""
    assert decide(failure(reason, "x"), 1, 365 * DAY_SECONDS).action is TABLE[reason].action

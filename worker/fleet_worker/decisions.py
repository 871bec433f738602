"""What follows from a failed attempt: a pure function of the error and the attempt count, enumerated by tests."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from fleet_common.errors import NeedsOperator, Permanent, Reason, RequestError, Transient, Verdict

MAX_DELAY_SECONDS: Final = 8 * 3600.0
"""The longest retry tier."""
GROWTH: Final = 6.0
"""Each further attempt waits this much longer: 10 s, 1 min, 6 min, 36 min, 3.6 h."""


class Action(enum.StrEnum):
    """How a request that was not imported is settled."""

    RETRY = "retry"
    HAND_BACK = "hand-back"
    BURY = "bury"
    ABANDON = "abandon"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with the delivery.

    Attributes:
        action: Retry later, hand back unharmed, put into the dead letters, leave alone because it is no longer ours, or
            end because an operator wants so.
        reason: The reason to tell; ``attempts-used-up`` replaces the last error's own.
        attempt: The count that goes into the copy's header: attempts that were used.
        delay_seconds: Wait before the next attempt; 0 for none.
        pause: Whether to take nothing more until the health check passes.
    """

    action: Action
    reason: Reason
    attempt: int
    delay_seconds: float = 0.0
    pause: bool = False


_PAUSING: Final = frozenset(
    {
        Reason.OMERO_UNAVAILABLE,
        Reason.OMERO_BUSY,
        Reason.OMERO_FULL,
        Reason.OMERO_READ_ONLY,
        Reason.OMERO_LOGIN_REFUSED,
        Reason.SESSION_LOST,
    }
)

_HANDED_BACK: Final = frozenset({Reason.DRAINING, Reason.LOCK_HELD, Reason.STILL_RUNNING, Reason.CRASH_SUSPECT})


def decide(error: RequestError, attempt: int, age_seconds: float = 0.0) -> Decision:
    """Settle a failed attempt.

    Args:
        error: Why it failed.
        attempt: The number of this attempt, counted from 1.
        age_seconds: How long ago the fleet saw the request first.
    """
    if error.rule.verdict is Verdict.LEASE_LOST:
        return Decision(Action.ABANDON, error.reason, attempt)
    if error.rule.verdict is Verdict.CANCELLED:
        return Decision(Action.CANCEL, error.reason, attempt)
    if isinstance(error, Permanent):
        return Decision(Action.BURY, error.reason, attempt)
    if isinstance(error, NeedsOperator) and error.reason is not Reason.OMERO_LOGIN_REFUSED:
        return Decision(Action.BURY, error.reason, attempt)
    return _retry(error, attempt, age_seconds)


def _retry(error: RequestError, attempt: int, age_seconds: float) -> Decision:
    rule = error.rule
    if rule.max_age_seconds and age_seconds > rule.max_age_seconds:
        return Decision(Action.BURY, error.reason, attempt)
    asked = error.delay_seconds if isinstance(error, Transient) else 0.0
    pause = error.reason in _PAUSING
    if error.reason in _HANDED_BACK:
        return Decision(Action.HAND_BACK, error.reason, attempt - 1, max(rule.first_delay_seconds, asked))
    # A refused login is no request's fault either: it waits for the operator in its lane, not among dead letters.
    if not rule.costs_attempt or error.reason is Reason.OMERO_LOGIN_REFUSED:
        return Decision(Action.RETRY, error.reason, attempt - 1, max(rule.first_delay_seconds, asked), pause)
    if attempt >= rule.attempts:
        return Decision(Action.BURY, Reason.ATTEMPTS_USED_UP, attempt)
    delay = min(MAX_DELAY_SECONDS, rule.first_delay_seconds * GROWTH ** (attempt - 1))
    return Decision(Action.RETRY, error.reason, attempt, max(delay, asked), pause)

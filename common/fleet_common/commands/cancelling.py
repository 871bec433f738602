"""What comes of a cancel, or of its undoing, for each request that it concerns, by what the event log tells.

Neighbours: ``control`` beside this reads the log, gives the orders and sends the events. Threading: one thread's own.
"""

from __future__ import annotations

import enum
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from fleet_common.commands.choosing import Choice
from fleet_common.control import Order, Verb
from fleet_common.errors import RULES, Reason
from fleet_common.events import FINAL, SUCCEEDED, Event, Fold, Kind, Status, next_seq
from fleet_common.exits import Exit

WAITING: Final = frozenset({Kind.ACCEPTED, Kind.RETRIED, Kind.HANDED_BACK, Kind.REPLAYED})
"""States in which no worker has the request: its end can be told at once, by whoever ends it."""

Key = tuple[str, uuid.UUID]


class Effect(enum.StrEnum):
    """What an order means for one request."""

    CANCELLED = "cancelled"
    CANCELLING = "cancelling"
    TOO_LATE = "too-late"
    ENDED = "ended"
    WAITING = "waiting"
    GONE = "gone"
    NOT_CANCELLED = "not-cancelled"
    UNPUBLISHED = "unpublished"
    UNKNOWN = "unknown"


class Board:
    """Where every request is, with the number of the last event of each, above which a further one must be."""

    def __init__(self) -> None:
        self._folds: dict[Key, Fold] = {}
        self._numbers: dict[Key, int] = {}

    def add(self, event: Event) -> Status:
        """Take in an event; where its request is now."""
        self._take(event)
        return self._folds[event.lane, event.request_id].status

    def add_all(self, events: Iterable[Event]) -> None:
        """Take in many."""
        for event in events:
            self._take(event)

    @property
    def statuses(self) -> Iterator[Status]:
        """Every request, by lane and id."""
        return (fold.status for fold in self._folds.values())

    def number(self, status: Status) -> int:
        """The highest number of an event of this request."""
        return self._numbers[status.lane, status.request_id]

    def _take(self, event: Event) -> None:
        key = (event.lane, event.request_id)
        if key in self._folds:
            self._folds[key].add(event)
        else:
            self._folds[key] = Fold(event)
        self._numbers[key] = max(event.seq, self._numbers.get(key, 0))


def effect_of(verb: Verb, status: Status) -> Effect:
    """What comes of an order for a request that is here."""
    return _of_undo(status) if verb is Verb.UNCANCEL else _of_cancel(status)


def _of_cancel(status: Status) -> Effect:
    if status.state in SUCCEEDED:
        return Effect.TOO_LATE
    if status.state is Kind.CANCELLED or status.state in WAITING:
        return Effect.CANCELLED
    if status.state is Kind.INCOMPLETE:
        return Effect.UNPUBLISHED
    return Effect.ENDED if status.state in FINAL else Effect.CANCELLING


def _of_undo(status: Status) -> Effect:
    if status.state is not Kind.CANCELLED:
        return Effect.NOT_CANCELLED
    # What no worker has met yet is still in its queue, and goes on.
    return Effect.WAITING if status.worker is None else Effect.GONE


def event_of(order: Order, status: Status, number: int, now: datetime) -> Event | None:
    """What to tell of a request that waits, so that its status is right at once; None when there is nothing to tell.

    Args:
        order: The order that was given.
        status: Where the request is.
        number: The highest number of an event of it.
        now: This host's clock, which must be synchronised as those of the workers.
    """
    if order.verb is Verb.CANCEL and status.state in WAITING:
        facts: dict[str, Any] = {
            "kind": Kind.CANCELLED,
            "reason": Reason.CANCELLED,
            "next_action": RULES[Reason.CANCELLED].next_action,
        }
    elif order.verb is Verb.UNCANCEL and _of_undo(status) is Effect.WAITING:
        facts = {"kind": Kind.REPLAYED}
    else:
        return None
    return Event(
        event_id=uuid.uuid4(),
        request_id=status.request_id,
        lane=status.lane,
        at=now,
        attempt=status.attempt,
        seq=next_seq(number, now),
        batch=status.batch,
        source=status.source,
        message=order.text,
        **facts,
    )


def words(effect: Effect, status: Status) -> str:
    """The effect for a person."""
    phase = f" ({status.progress.phase})" if status.progress else ""
    return {
        Effect.CANCELLED: "cancelled",
        Effect.CANCELLING: f"a worker is at it{phase} and stops at its next check",
        Effect.TOO_LATE: f"too late: {status.state}",
        Effect.ENDED: f"has ended before: {status.state}; put back, it would be cancelled",
        Effect.WAITING: "waits again",
        Effect.GONE: "a worker has settled it: submit it again",
        Effect.NOT_CANCELLED: f"was not cancelled: {status.state}",
        Effect.UNPUBLISHED: "is no request yet: its producer still waits for files",
        Effect.UNKNOWN: "the event log does not know it",
    }[effect]


class Cancelling:
    """What comes of an order for each request that it concerns.

    Args:
        board: What the event log tells.
        choice: Which requests are meant.
        order: What was ordered for them.
        tell: Sends an event and returns when it is confirmed.
        clock: The present time.
    """

    def __init__(
        self,
        board: Board,
        choice: Choice,
        order: Order,
        tell: Callable[[Event], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._board = board
        self._choice = choice
        self._order = order
        self._tell = tell
        self._clock = clock
        self._effects: dict[Key, tuple[Effect, Status]] = {}

    def look_at_all(self) -> None:
        """See what comes of the order for every request that the log knows."""
        for status in list(self._board.statuses):
            self._look(status)

    def hear(self, event: Event) -> None:
        """See what has become of a request since."""
        self._look(self._board.add(event))

    def _look(self, status: Status) -> None:
        if not self._choice.includes(status):
            return
        effect = effect_of(self._order.verb, status)
        event = event_of(self._order, status, self._board.number(status), self._clock())
        if event is not None:
            self._tell(event)
            status = self._board.add(event)
        self._effects[status.lane, status.request_id] = (effect, status)

    @property
    def in_work(self) -> bool:
        """Whether a worker is still at one of them."""
        return any(effect is Effect.CANCELLING for effect, _ in self._effects.values())

    def exit_code(self, *, waited: bool) -> Exit:
        """By what came of it."""
        if waited and self.in_work:
            return Exit.STILL_WAITING
        too_late = any(effect is Effect.TOO_LATE for effect, _ in self._effects.values())
        return Exit.TOO_LATE if too_late else Exit.OK

    def lines(self) -> Iterator[str]:
        """For a person: one line a request, then how many of which."""
        for effect, status in self._effects.values():
            yield f"{status.request_id}  {words(effect, status)}  lane {status.lane}"
        for one in self._unknown():
            yield f"{one}  not in the event log; the order holds for it all the same"
        counts = Counter(effect for effect, _ in self._effects.values())
        yield (
            ", ".join(f"{count} {effect}" for effect, count in counts.items()) or "the event log knows no request of it"
        )

    def rows(self) -> Iterator[dict[str, str]]:
        """The same for a program."""
        for effect, status in self._effects.values():
            state = str(status.state)
            yield {"id": str(status.request_id), "lane": status.lane, "state": state, "effect": str(effect)}
        for one in self._unknown():
            yield {"id": str(one), "effect": str(Effect.UNKNOWN)}

    def _unknown(self) -> list[uuid.UUID]:
        statuses = [status for _, status in self._effects.values()]
        known = {status.request_id for status in statuses} | {one.batch.id for one in statuses if one.batch}
        return [one for one in (*self._choice.request_ids, *self._choice.batch_ids) if one not in known]

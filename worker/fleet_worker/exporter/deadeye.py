"""Why the dead letters died, and a word in the event log for those that the broker made.

To look at the letters means to hold all of them for a moment, and every look counts as a delivery, so it is done only
when their number has changed, and otherwise once in ten minutes. Nothing is ever taken out. Letters that the broker
made (the delivery limit of a lane, a retry whose lane is gone) came without an event; they get theirs here. Threading:
one thread looks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final

import structlog

from fleet_common.broker import BrokerRefused, DeadQueue
from fleet_common.broker.deadletters import MOST_LETTERS
from fleet_common.dead import DeadLetter, read_letter
from fleet_common.errors import Reason, RequestError
from fleet_common.events import Event, Kind, next_seq
from fleet_worker.exporter.board import Seen
from fleet_worker.exporter.views import of_dead

_LOG = structlog.get_logger()
AGAIN_SECONDS: Final = 600.0
_NAMESPACE: Final = uuid.UUID("5c0d5f7e-58a1-4f1a-93b3-3f7f0c0f6d0a")
_FORBIDDEN: Final = 403
_NEVER: Final = float("-inf")
_MOST_TOLD: Final = 1_000
"""Events of broker-made letters that one look tells at most; the next look tells the others."""


class DeadEye:
    """Looks at the queue of dead letters.

    Args:
        open_queue: Holds all letters for as long as its context lasts.
        count: How many there are, as far as is known; None while nobody knows.
        tell: Publishes an event and waits for its confirm.
        fleet_users: Broker users of workers and operators.
        clock: The time.
        monotonic: Seconds.
    """

    def __init__(  # noqa: PLR0913  clocks are injected
        self,
        open_queue: Callable[[], DeadQueue],
        count: Callable[[], int | None],
        tell: Callable[[Event], None],
        *,
        fleet_users: Collection[str],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._open_queue, self._count, self._tell = open_queue, count, tell
        self._fleet_users, self._clock, self._monotonic = fleet_users, clock, monotonic
        self._reasons: tuple[str, ...] = ()
        self._looked_at = _NEVER
        self._told: set[uuid.UUID] = set()

    def look(self) -> Seen:
        """Dead letters by reason.

        Raises:
            RequestError: The queue cannot be read now.
        """
        count = self._count()
        # While somebody else holds some of them fewer are seen than there are: look again until both agree.
        changed = count is None or min(count, MOST_LETTERS) != len(self._reasons)
        if changed or self._monotonic() - self._looked_at > AGAIN_SECONDS:
            self._reasons = self._read(count)
            self._looked_at = self._monotonic()
        return of_dead(self._reasons)

    def _read(self, count: int | None) -> tuple[str, ...]:
        try:
            with self._open_queue() as queue:
                found = [self._summary(read_letter(buried, self._fleet_users)) for buried in queue.read()]
        except BrokerRefused as error:
            if error.code != _FORBIDDEN or count is None:
                raise
            # This user may only count: see docs/how-to/broker-users.md.
            return ("",) * count
        except RequestError as error:
            if error.reason is not Reason.LOCK_HELD or self._looked_at == _NEVER:
                raise
            # Somebody works on them: what was known a moment ago is shown until the next look.
            return self._reasons
        self._tell_of([event for _, event in found if event is not None])
        return tuple(reason for reason, _ in found)

    def _summary(self, letter: DeadLetter) -> tuple[str, Event | None]:
        """What is kept of a letter: not its body, of which there may be many."""
        return letter.reason, event_of(letter, self._clock())

    def _tell_of(self, events: list[Event]) -> None:
        there = {event.event_id for event in events}
        new = [event for event in events if event.event_id not in self._told]
        for event in new[:_MOST_TOLD]:
            self._tell(event)
            self._told.add(event.event_id)
            _LOG.warning("the broker gave a request up", request=str(event.request_id), lane=event.lane)
        self._told &= there


def event_of(letter: DeadLetter, now: datetime) -> Event | None:
    """The event that nobody told of a letter that the broker made; None for others, and where the request is unknown.

    Its id follows from the letter, so that telling it twice, after a restart, changes nothing.
    """
    if letter.worker or letter.request_id is None or letter.died_at is None:
        return None
    # The broker tells whole seconds; the request's last event may be of the same one.
    died_at = min(now, letter.died_at + timedelta(seconds=1))
    return Event(
        event_id=uuid.uuid5(_NAMESPACE, f"{letter.origin_key} {letter.digest} {letter.died_at.isoformat()}"),
        kind=Kind.DEAD,
        request_id=letter.request_id,
        lane=letter.lane,
        at=died_at,
        attempt=letter.attempt,
        seq=next_seq(0, died_at),
        batch=letter.batch,
        source=letter.source,
        reason=_reason(letter.reason),
        message=letter.message,
        next_action=letter.next_action,
    )


def _reason(word: str) -> Reason | None:
    return Reason(word) if word in set(Reason) else None

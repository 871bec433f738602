"""What the exporter sees of the dead letters, and tells of those that the broker made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, cast

import pytest

from fleet_common.broker import BrokerRefused, Buried, DeadQueue
from fleet_common.dead import DeadLetter, read_letter
from fleet_common.errors import Reason, failure
from fleet_common.events import Event, Kind
from fleet_common.messages import encode
from fleet_worker.exporter.deadeye import AGAIN_SECONDS, DeadEye, event_of
from support.builders import NOW, a_request

DIED = NOW - timedelta(minutes=3)


def by_broker(**changes: Any) -> Buried:
    """A letter that the broker made of the usual request, three minutes ago."""
    death = {"reason": "delivery_limit", "queue": "import.lane.phenix1.normal", "time": DIED, "count": 1}
    fields: dict[str, Any] = {
        "body": (body := encode(a_request())),
        "size_bytes": len(body),
        "digest": "ab" * 32,
        "headers": {"x-death": [death]},
        "user_id": "phenix1",
        "message_id": str(a_request().request_id),
        "routing_key": "phenix1.normal",
        "tag": 1,
    }
    return Buried(**(fields | changes))


def by_worker() -> Buried:
    """A letter that a worker buried."""
    return by_broker(user_id="worker", headers={"reason": "file-empty", "worker": "w1", "attempt": 2})


@dataclass
class Morgue:
    """A queue of dead letters, as the eye opens it."""

    letters: list[Buried] = field(default_factory=list)
    error: Exception | None = None
    opened: int = 0

    def __enter__(self) -> Self:
        self.opened += 1
        if self.error is not None:
            raise self.error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def read(self) -> Iterator[Buried]:
        """All of them."""
        return iter(self.letters)


@dataclass
class Eyes:
    """A dead eye on a morgue, and what it told."""

    morgue: Morgue = field(default_factory=Morgue)
    told: list[Event] = field(default_factory=list)
    seconds: float = 0.0
    count: int | None = None

    def __post_init__(self) -> None:
        self.eye = DeadEye(
            lambda: cast("DeadQueue", self.morgue),
            lambda: len(self.morgue.letters) if self.count is None else self.count,
            self.told.append,
            fleet_users=("worker", "operator"),
            clock=lambda: NOW,
            monotonic=lambda: self.seconds,
        )

    def reasons(self) -> dict[str, float]:
        """What is shown, without zeros."""
        return {labels[0]: count for labels, count in self.eye.look()["dead_letters"].items() if count}


def test_letters_are_counted_by_reason() -> None:
    """Those of workers and those of the broker."""
    assert Eyes(Morgue([by_worker(), by_worker(), by_broker()])).reasons() == {"file-empty": 2, "delivery-limit": 1}


def test_letters_are_looked_at_only_when_their_number_changed_or_after_a_while() -> None:
    """Every look is a delivery to the broker."""
    eyes = Eyes(Morgue([by_worker()]))
    eyes.reasons()
    eyes.reasons()
    assert eyes.morgue.opened == 1
    eyes.morgue.letters.append(by_worker())
    assert eyes.reasons() == {"file-empty": 2}
    assert eyes.morgue.opened == 2
    eyes.seconds = AGAIN_SECONDS + 1
    eyes.reasons()
    assert eyes.morgue.opened == 3


def test_letters_that_somebody_else_held_are_seen_at_the_next_look() -> None:
    """Given two letters of which one is in other hands, then the exporter looks again until it has both."""
    eyes = Eyes(Morgue([by_worker()]), count=2)
    assert eyes.reasons() == {"file-empty": 1}
    eyes.morgue.letters.append(by_worker())
    assert eyes.reasons() == {"file-empty": 2}
    eyes.reasons()
    assert eyes.morgue.opened == 2


def test_without_the_brokers_count_every_look_is_a_real_one() -> None:
    """Given a management API that is away, then the queue itself is asked."""
    eyes = Eyes(Morgue([by_worker()]))
    vars(eyes.eye)["_count"] = lambda: None
    assert [eyes.reasons(), eyes.reasons()] == [{"file-empty": 1}] * 2
    assert eyes.morgue.opened == 2


def test_who_may_not_read_them_counts_them_all_the_same() -> None:
    """Given the user monitor, then all are unknown, and nothing is told."""
    eyes = Eyes(Morgue([by_broker()], BrokerRefused("no", 403)))
    assert eyes.reasons() == {"unknown": 1}
    assert eyes.told == []


def test_any_other_refusal_is_a_problem() -> None:
    """A queue that is not there."""
    with pytest.raises(BrokerRefused):
        Eyes(Morgue([by_broker()], BrokerRefused("no queue", 404))).reasons()


def test_while_a_command_holds_them_the_last_look_is_shown() -> None:
    """Given a replay that takes its time, then the numbers of a moment ago stand; with none there is a problem."""
    eyes = Eyes(Morgue([by_worker()]))
    eyes.reasons()
    eyes.morgue.letters, eyes.morgue.error = [], failure(Reason.LOCK_HELD, "held")
    assert eyes.reasons() == {"file-empty": 1}
    with pytest.raises(Exception, match="held"):
        Eyes(Morgue([by_worker()], failure(Reason.LOCK_HELD, "held"))).reasons()


def test_a_letter_of_the_broker_gets_its_event_once() -> None:
    """Given a letter without an event, then the log is told that the request is dead, and not again."""
    eyes = Eyes(Morgue([by_broker(), by_worker()]))
    eyes.reasons()
    eyes.seconds = AGAIN_SECONDS + 1
    eyes.reasons()
    (event,) = eyes.told
    assert (event.kind, event.reason, event.lane, event.request_id) == (
        Kind.DEAD,
        Reason.DELIVERY_LIMIT,
        "phenix1",
        a_request().request_id,
    )
    assert event.seq == int((DIED.timestamp() + 1) * 1000)
    assert event.next_action is not None


def test_a_letter_that_was_replayed_and_died_again_is_told_again() -> None:
    """Its death is another one."""
    eyes = Eyes(Morgue([by_broker()]))
    eyes.reasons()
    again = {"reason": "delivery_limit", "queue": "import.lane.phenix1.normal", "time": NOW}
    eyes.morgue.letters = [by_broker(headers={"x-death": [again]}), by_worker()]
    eyes.reasons()
    assert len({event.event_id for event in eyes.told}) == 2


def letter(**changes: Any) -> DeadLetter:
    """The letter of the broker, read."""
    return read_letter(by_broker(**changes), ("worker",))


def test_a_restart_tells_the_same_event_again() -> None:
    """Readers know it by its id."""
    one, other = event_of(letter(), NOW), event_of(letter(), NOW + timedelta(hours=1))
    assert one is not None
    assert other is not None
    assert one.event_id == other.event_id


@pytest.mark.parametrize(
    "nothing",
    [
        replace(letter(), worker="w1"),
        replace(letter(), died_at=None),
        letter(body=b"junk", size_bytes=4, message_id="no id"),
    ],
    ids=["a worker's own", "nobody knows when", "nobody knows which request"],
)
def test_there_is_nothing_to_tell_of(nothing: DeadLetter) -> None:
    """The worker told, or there is no request to tell of."""
    assert event_of(nothing, NOW) is None


def test_a_death_of_this_very_second_is_not_in_the_future() -> None:
    """The broker tells whole seconds."""
    event = event_of(replace(letter(), died_at=NOW), NOW)
    assert event is not None
    assert event.at == NOW


def test_a_word_of_the_broker_that_is_no_reason_is_left_to_the_message() -> None:
    """Events hold the closed set only."""
    event = event_of(replace(letter(), reason="unroutable", message="no lane"), NOW)
    assert event is not None
    assert (event.reason, event.message) == (None, "no lane")

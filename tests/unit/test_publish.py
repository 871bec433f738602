"""Publishing many requests with several on the way: in order, bounded, and no more after a verdict."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from fleet_common.broker import (
    BrokerFailure,
    BrokerUnavailable,
    Names,
    OnTheWay,
    Outgoing,
    Publisher,
    PublishRefused,
    PublishTimeout,
    PublishUnroutable,
)
from fleet_common.events import Event, Kind
from fleet_common.metrics import Metrics
from fleet_producer.publish import Announcer, publish_all
from fleet_producer.slips import Entry, new_entry
from support import series
from support.builders import NOW, a_request

FULL = PublishRefused("full")


@dataclass
class Sender:
    """A publisher that notes what is on the way, and fails for the lanes that a test names."""

    fails: dict[str, BrokerFailure] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    begun: list[str] = field(default_factory=list)
    on_the_way: int = 0
    most_on_the_way: int = 0

    def begin(self, message: Outgoing, *, deadline_seconds: float) -> OnTheWay:
        """Send one."""
        assert deadline_seconds == 5
        self.begun.append(message.routing_key)
        return self._sent(lambda: self._confirm(message.routing_key))

    def begin_event(self, event: Event, *, deadline_seconds: float) -> OnTheWay:
        """Tell one."""
        assert 0 < deadline_seconds < 60
        self.begun.append(event.kind)
        return self._sent(lambda: self._confirm(event.kind))

    def _sent(self, confirm: Callable[[], None]) -> OnTheWay:
        self.on_the_way += 1
        self.most_on_the_way = max(self.most_on_the_way, self.on_the_way)
        return OnTheWay(confirm)

    def _confirm(self, key: str) -> None:
        self.on_the_way -= 1
        if key in self.fails:
            raise self.fails[key]


def entries(*lanes: str) -> list[Entry]:
    """One request for each of these lanes."""
    return [new_entry(a_request(request_id=uuid.uuid4(), lane=lane)) for lane in lanes]


def published(sender: Sender, given: list[Entry], metrics: Metrics | None = None) -> list[tuple[str, str]]:
    """Lanes and errors, in order, with two on the way."""
    told = publish_all(
        cast("Publisher", sender),
        given,
        deadline_seconds=5,
        metrics=metrics or Metrics(),
        most_on_the_way=2,
    )
    return [(entry.request.lane, str(failure or "")) for entry, failure in told]


def test_all_are_told_in_order_and_no_more_are_on_the_way_than_may_be() -> None:
    sender = Sender()
    assert published(sender, entries("a", "b", "c", "d")) == [("a", ""), ("b", ""), ("c", ""), ("d", "")]
    assert sender.most_on_the_way == 2


@pytest.mark.parametrize("error", [FULL, PublishUnroutable("nowhere")])
def test_after_a_refusal_nothing_more_of_its_lane_is_sent(error: BrokerFailure) -> None:
    """What was on the way already is told, too."""
    sender = Sender(fails={"a.normal": error})
    assert published(sender, entries("a", "a", "a", "b", "a", "b")) == [
        ("a", str(error)),
        ("a", str(error)),
        ("b", ""),
        ("b", ""),
    ]


@pytest.mark.parametrize("error", [PublishTimeout("silence"), BrokerUnavailable("away")])
def test_without_a_confirm_nothing_more_is_sent_at_all(error: BrokerFailure) -> None:
    sender = Sender(fails={"a.normal": error})
    assert published(sender, entries("a", "b", "c", "d")) == [("a", str(error)), ("b", "")]
    assert sender.begun == ["a.normal", "b.normal"]


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (FULL, "refused"),
        (PublishUnroutable("nowhere"), "unroutable"),
        (PublishTimeout("silence"), "timeout"),
        (BrokerUnavailable("away"), "unreachable"),
    ],
)
def test_every_result_is_counted(error: BrokerFailure, result: str) -> None:
    metrics = Metrics()
    published(Sender(fails={"a.normal": error}), entries("b", "b", "a"), metrics)
    counted = {
        name: series.total(metrics.registry, "published_requests_total", result=name) for name in ("confirmed", result)
    }
    assert counted == {"confirmed": 2, result: 1}


def test_events_are_told_many_at_once_and_all_are_waited_for() -> None:
    sender = Sender(fails={Kind.ACCEPTED: BrokerUnavailable("away")})
    announcer = Announcer(cast("Publisher", sender))
    for _ in range(100):
        announcer.tell(a_request(), NOW)
    assert 10 < sender.on_the_way < 100
    announcer.finish()
    assert (sender.on_the_way, len(sender.begun)) == (0, 100)

"""The exporter's eyes on a real broker, with a facility's permissions: what it may see, and the little it may say."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleet_common.broker import (
    BrokerRefused,
    DeadQueue,
    Delivery,
    Outgoing,
    PublishRefused,
    StreamReader,
    publish_dead,
    queue_depth,
)
from fleet_common.broker.management import Management
from fleet_common.broker.overview import Overview, look
from fleet_common.broker.verify import TIMEOUT_HONOURED_SINCE
from fleet_common.errors import Reason
from fleet_common.events import Event, Kind
from fleet_common.fleetmetrics import DEAD_REASONS
from fleet_common.messages import Priority, encode
from fleet_worker.exporter.deadeye import DeadEye
from support.builders import a_request, an_event
from support.rabbit import NAMES, Rabbit
from support.waiting import until

REQUEST = a_request(lane="demo")
LOOK_SECONDS = 30.0
"""The management API's numbers are some seconds old."""


def overview(rabbit: Rabbit, user: str = "exporter") -> Overview:
    """What a user sees."""
    there = rabbit.plain(user)
    api = Management(rabbit.description.management_url, user, there.password)
    return look(api, there.vhost, NAMES, "omero")


def seen(rabbit: Rabbit, what: Callable[[Overview], Any], user: str = "exporter") -> None:
    """Wait until the numbers say so."""
    until(lambda: what(overview(rabbit, user)), LOOK_SECONDS, "the numbers of the management API", pause_seconds=0.5)


def submit(rabbit: Rabbit) -> None:
    """The usual request, by its lane's producer."""
    request = Outgoing(NAMES.requests, REQUEST.routing_key, encode(REQUEST), message_id=str(REQUEST.request_id))
    rabbit.publisher("demo").publish(request)


def taken(rabbit: Rabbit) -> Delivery:
    """The request in the hands of a worker."""
    delivery = rabbit.source("demo").take(10)
    assert delivery is not None
    return delivery


def an_eye(rabbit: Rabbit, user: str, told: list[Event]) -> DeadEye:
    """An eye of the exporter's, or of another user."""
    link = rabbit.link(rabbit.plain(user))
    return DeadEye(
        lambda: DeadQueue(link, NAMES),
        lambda: overview(rabbit, "monitor").dead,
        told.append,
        fleet_users=("worker", "operator"),
        clock=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
    )


def reasons(eye: DeadEye) -> dict[str, float]:
    """Dead letters by reason, without zeros."""
    return {labels[0]: count for labels, count in eye.look()["dead_letters"].items() if count}


@pytest.mark.parametrize("user", ["exporter", "monitor"])
def test_queues_are_seen_from_ready_to_held_to_empty(rabbit: Rabbit, user: str) -> None:
    """Given a request, when it is published, taken and settled, then the numbers follow."""
    place = ("demo", Priority.NORMAL)
    submit(rabbit)
    seen(rabbit, lambda found: (found.lanes[place].ready, found.lanes[place].unacked) == (1, 0), user)
    delivery = taken(rabbit)
    seen(rabbit, lambda found: (found.lanes[place].ready, found.lanes[place].unacked) == (0, 1), user)
    delivery.ack()
    seen(rabbit, lambda found: (found.lanes[place].ready, found.lanes[place].unacked) == (0, 0), user)


def test_every_lane_of_the_topology_is_seen_with_its_timeout(rabbit: Rabbit) -> None:
    """All classes, and the seven days that the queues ask for, where the broker heeds them."""
    found = overview(rabbit)
    assert {lane for lane, _ in found.lanes} >= {"demo", "hcs", "confocal"}
    heeded = rabbit.link(rabbit.plain("exporter")).server_version >= TIMEOUT_HONOURED_SINCE
    assert found.delivery_timeout_seconds == (7 * 86400 if heeded else None)


def test_slots_are_seen_while_they_are_held(rabbit: Rabbit) -> None:
    """Given a slot, when it is released, then it is free."""
    locks = rabbit.locks()
    lease = until(lambda: locks.try_take(NAMES.slot("omero", "import", 2)), 10)
    seen(rabbit, lambda found: found.slots == {"import": 1})
    lease.release()
    seen(rabbit, lambda found: not found.slots)


def test_who_has_no_tag_sees_nothing(rabbit: Rabbit) -> None:
    """A worker's account shows no monitoring."""
    with pytest.raises(BrokerRefused):
        overview(rabbit, "worker")


def test_dead_letters_are_counted_by_reason_and_stay(rabbit: Rabbit) -> None:
    """Given a letter of a worker, when the exporter looks again and again, then nothing is lost or told."""
    submit(rabbit)
    delivery = taken(rabbit)
    publish_dead(
        rabbit.publisher("worker"), delivery, reason=Reason.FILE_EMPTY, error_class=Reason.FILE_EMPTY,
        message="empty", worker="w1", attempt=1, log_tail="", fleet_users=("worker",),
    )  # fmt: skip
    delivery.ack()
    told: list[Event] = []
    for _ in range(3):
        assert reasons(an_eye(rabbit, "exporter", told)) == {"file-empty": 1}
    link = rabbit.link(rabbit.plain("operator"))
    until(lambda: (depth := queue_depth(link, NAMES.dead)) is not None and depth.ready == 1)
    assert told == []


def test_a_letter_that_the_broker_made_gets_its_event_by_the_exporters_own_account(rabbit: Rabbit) -> None:
    """Given a retry whose lane is gone, then the exporter sees why, and the event log says that it is dead."""
    rabbit.publisher("worker").publish(
        Outgoing(NAMES.retry(10), "nowhere.normal", encode(REQUEST), message_id=str(REQUEST.request_id))
    )
    told: list[Event] = []
    until(lambda: reasons(an_eye(rabbit, "exporter", told)) == {"unroutable": 1}, 40, "the letter", pause_seconds=1)
    event = told[-1]
    assert (event.kind, event.request_id) == (Kind.DEAD, REQUEST.request_id)
    rabbit.publisher("exporter").publish_event(event, required=True)
    assert event in list(rabbit.reader(rabbit.plain("exporter")).read_all())


def test_the_exporter_may_say_nothing_else(rabbit: Rabbit) -> None:
    """Not that something was imported, and nothing to the lanes."""
    publisher = rabbit.publisher("exporter")
    with pytest.raises(PublishRefused):
        publisher.publish_event(an_event(Kind.IMPORTED, lane="demo"), required=True)
    with pytest.raises(PublishRefused):
        publisher.publish(Outgoing(NAMES.requests, REQUEST.routing_key, encode(REQUEST)))


def test_monitor_counts_dead_letters_without_their_reasons(rabbit: Rabbit) -> None:
    """Given a user who may not read them, then all are unknown as soon as the broker has counted them."""
    submit(rabbit)
    delivery = taken(rabbit)
    publish_dead(
        rabbit.publisher("worker"), delivery, reason=Reason.FILE_EMPTY, error_class=Reason.FILE_EMPTY,
        message="empty", worker="w1", attempt=1, log_tail="", fleet_users=("worker",),
    )  # fmt: skip
    delivery.ack()
    eye = an_eye(rabbit, "monitor", [])
    until(lambda: reasons(eye) == {DEAD_REASONS[-1]: 1}, LOOK_SECONDS, "the count", pause_seconds=0.5)


def test_the_log_can_be_read_from_a_time_on(rabbit: Rabbit) -> None:
    """Given an event of now, when the log is read from an hour ago on, then it is there."""
    publisher = rabbit.publisher("worker")
    event = an_event(Kind.STARTED, lane="demo", seq=1)
    publisher.publish_event(event, required=True)
    with StreamReader(rabbit.plain("exporter"), NAMES.event_log) as reader:
        hour_ago = reader.follow_messages(datetime.now(UTC) - timedelta(hours=1), deadline_seconds=15)
        assert any(str(event.event_id).encode() in message.body for message in hour_ago)

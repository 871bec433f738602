"""Taking: urgent before normal before bulk, lanes in turn, and a delivery that knows when it is lost."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fleet_common.broker import Outgoing, Publisher, Timing
from fleet_common.messages import Priority
from support.proxy import Proxy
from support.rabbit import NAMES, Rabbit
from support.waiting import seconds_until, until

ONCE = 5.0


def publish(publisher: Publisher, key: str, body: bytes = b"{}", **more: Any) -> None:
    """Publish a request."""
    publisher.publish(Outgoing(NAMES.requests, key, body, message_id=str(uuid.uuid4()), **more))


def test_urgent_comes_before_normal_before_bulk(rabbit: Rabbit) -> None:
    publisher = rabbit.publisher("demo")
    for priority in ("bulk", "normal", "urgent", "bulk", "urgent"):
        publish(publisher, f"demo.{priority}")
    source = rabbit.source("demo")
    taken = [source.take(ONCE) for _ in range(5)]
    assert [one and one.priority for one in taken] == [
        Priority.URGENT,
        Priority.URGENT,
        Priority.NORMAL,
        Priority.BULK,
        Priority.BULK,
    ]


def test_lanes_are_served_in_turn(rabbit: Rabbit) -> None:
    """Given six plates in one lane and one image in another, then the image is not behind all plates."""
    hcs, confocal = rabbit.publisher("hcs"), rabbit.publisher("confocal")
    for _ in range(3):
        publish(hcs, "hcs.normal")
    publish(confocal, "confocal.normal")
    source = rabbit.source("hcs", "confocal")
    lanes = [one.lane for one in (source.take(ONCE) for _ in range(4)) if one]
    assert lanes == ["hcs", "confocal", "hcs", "hcs"]


def test_an_urgent_request_of_any_lane_comes_before_a_normal_one(rabbit: Rabbit) -> None:
    publish(rabbit.publisher("demo"), "demo.normal")
    publish(rabbit.publisher("hcs"), "hcs.urgent")
    delivery = rabbit.source("demo", "hcs").take(ONCE)
    assert delivery is not None
    assert (delivery.lane, delivery.priority) == ("hcs", Priority.URGENT)


def test_nothing_to_take_ends_at_the_deadline(rabbit: Rabbit) -> None:
    source = rabbit.source()
    assert 0.5 <= seconds_until(lambda: source.take(0.5) is None) < 2


def test_an_acked_delivery_does_not_come_again(rabbit: Rabbit) -> None:
    publish(rabbit.publisher("demo"), "demo.normal")
    source = rabbit.source("demo")
    delivery = source.take(ONCE)
    assert delivery is not None
    assert (delivery.redelivered, delivery.deliveries, delivery.lost) == (False, 0, False)
    assert delivery.ack()
    assert not delivery.lost
    assert source.take(0.3) is None
    assert not delivery.ack()  # twice is once


def test_a_worker_that_dies_gives_its_delivery_back_with_a_count(rabbit: Rabbit) -> None:
    """Given a delivery whose holder's connection is cut, then it knows, and the next one sees one delivery before."""
    publish(rabbit.publisher("demo"), "demo.normal", body=b"plate")
    with Proxy(rabbit.description.amqp_port) as proxy:
        delivery = rabbit.source("demo", address=rabbit.plain("worker", proxy.port)).take(ONCE)
        assert delivery is not None
        proxy.refuse()
        proxy.cut()
        assert seconds_until(lambda: delivery.lost) < 5
        assert not delivery.ack(1)
        again = rabbit.source("demo").take(ONCE)
        assert again is not None
        assert (again.body, again.redelivered, again.deliveries) == (b"plate", True, 1)


def test_counts_that_a_publisher_forged_are_not_believed(rabbit: Rabbit) -> None:
    headers = {"x-delivery-count": 70, "x-acquired-count": 90}
    publish(rabbit.publisher("demo"), "demo.normal", headers=headers)
    delivery = rabbit.source("demo").take(ONCE)
    assert delivery is not None
    assert delivery.deliveries == 0


def test_two_deliveries_are_held_on_channels_of_their_own(rabbit: Rabbit) -> None:
    """Given two held deliveries, when the second is acked first, then the first is still held."""
    publisher = rabbit.publisher("demo")
    for _ in range(2):
        publish(publisher, "demo.normal")
    source = rabbit.source("demo")
    first, second = source.take(ONCE), source.take(ONCE)
    assert first is not None
    assert second is not None
    assert second.ack()
    assert not first.lost
    assert first.ack()


def test_a_body_of_two_mebibytes_arrives_whole(rabbit: Rabbit) -> None:
    body = bytes(range(256)) * 8192
    publish(rabbit.publisher("demo"), "demo.bulk", body=body)
    delivery = rabbit.source("demo").take(ONCE)
    assert delivery is not None
    assert delivery.body == body
    assert delivery.ack()


def test_a_request_without_a_user_id_shows_none(rabbit: Rabbit) -> None:
    import pika  # noqa: PLC0415  only to publish as no code of the fleet would

    def anonymous(channel: Any, then: Any) -> None:
        channel.confirm_delivery(then)
        channel.basic_publish(NAMES.requests, "demo.normal", b"{}", pika.BasicProperties())

    rabbit.admin(anonymous)
    delivery = rabbit.source("demo").take(ONCE)
    assert delivery is not None
    assert (delivery.user_id, delivery.message_id, delivery.timestamp) == (None, None, None)


def test_the_doorbell_ends_an_idle_wait(rabbit: Rabbit) -> None:
    """Given a worker that polls once a minute, when a request comes with a ring, then it is taken within 2 s."""
    source = rabbit.source("demo", poll_seconds=60)
    taken: list[float] = []

    def take() -> None:
        if source.take(50) is not None:
            taken.append(time.monotonic())

    taker = threading.Thread(target=take)
    taker.start()
    publisher = rabbit.publisher("demo")
    until(lambda: _listeners(rabbit) > 0)
    publish(publisher, "demo.normal")
    rung_at = time.monotonic()
    publisher.ring()
    taker.join(10)
    assert taken
    assert taken[0] - rung_at < 2


def test_who_waits_for_a_slot_takes_it_at_once_when_the_doorbell_says_that_it_is_free(rabbit: Rabbit) -> None:
    """Given one who looks once an hour, when somebody gives the slot back and rings for it, then it is taken."""
    (slot,) = NAMES.slots("omero", "import", 1)
    patient, waits = rabbit.locks(timing=Timing(retry_seconds=3600)), threading.Event()
    rabbit.source("demo", on_freed=patient.freed)
    until(lambda: _listeners(rabbit) == 1)
    held = rabbit.locks().try_take(slot)
    assert held is not None

    def asked() -> bool:
        waits.set()
        return False

    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(patient.take_one_of, [slot], 20, stop=asked)
        assert waits.wait(10)
        held.release()
        rabbit.publisher("worker").ring(slot)
        taking.result(10).release()


def _listeners(rabbit: Rabbit) -> int:
    bindings = rabbit.part.management.get(f"/api/exchanges/fleet/{NAMES.wake}/bindings/source")
    return len(bindings)


def test_waking_ends_a_take_at_once_for_a_worker_that_stops(rabbit: Rabbit) -> None:
    source = rabbit.source("demo", poll_seconds=60)
    threading.Timer(0.3, source.wake).start()
    assert seconds_until(lambda: source.take(50) is None, 20) < 3


def test_a_lane_that_is_missing_does_not_stop_the_others(rabbit: Rabbit) -> None:
    publish(rabbit.publisher("demo"), "demo.normal")
    delivery = rabbit.source("no-such-lane", "demo").take(ONCE)
    assert delivery is not None
    assert delivery.lane == "demo"


def test_taking_goes_on_after_the_connection_was_cut(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        source = rabbit.source("demo", address=rabbit.plain("worker", proxy.port))
        assert source.take(0.2) is None
        proxy.cut()
        publish(rabbit.publisher("demo"), "demo.normal")
        delivery = source.take(15)
    assert delivery is not None


@pytest.mark.timeout(120)
def test_a_held_delivery_is_lost_with_the_broker_and_comes_again(rabbit: Rabbit) -> None:
    publish(rabbit.publisher("demo"), "demo.normal")
    source = rabbit.source("demo")
    delivery = source.take(ONCE)
    assert delivery is not None
    rabbit.restart()
    assert delivery.lost
    again = source.take(30)
    assert again is not None
    assert again.redelivered
    assert again.ack()

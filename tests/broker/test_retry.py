"""Settling by copies: into a retry tier and back, straight back, and to the dead letters."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from fleet_common.broker import (
    ATTEMPT,
    ERROR_CLASS,
    FIRST_SEEN,
    LOG_TAIL,
    MESSAGE,
    ORIGIN_KEY,
    REASON,
    RETRY_REASON,
    SUBMITTED_BY,
    WORKER,
    Delivery,
    LaneSource,
    Outgoing,
    Publisher,
    PublishRefused,
    attempt_of,
    hand_back,
    publish_dead,
    publish_retry,
    queue_depth,
    submitted_by,
)
from support.rabbit import NAMES, Rabbit
from support.waiting import until

FLEET = ("worker", "operator")


def taken(source: LaneSource, deadline_seconds: float = 5.0) -> Delivery:
    """The next request."""
    delivery = source.take(deadline_seconds)
    assert delivery is not None
    return delivery


def submit(publisher: Publisher, body: bytes = b"{}", **more: Any) -> str:
    """Publish a request as a producer does."""
    message_id = str(uuid.uuid4())
    publisher.publish(Outgoing(NAMES.requests, "demo.urgent", body, message_id=message_id, **more))
    return message_id


def dead_letter(rabbit: Rabbit) -> tuple[Any, Any, bytes]:
    """Method, properties and body of the next dead letter."""
    found: list[tuple[Any, Any, bytes]] = []

    def ask(channel: Any, then: Any) -> None:
        def got(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            found.append((method, properties, body))
            then(None)

        channel.add_callback(then, [_empty()], one_shot=True)
        channel.basic_get(NAMES.dead, got, auto_ack=True)

    def get() -> bool:
        rabbit.admin(ask)
        return bool(found)

    until(get)
    return found[0]


def _empty() -> Any:
    import pika  # noqa: PLC0415  only for the name of an AMQP method

    return pika.spec.Basic.GetEmpty


@pytest.mark.timeout(60)
def test_a_retry_comes_back_into_its_lane_after_the_tier(rabbit: Rabbit) -> None:
    """Given a failed attempt, then a clean copy is back after 10 s, knowing its attempt and who submitted it."""
    message_id = submit(rabbit.publisher("demo"), b"plate", headers={"x-delivery-count": 7, "anything": "else"})
    source, worker = rabbit.source("demo"), rabbit.publisher("worker")
    first = taken(source)
    assert submitted_by(first, FLEET) == "demo"
    assert attempt_of(first, FLEET) == 0

    tier = publish_retry(worker, first, attempt=1, delay_seconds=3, reason="manifest-differs", fleet_users=FLEET)
    began = time.monotonic()
    assert first.ack()
    second = taken(source, 20)

    assert tier == 10
    assert 9 < time.monotonic() - began < 14
    assert (second.body, second.message_id, second.routing_key) == (b"plate", message_id, "demo.urgent")
    assert second.priority == "urgent"
    assert second.user_id == "worker"
    assert submitted_by(second, FLEET) == "demo"
    assert attempt_of(second, FLEET) == 1
    assert second.headers[RETRY_REASON] == "manifest-differs"
    assert "anything" not in second.headers

    # The tier has put death headers on it; the next copy is clean again, and remembers when the fleet saw it first.
    assert "x-death" in second.headers
    hand_back(worker, second, fleet_users=FLEET)
    assert second.ack()
    third = taken(source)
    assert attempt_of(third, FLEET) == 1
    assert submitted_by(third, FLEET) == "demo"
    assert third.headers[FIRST_SEEN] == second.headers[FIRST_SEEN]
    # RabbitMQ 3.10 shows its own count already at the first delivery.
    assert {name: value for name, value in third.headers.items() if name.startswith("x-")} in (
        {},
        {"x-delivery-count": 0},
    )


def test_a_hand_back_is_at_once_in_its_lane_and_costs_no_attempt(rabbit: Rabbit) -> None:
    submit(rabbit.publisher("demo"), b"plate")
    source = rabbit.source("demo")
    delivery = taken(source)
    hand_back(rabbit.publisher("worker"), delivery, fleet_users=FLEET)
    assert delivery.ack()
    again = taken(source)
    assert (again.body, again.redelivered, again.deliveries) == (b"plate", False, 0)
    assert attempt_of(again, FLEET) == 0
    assert submitted_by(again, FLEET) == "demo"


def test_a_dead_letter_keeps_the_body_and_says_why(rabbit: Rabbit) -> None:
    submit(rabbit.publisher("demo"), b"no json {")
    delivery = taken(rabbit.source("demo"))
    publish_dead(
        rabbit.publisher("worker"),
        delivery,
        reason="invalid-request",
        error_class="Permanent",
        message="m" * 5000,
        worker="worker-1",
        attempt=3,
        log_tail="old" + "t" * 4000,
        fleet_users=FLEET,
    )
    assert delivery.ack()
    method, properties, body = dead_letter(rabbit)
    assert body == b"no json {"
    assert method.routing_key == "demo.urgent"
    headers = properties.headers
    assert headers[REASON] == "invalid-request"
    assert headers[ERROR_CLASS] == "Permanent"
    assert headers[MESSAGE] == "m" * 4000
    assert headers[LOG_TAIL] == "t" * 4000
    assert (headers[WORKER], headers[ATTEMPT], headers[SUBMITTED_BY]) == ("worker-1", 3, "demo")
    assert headers[ORIGIN_KEY] == "demo.urgent"


def test_who_submitted_is_believed_only_in_copies_of_the_fleet(rabbit: Rabbit) -> None:
    """Given a producer who forges the fleet's headers, then it is held to its own user id, at attempt 0."""
    submit(rabbit.publisher("demo"), headers={SUBMITTED_BY: "hcs", ATTEMPT: 99})
    delivery = taken(rabbit.source("demo"))
    assert submitted_by(delivery, FLEET) == "demo"
    assert attempt_of(delivery, FLEET) == 0


def test_a_retry_of_a_deleted_lane_ends_in_the_dead_letters(rabbit: Rabbit) -> None:
    """Given a retry whose lane is gone when its time has come, then the tier goes on and the request is dead."""
    rabbit.publisher("topology").publish(Outgoing(NAMES.due, "gone.normal", b"plate"))
    method, _, body = dead_letter(rabbit)
    assert (method.routing_key, body) == ("gone.normal", b"plate")


def test_a_producer_may_not_write_dead_letters_or_retries(rabbit: Rabbit) -> None:
    submit(rabbit.publisher("demo"))
    delivery = taken(rabbit.source("demo"))
    producer = rabbit.publisher("hcs")
    with pytest.raises(PublishRefused, match="ACCESS_REFUSED"):
        publish_retry(producer, delivery, attempt=1, delay_seconds=1, reason="x")
    with pytest.raises(PublishRefused, match="ACCESS_REFUSED"):
        publish_dead(producer, delivery, reason="x", error_class="x", message="x", worker="x", attempt=1)


def test_a_request_that_kills_every_worker_is_dead_at_the_delivery_limit(rabbit: Rabbit) -> None:
    """Given a message returned more often than its queue allows, then the broker itself puts it to the dead letters."""
    submit(rabbit.publisher("demo"), b"poison")
    queue = NAMES.lane_queue("demo", "urgent")
    link = rabbit.link(rabbit.plain("admin"))

    def crash(connection: Any, promise: Any) -> None:
        def opened(channel: Any) -> None:
            channel.add_on_close_callback(lambda *_: promise.set_result(None))
            channel.add_callback(lambda _: channel.close(), [_empty()], one_shot=True)
            channel.basic_get(queue, lambda *_: channel.close())

        connection.channel(on_open_callback=opened)

    for _ in range(101):
        until(lambda: (depth := queue_depth(link, queue)) is not None and (depth.ready or _dead(rabbit)))
        link.call(crash, 5)
    _, properties, body = dead_letter(rabbit)
    assert body == b"poison"
    assert properties.headers["x-death"][0]["reason"] == "delivery_limit"


def _dead(rabbit: Rabbit) -> int:
    depth = queue_depth(rabbit.link(rabbit.plain("admin")), NAMES.dead)
    assert depth is not None
    return depth.ready

"""Publishing: a return means that the broker has the message; everything else is an error that says what is known."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from fleet_common.broker import (
    BrokerUnavailable,
    Link,
    Outgoing,
    PublishRefused,
    PublishTimeout,
    PublishUnroutable,
    queue_depth,
)
from fleet_common.errors import Reason, Transient
from support.proxy import Proxy
from support.rabbit import NAMES, Rabbit
from support.waiting import until


def request(lane: str = "demo", priority: str = "normal", body: bytes = b"{}", **more: Any) -> Outgoing:
    """A message as a producer publishes it."""
    return Outgoing(NAMES.requests, f"{lane}.{priority}", body, message_id=str(uuid.uuid4()), **more)


def test_a_published_request_is_in_its_lane_with_the_user_id(rabbit: Rabbit) -> None:
    moment = datetime(2026, 1, 31, 10, tzinfo=UTC)
    rabbit.publisher("demo").publish(request(body=b'{"a": 1}', timestamp=moment))
    delivery = rabbit.source("demo").take(5)
    assert delivery is not None
    assert (delivery.body, delivery.user_id, delivery.timestamp) == (b'{"a": 1}', "demo", moment)
    assert delivery.ack()


def test_a_lane_that_does_not_exist_is_unroutable_only_after_the_grace(rabbit: Rabbit) -> None:
    publisher = rabbit.publisher("topology", unroutable_grace_seconds=1.0)
    began = time.monotonic()
    with pytest.raises(PublishUnroutable, match=r"key nowhere\.normal.*topology apply") as caught:
        publisher.publish(request("nowhere"), deadline_seconds=20)
    assert 1.0 <= time.monotonic() - began < 5
    assert isinstance(caught.value, Transient)
    assert caught.value.reason is Reason.BROKER_UNAVAILABLE


def test_a_lane_that_appears_within_the_grace_gets_the_request(rabbit: Rabbit) -> None:
    """Given a message that no queue wants, when one is bound meanwhile, then it is published after all."""
    bound = threading.Event()

    def pause(_seconds: float) -> None:
        assert bound.wait(10)

    publisher = rabbit.publisher("topology", pause=pause)
    done = threading.Thread(target=publisher.publish, args=(request("late"),), kwargs={"deadline_seconds": 20})
    done.start()

    def bind(channel: Any, then: Any) -> None:
        channel.queue_declare(
            "import.test.late",
            exclusive=False,
            durable=False,
            callback=lambda _: channel.queue_bind("import.test.late", NAMES.requests, "late.normal", callback=then),
        )

    try:
        rabbit.admin(bind)
        bound.set()
        done.join(20)
        assert not done.is_alive()
        depth = queue_depth(rabbit.link(rabbit.plain("admin")), "import.test.late")
        assert depth is not None
        assert depth.ready == 1
    finally:
        rabbit.admin(lambda channel, then: channel.queue_delete("import.test.late", callback=then))


def test_a_producer_is_refused_in_the_lane_of_another(rabbit: Rabbit) -> None:
    publisher = rabbit.publisher("demo")
    with pytest.raises(PublishRefused, match=r"ACCESS_REFUSED.*topic 'hcs\.normal'") as caught:
        publisher.publish(request("hcs"))
    assert caught.value.code == 403
    publisher.publish(request("demo"))  # the refusal cost one channel, nothing else


def test_a_producer_may_not_say_that_something_was_imported(rabbit: Rabbit) -> None:
    with pytest.raises(PublishRefused, match="ACCESS_REFUSED"):
        rabbit.publisher("demo").publish(Outgoing(NAMES.events, "demo.imported", b"{}"))


def test_an_exchange_that_does_not_exist_is_refused(rabbit: Rabbit) -> None:
    with pytest.raises(PublishRefused, match=r"NOT_FOUND.*import\.nonsense") as caught:
        rabbit.publisher("topology").publish(Outgoing("import.nonsense", "x", b"{}"))
    assert caught.value.code == 404


def test_a_full_queue_refuses_with_a_negative_confirm(rabbit: Rabbit) -> None:
    def full(channel: Any, then: Any) -> None:
        arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
        channel.queue_declare(
            "import.test.full",
            durable=False,
            arguments=arguments,
            callback=lambda _: channel.queue_bind("import.test.full", NAMES.requests, "full.normal", callback=then),
        )

    rabbit.admin(full)
    try:
        publisher = rabbit.publisher("topology")
        publisher.publish(request("full"))
        with pytest.raises(PublishRefused, match="negative confirm") as caught:
            publisher.publish(request("full"))
        assert caught.value.code is None
    finally:
        rabbit.admin(lambda channel, then: channel.queue_delete("import.test.full", callback=then))


def test_without_a_broker_nothing_is_sent_and_the_error_says_so(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        publisher = rabbit.publisher("demo", rabbit.plain("demo", proxy.port))
        proxy.refuse()
        proxy.cut()
        until(lambda: not publisher.connected)
        with pytest.raises(BrokerUnavailable, match=r"was not sent within 1 s.*amqp://127\.0\.0\.1") as caught:
            publisher.publish(request(), deadline_seconds=1)
    assert rabbit.address("demo").password.get_secret_value() not in str(caught.value)


def test_a_confirm_that_does_not_come_is_a_timeout_that_is_safe_to_repeat(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        publisher = rabbit.publisher("demo", rabbit.plain("demo", proxy.port))
        proxy.hold()
        with pytest.raises(PublishTimeout, match=r"confirm timed out after 0\.5 s.*safely be published again"):
            publisher.publish(request(), deadline_seconds=0.5)
        proxy.release()
        publisher.publish(request(), deadline_seconds=10)


def test_a_connection_that_breaks_before_the_confirm_costs_only_time(rabbit: Rabbit) -> None:
    """Given a message on the way, when the connection is cut, then it is sent again over the next one."""
    with Proxy(rabbit.description.amqp_port) as proxy:
        publisher = rabbit.publisher("demo", rabbit.plain("demo", proxy.port))
        proxy.hold()
        done = threading.Thread(target=publisher.publish, args=(request(),), kwargs={"deadline_seconds": 20})
        done.start()
        proxy.cut()
        proxy.release()
        done.join(20)
        assert not done.is_alive()
        assert publisher.link.generation == 2
    assert rabbit.source("demo").take(5) is not None


def test_many_threads_publish_over_one_publisher(rabbit: Rabbit) -> None:
    publisher = rabbit.publisher("demo")

    def publish_many() -> None:
        for _ in range(25):
            publisher.publish(request(), deadline_seconds=20)

    threads = [threading.Thread(target=publish_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    depth = queue_depth(rabbit.link(rabbit.plain("worker")), NAMES.lane_queue("demo", "normal"))
    assert depth is not None
    assert depth.ready == 200


def test_many_messages_are_on_the_way_at_once(rabbit: Rabbit) -> None:
    """Given answers that are held back, when messages are begun, then all are sent, and confirmed once they come."""
    with Proxy(rabbit.description.amqp_port) as proxy:
        publisher = rabbit.publisher("demo", rabbit.plain("demo", proxy.port))
        publisher.publish(request())
        proxy.hold()
        begun = [publisher.begin(request(), deadline_seconds=20) for _ in range(50)]
        with pytest.raises(PublishTimeout):
            publisher.begin(request(), deadline_seconds=0.1).wait()
        proxy.release()
        for one in begun:
            one.wait()
    depth = queue_depth(rabbit.link(rabbit.plain("worker")), NAMES.lane_queue("demo", "normal"))
    assert depth is not None
    assert depth.ready >= 51


def test_a_message_that_is_refused_leaves_those_beside_it_alone(rabbit: Rabbit) -> None:
    publisher = rabbit.publisher("demo")
    lanes = ("demo", "hcs", "demo")
    begun = [publisher.begin(request(lane), deadline_seconds=20) for lane in lanes]
    begun[0].wait()
    with pytest.raises(PublishRefused):
        begun[1].wait()
    begun[2].wait()


def test_a_message_that_is_begun_without_a_broker_is_sent_when_it_comes_back(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        publisher = rabbit.publisher("demo", rabbit.plain("demo", proxy.port))
        proxy.refuse()
        proxy.cut()
        until(lambda: not publisher.connected)
        begun = publisher.begin(request(), deadline_seconds=20)
        proxy.refuse(refuse=False)
        begun.wait()
    assert rabbit.source("demo").take(5) is not None


def test_a_stopped_publisher_refuses_at_once(rabbit: Rabbit) -> None:
    publisher = rabbit.publisher("demo")
    publisher.stop(5)
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        publisher.publish(request(), deadline_seconds=30)
    assert time.monotonic() - began < 2


def test_tls_is_verified_by_default(rabbit: Rabbit) -> None:
    """Given a certificate for localhost by an unknown authority, then there is no connection; known, there is one."""
    rabbit.link(rabbit.address("demo"))
    stranger = Link(rabbit.address("demo", ca_file=None), role="test")
    stranger.start()
    try:
        assert not stranger.wait_connected(2)
        assert "certificate verify failed" in stranger.state.reason.lower()
    finally:
        stranger.stop(5)
    rabbit.link(rabbit.address("demo", ca_file=None, verify_certificate=False))

"""A link comes back by itself, and everybody who waits on it hears what became of the question."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from fleet_common.broker import BrokerRefused, BrokerSilent, BrokerUnavailable, Link, LinkState, queue_depth
from fleet_common.broker.channels import on_throwaway
from support.proxy import Proxy
from support.rabbit import NAMES, QUICK, Rabbit
from support.waiting import until


def never_answers(_connection: Any, _promise: Any) -> None:
    """An operation whose promise is not kept."""


def test_every_connection_is_a_new_generation(rabbit: Rabbit) -> None:
    """Given a connected link, when its connection is cut, then it is back within a second as generation 2."""
    told: list[LinkState] = []
    with Proxy(rabbit.description.amqp_port) as proxy:
        link = rabbit.link(rabbit.plain("worker", proxy.port), on_state=told.append)
        assert link.generation == 1
        proxy.cut()
        until(lambda: link.connected and link.generation == 2)
        link.stop(5)
    assert [(state.connected, state.generation) for state in told[:3]] == [(True, 1), (False, 1), (True, 2)]
    assert not link.connected


def test_a_broker_that_comes_late_is_waited_for(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        proxy.refuse()
        link = Link(rabbit.plain("worker", proxy.port), role="test", backoff=QUICK)
        link.start()
        try:
            assert not link.wait_connected(0.5)
            assert "hung up before AMQP began" in link.state.reason
            proxy.refuse(refuse=False)
            assert link.wait_connected(10)
            assert link.generation == 1
        finally:
            link.stop(5)


def test_a_wrong_password_is_named_as_such_and_never_shown(rabbit: Rabbit, caplog: pytest.LogCaptureFixture) -> None:
    link = Link(rabbit.plain("worker", password="not-the-one"), role="test", backoff=QUICK)
    link.start()
    try:
        until(lambda: "login" in link.state.reason)
        assert "not-the-one" not in repr(link.address) + link.state.reason + caplog.text
    finally:
        link.stop(5)


def test_whoever_waits_when_the_connection_breaks_hears_it_at_once(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        link = rabbit.link(rabbit.plain("worker", proxy.port))
        errors: list[BaseException] = []

        def wait() -> None:
            try:
                link.call(never_answers, 30)
            except BrokerUnavailable as error:
                errors.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        proxy.cut()
        waiting.join(5)
        assert "was lost" in str(errors[0])


def test_a_question_without_an_answer_ends_at_its_deadline(rabbit: Rabbit) -> None:
    link = rabbit.link(rabbit.plain("worker"))
    began = time.monotonic()
    with pytest.raises(BrokerSilent, match=r"did not answer within 0\.3 s"):
        link.call(never_answers, 0.3)
    assert time.monotonic() - began < 2


def test_a_question_of_an_older_generation_is_not_asked(rabbit: Rabbit) -> None:
    link = rabbit.link(rabbit.plain("worker"))
    with pytest.raises(BrokerUnavailable, match="another one since"):
        link.call(never_answers, 1, generation=link.generation + 1)


def test_a_defect_in_an_operation_reaches_its_caller_and_not_the_link(rabbit: Rabbit) -> None:
    link = rabbit.link(rabbit.plain("worker"))

    def broken(_connection: Any, _promise: Any) -> None:
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        link.call(broken, 5)
    assert link.connected
    assert link.generation == 1


def test_a_channel_that_the_broker_closes_is_noticed_within_five_seconds(rabbit: Rabbit) -> None:
    """Given a held delivery and a queue that is gone, then its channel's end is noticed at once by a callback."""
    link = rabbit.link(rabbit.plain("worker"))
    began = time.monotonic()
    ask = on_throwaway(
        lambda channel, then: channel.queue_declare("import.lane.gone.normal", passive=True, callback=then)
    )
    with pytest.raises(BrokerRefused, match="NOT_FOUND") as caught:
        link.call(ask, 30)
    assert caught.value.code == 404
    assert time.monotonic() - began < 5
    assert link.generation == 1


def test_the_link_hears_of_a_memory_alarm_and_of_its_end(rabbit: Rabbit) -> None:
    """Given an alarm, then a publishing link is blocked and waits, while a consuming one works on."""
    publisher = rabbit.publisher("demo")
    consuming = rabbit.link(rabbit.plain("worker"))
    rabbit.part.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        publisher.ring()
        until(lambda: publisher.link.state.blocked, 20)
        assert "memory" in publisher.link.state.reason
        assert not publisher.link.wait_writable(0.1)
        assert queue_depth(consuming, NAMES.lane_queue("demo", "normal")) is not None
    finally:
        rabbit.part.ctl("set_vm_memory_high_watermark", "absolute", "1GiB")
    assert publisher.link.wait_writable(20)


def test_a_link_whose_broker_is_frozen_still_stops_by_its_deadline(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        link = rabbit.link(rabbit.plain("worker", proxy.port))
        proxy.hold()
        began = time.monotonic()
        link.stop(2)
        assert time.monotonic() - began < 4
        assert not link.connected


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kill", [False, True], ids=["clean", "killed"])
def test_links_survive_a_restart_of_the_broker(rabbit: Rabbit, kill: bool) -> None:  # noqa: FBT001  a parameter
    link = rabbit.link(rabbit.plain("worker"))
    publisher = rabbit.publisher("demo")
    rabbit.restart(kill=kill)
    until(lambda: link.connected and link.generation == 2, 30)
    until(lambda: publisher.connected and publisher.link.generation == 2, 30)
    assert queue_depth(link, NAMES.lane_queue("demo", "normal"), deadline_seconds=20) is not None

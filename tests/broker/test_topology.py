"""The topology: applied any number of times, and every drift found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fleet_common.broker import BrokerRefused, Difference, advice, apply, exchange_exists, queue_depth, verify
from fleet_common.broker.management import Management
from support.rabbit import LANES, NAMES, Rabbit
from support.waiting import until


def found(rabbit: Rabbit, lanes: tuple[str, ...] = LANES) -> list[Difference]:
    """What verify says with the management API."""
    return verify(rabbit.plain("topology"), lanes, management_url=rabbit.description.management_url)


def about(differences: list[Difference], subject: str) -> Difference:
    """The one difference about something."""
    (one,) = (difference for difference in differences if difference.subject == subject)
    return one


@pytest.fixture
def spoiled(rabbit: Rabbit) -> Iterator[Rabbit]:
    """A broker that a test spoils, mended afterwards."""
    yield rabbit
    rabbit.part.start()  # users and permissions as they should be
    apply(rabbit.plain("topology"), LANES)
    assert found(rabbit) == []


def test_what_was_applied_agrees_however_often_it_is_applied(rabbit: Rabbit) -> None:
    for _ in range(2):
        apply(rabbit.plain("topology"), LANES)
        assert found(rabbit) == []


def test_it_is_applied_and_verified_over_tls_too(rabbit: Rabbit) -> None:
    apply(rabbit.address("topology"), LANES)
    assert verify(rabbit.address("topology"), LANES) == []


def test_a_lane_that_is_missing_is_found_and_not_created(rabbit: Rabbit) -> None:
    differences = found(rabbit, (*LANES, "phenix"))
    for priority in ("urgent", "normal", "bulk"):
        queue = NAMES.lane_queue("phenix", priority)
        assert "is not there" in about(differences, f"queue {queue}").problem
        assert queue_depth(rabbit.link(rabbit.plain("admin")), queue) is None
    assert not exchange_exists(rabbit.link(rabbit.plain("admin")), "import.phenix")


def test_a_queue_with_other_arguments_is_found_and_named(spoiled: Rabbit) -> None:
    """Given a dead letter queue without its limit, which would lose letters by being looked at, then verify says so."""
    spoiled.admin(lambda channel, then: channel.queue_delete(NAMES.dead, callback=then))
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 20}
    spoiled.admin(
        lambda channel, then: channel.queue_declare(NAMES.dead, durable=True, arguments=arguments, callback=then)
    )
    try:
        differences = [one for one in found(spoiled) if one.subject == f"queue {NAMES.dead}"]
        assert any("x-delivery-limit is 20 instead of 1000000" in one.problem for one in differences)
        with pytest.raises(BrokerRefused, match=r"queue import\.dead.*other arguments.*topology verify"):
            apply(spoiled.plain("topology"), LANES)
    finally:
        spoiled.admin(lambda channel, then: channel.queue_delete(NAMES.dead, callback=then))


def test_an_exchange_of_another_kind_is_found(spoiled: Rabbit) -> None:
    """A direct exchange would let every producer fill every lane: topic permissions are not looked at there."""
    spoiled.admin(lambda channel, then: channel.exchange_delete(NAMES.wake, callback=then))
    spoiled.admin(lambda channel, then: channel.exchange_declare(NAMES.wake, "direct", durable=True, callback=then))
    try:
        assert "is another one" in about(found(spoiled), f"exchange {NAMES.wake}").problem
    finally:
        spoiled.admin(lambda channel, then: channel.exchange_delete(NAMES.wake, callback=then))


def test_bindings_that_are_missing_or_strange_are_found(spoiled: Rabbit) -> None:
    queue = NAMES.lane_queue("demo", "normal")
    spoiled.admin(lambda channel, then: channel.queue_unbind(queue, NAMES.requests, "demo.normal", callback=then))
    spoiled.admin(lambda channel, then: channel.queue_bind(queue, NAMES.requests, "hcs.normal", callback=then))
    try:
        problems = {one.problem for one in found(spoiled) if one.subject == f"binding {NAMES.requests} to {queue}"}
        assert any("there is none with the key 'demo.normal'" in problem for problem in problems)
        assert any("'hcs.normal' is not the fleet's" in problem for problem in problems)
    finally:
        spoiled.admin(lambda channel, then: channel.queue_unbind(queue, NAMES.requests, "hcs.normal", callback=then))


@pytest.mark.timeout(60)
def test_a_policy_that_takes_a_limit_away_is_found(spoiled: Rabbit) -> None:
    """The management API shows a policy 3 to 6 s late."""
    definition = '{"delivery-limit": 3}'
    spoiled.part.ctl("set_policy", "-p", spoiled.description.vhost, "broad", "^import.lane", definition)
    try:
        subject = f"queue {NAMES.lane_queue('demo', 'normal')}"
        until(lambda: any(one.subject == subject for one in found(spoiled)), 20)
        assert "policy broad changes delivery-limit" in about(found(spoiled), subject).problem
    finally:
        spoiled.part.ctl("clear_policy", "-p", spoiled.description.vhost, "broad")
        until(lambda: not found(spoiled), 20)


def test_a_policy_that_swallows_wrong_lanes_is_found(spoiled: Rabbit) -> None:
    definition = '{"alternate-exchange": "import.dead"}'
    spoiled.part.ctl(
        "set_policy", "-p", spoiled.description.vhost, "swallow", "^import.req", definition, "--apply-to", "exchanges"
    )
    try:
        assert "never hear of a wrong lane" in about(found(spoiled), "policy swallow").problem
    finally:
        spoiled.part.ctl("clear_policy", "-p", spoiled.description.vhost, "swallow")


def test_a_producer_without_a_topic_permission_is_found(spoiled: Rabbit) -> None:
    """A user without one may publish every key, so the one thing that keeps lanes apart would be missing."""
    spoiled.part.ctl("clear_topic_permissions", "-p", spoiled.description.vhost, "hcs", NAMES.requests)
    problem = about(found(spoiled), "user hcs").problem
    assert problem == "has no topic permission on import.requests, so it may publish every key"


def test_a_producer_that_may_fill_other_lanes_is_found(spoiled: Rabbit) -> None:
    spoiled.part.ctl("set_topic_permissions", "-p", spoiled.description.vhost, "hcs", NAMES.requests, ".*", "^$")
    assert "allows keys of other lanes" in about(found(spoiled), "user hcs").problem


def test_an_account_that_may_not_declare_is_told_so(rabbit: Rabbit) -> None:
    with pytest.raises(BrokerRefused, match=r"exchange import\.\S+: RabbitMQ refused: ACCESS_REFUSED"):
        apply(rabbit.plain("worker"), LANES)


def test_an_account_that_may_not_see_permissions_is_told_so(rabbit: Rabbit) -> None:
    address = rabbit.plain("monitor")
    api = Management(rabbit.description.management_url, address.user, address.password)
    with pytest.raises(BrokerRefused, match="needs the tag administrator"):
        api.get("users")
    assert address.password.get_secret_value() not in repr(api)


def test_what_shows_nowhere_is_said_for_old_brokers_only() -> None:
    assert advice((4, 0, 5)) == ()
    (line,) = advice((3, 10, 8))
    assert "consumer_timeout = 604800000" in line


def test_declared_arguments_are_what_the_broker_shows(rabbit: Rabbit) -> None:
    address = rabbit.plain("topology")
    api = Management(rabbit.description.management_url, address.user, address.password)
    lane: Any = api.get("queues", rabbit.description.vhost, NAMES.lane_queue("demo", "bulk"))
    assert lane["type"] == "quorum"
    assert lane["arguments"] == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 100,
        "x-dead-letter-exchange": "import.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-consumer-timeout": 604_800_000,
    }
    assert api.get("queues", rabbit.description.vhost, NAMES.event_log)["type"] == "stream"

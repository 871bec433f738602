"""The topology as data, and what verify makes of a broker's answers."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_common.broker import RETRY_TIERS_SECONDS, Names, describe
from fleet_common.broker.findings import (
    binding_findings,
    exchange_policy_findings,
    permission_findings,
    queue_findings,
)
from fleet_common.broker.topology import Binding, Queue

NAMES = Names()
TOPOLOGY = describe(NAMES, ("demo", "hcs"))
QUEUES = {queue.name: queue for queue in TOPOLOGY.queues}
PRODUCER = {"user": "demo", "configure": "^$", "write": r"^import\.(requests|events|wake)$", "read": "^$"}
GOOD_TOPICS = [
    {"user": "demo", "exchange": "import.requests", "write": r"^{username}\.(urgent|normal|bulk)$", "read": "^$"},
    {"user": "demo", "exchange": "import.events", "write": r"^{username}\.(accepted|withdrawn)$", "read": "^$"},
]


def test_requests_tell_a_producer_of_a_wrong_lane() -> None:
    """An alternate exchange would swallow what mandatory must return; retries need one, or a gone lane blocks them."""
    exchanges = {exchange.name: exchange for exchange in TOPOLOGY.exchanges}
    assert exchanges["import.requests"].kind == "topic"
    assert exchanges["import.requests"].arguments == {}
    assert exchanges["import.due"].arguments == {"alternate-exchange": "import.dead"}


def test_nothing_is_dropped_by_being_looked_at() -> None:
    """RabbitMQ 4 drops after 20 deliveries by default; -1 loses messages on 3.10."""
    limits = {name: queue.arguments["x-delivery-limit"] for name, queue in QUEUES.items() if not queue.is_stream}
    assert {limit for name, limit in limits.items() if ".lane." not in name} == {1_000_000}
    assert {limit for name, limit in limits.items() if ".lane." in name} == {100}


def test_every_tier_goes_to_due_after_its_time() -> None:
    """And loses nothing on the way: at-least-once needs reject-publish."""
    for tier in RETRY_TIERS_SECONDS:
        arguments = QUEUES[f"import.retry.{tier}"].arguments
        assert arguments["x-message-ttl"] == tier * 1000
        assert arguments["x-dead-letter-exchange"] == "import.due"
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-overflow"] == "reject-publish"


def test_other_tiers_are_other_queues_and_nothing_else() -> None:
    """Given tiers of 1, 2 and 4 s, then only exchanges, queues and bindings of tiers change."""
    other = describe(Names(tiers_seconds=(1, 2, 4)), ("demo", "hcs"))
    tiers = {queue.name: queue.arguments["x-message-ttl"] for queue in other.queues if ".retry." in queue.name}
    assert tiers == {"import.retry.1": 1000, "import.retry.2": 2000, "import.retry.4": 4000}
    assert {exchange.name for exchange in other.exchanges if ".retry." in exchange.name} == set(tiers)
    assert {binding for binding in other.bindings if ".retry." in binding.queue} == {
        Binding(name, name, "") for name in tiers
    }
    usual, others = ({queue.name for queue in one.queues if ".retry." not in queue.name} for one in (TOPOLOGY, other))
    assert usual == others


def test_dead_letters_have_no_end() -> None:
    """Neither a time to live nor a way on."""
    assert set(QUEUES["import.dead"].arguments) == {"x-queue-type", "x-delivery-limit"}


def test_the_event_log_is_bounded_and_the_control_log_not_by_age() -> None:
    """A cancel must be found however old it is."""
    assert {"x-max-age", "x-max-length-bytes"} <= set(QUEUES["import.event-log"].arguments)
    assert "x-max-age" not in QUEUES["import.control-log"].arguments


def test_due_is_bound_like_requests() -> None:
    """A retry must find the queue that the request came from."""
    keys = {
        exchange: {(binding.queue, binding.key) for binding in TOPOLOGY.bindings if binding.exchange == exchange}
        for exchange in ("import.requests", "import.due")
    }
    assert keys["import.requests"] == keys["import.due"]
    assert ("import.lane.hcs.urgent", "hcs.urgent") in keys["import.due"]
    assert len(keys["import.due"]) == 6


def test_everything_bound_is_declared() -> None:
    """The description is complete in itself."""
    exchanges = {exchange.name for exchange in TOPOLOGY.exchanges}
    for binding in TOPOLOGY.bindings:
        assert binding.exchange in exchanges
        assert binding.queue in QUEUES


def test_another_prefix_moves_everything() -> None:
    """Nothing of two fleets in one virtual host has the same name."""
    other = describe(Names("other."), ("demo",))
    named = [exchange.name for exchange in other.exchanges] + [queue.name for queue in other.queues]
    assert all(name.startswith("other.") for name in named)
    assert "import." not in str(other)


def test_a_queue_as_described_has_no_findings() -> None:
    """Also with a policy that only tunes."""
    queue = QUEUES["import.dead"]
    answer = {"arguments": dict(queue.arguments), "effective_policy_definition": {"max-length": 10}}
    assert list(queue_findings(queue, answer)) == []


def test_an_argument_that_is_missing_or_too_many_is_found() -> None:
    """Both ways round."""
    queue = Queue("q", {"x-queue-type": "quorum", "x-delivery-limit": 5})
    problems = [one.problem for one in queue_findings(queue, {"arguments": {"x-queue-type": "quorum", "x-expires": 1}})]
    assert problems == ["x-delivery-limit is None instead of 5", "x-expires is 1 instead of None"]


def test_a_stream_may_be_tuned_by_policies_but_not_expire() -> None:
    """Bounds are what policies are for."""
    stream = QUEUES["import.event-log"]
    answer = {"arguments": dict(stream.arguments), "policy": "p", "effective_policy_definition": {"max-age": "1D"}}
    assert list(queue_findings(stream, answer)) == []
    (found,) = queue_findings(stream, answer | {"effective_policy_definition": {"expires": 1}})
    assert "policy p changes expires" in found.problem


def answer(binding: Binding) -> dict[str, Any]:
    """A binding as the management API shows it."""
    return {
        "source": binding.exchange,
        "destination": binding.queue,
        "destination_type": "queue",
        "routing_key": binding.key,
    }


def test_default_bindings_and_followers_are_nobodys_business() -> None:
    """The broker binds every queue to the default exchange, and followers come and go."""
    answers = [answer(binding) for binding in TOPOLOGY.bindings]
    answers.append(answer(Binding("", "import.dead", "import.dead")))
    answers.append(answer(Binding("import.events", "import.follow.demo.1", "demo.#")))
    assert list(binding_findings(TOPOLOGY.bindings, answers, NAMES)) == []


@pytest.mark.parametrize(
    ("policy", "harmful"),
    [
        ({"apply-to": "exchanges", "pattern": ".*", "definition": {"alternate-exchange": "x"}}, True),
        ({"apply-to": "all", "pattern": r"^import\.", "definition": {"alternate-exchange": "x"}}, True),
        ({"apply-to": "queues", "pattern": ".*", "definition": {"alternate-exchange": "x"}}, False),
        ({"apply-to": "all", "pattern": "^other", "definition": {"alternate-exchange": "x"}}, False),
        ({"apply-to": "all", "pattern": ".*", "definition": {"max-length": 1}}, False),
    ],
)
def test_a_policy_that_hides_wrong_lanes_is_found(policy: dict[str, Any], harmful: bool) -> None:  # noqa: FBT001  a table
    """Only on our exchange of requests, and only that key."""
    assert bool(list(exchange_policy_findings([policy | {"name": "p"}], NAMES))) is harmful


def test_a_producer_with_topic_permissions_is_fine() -> None:
    """As docs/how-to/broker-users.md gives them."""
    assert list(permission_findings([PRODUCER], GOOD_TOPICS, [], NAMES)) == []


def test_each_missing_topic_permission_is_found() -> None:
    """On requests and on events."""
    found = {one.problem for one in permission_findings([PRODUCER], [], [], NAMES)}
    assert found == {
        "has no topic permission on import.requests, so it may publish every key",
        "has no topic permission on import.events, so it may publish every key",
    }


def test_a_topic_permission_that_allows_everything_is_found() -> None:
    """A name with a dot in it must not widen its own pattern either."""
    wide = [GOOD_TOPICS[0] | {"write": ".*"}, GOOD_TOPICS[1]]
    (found,) = permission_findings([PRODUCER], wide, [], NAMES)
    assert "allows keys of other lanes" in found.problem
    assert found.subject == "user demo"


@pytest.mark.parametrize(
    ("permission", "administrators"),
    [
        (PRODUCER | {"user": "admin", "write": ".*"}, ["admin"]),
        (PRODUCER | {"user": "worker", "write": r"^import\.(requests|dead|events)$"}, []),
        (PRODUCER | {"user": "monitor", "write": "^$"}, []),
    ],
)
def test_who_is_no_producer_needs_no_topic_permission(permission: dict[str, Any], administrators: list[str]) -> None:
    """Administrators, workers and operators, and who may not write at all."""
    assert list(permission_findings([permission], [], administrators, NAMES)) == []

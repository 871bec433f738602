"""Retry tiers other than the usual ones, and copies that come back a little earlier than their tier says."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pika
import pytest
import structlog

from fleet_common.broker import (
    FIRST_SEEN,
    Delivery,
    Names,
    Outgoing,
    Publisher,
    PublishUnroutable,
    apply,
    attempt_of,
    publish_retry,
    queue_depth,
    submitted_by,
    verify,
)
from fleet_common.cli import run
from fleet_common.exits import Exit
from support.rabbit import LANES, NAMES, Rabbit
from support.waiting import until

FLEET: Final = ("worker", "operator")
TIERS: Final = (2, 4)
QUICK: Final = Names(tiers_seconds=TIERS)
LATE_SECONDS: Final = 3.0
"""A busy machine and a tick of the queue; far more than any of the waits is off."""


def remove(rabbit: Rabbit) -> None:
    """Take the other tiers off the broker."""
    for name in (QUICK.retry(tier) for tier in TIERS):
        rabbit.admin(lambda channel, then, name=name: channel.queue_delete(name, callback=then))
        rabbit.admin(lambda channel, then, name=name: channel.exchange_delete(name, callback=then))


@pytest.fixture
def quick(rabbit: Rabbit) -> Iterator[Rabbit]:
    """A broker that also has tiers of 2 and 4 s."""
    try:
        apply(rabbit.plain("topology"), LANES, QUICK)
        yield rabbit
    finally:
        remove(rabbit)


@dataclass
class Requests:
    """Requests of one lane, tried again by a worker that knows the tiers of 2 and 4 s."""

    rabbit: Rabbit
    worker: Publisher = field(init=False)

    def __post_init__(self) -> None:
        self.source = self.rabbit.source("demo", poll_seconds=0.05)
        self.worker = self.rabbit.publisher("worker", names=QUICK)

    def submit(self, body: bytes = b"{}") -> Delivery:
        """A new request, taken."""
        message = Outgoing(NAMES.requests, "demo.normal", body, message_id=str(uuid.uuid4()))
        self.rabbit.publisher("demo").publish(message)
        return self.take()

    def take(self, deadline_seconds: float = 15.0) -> Delivery:
        """The next request."""
        delivery = self.source.take(deadline_seconds)
        assert delivery is not None
        return delivery

    def retry(self, delivery: Delivery, tier: int, *, attempt: int = 1, **jitter: Any) -> float:
        """Try it again later, as a worker does; when that was."""
        at = time.monotonic()
        chosen = publish_retry(
            self.worker, delivery, attempt=attempt, delay_seconds=tier, reason="x", fleet_users=FLEET, **jitter
        )
        assert chosen == tier
        assert delivery.ack()
        return at


@pytest.fixture
def requests(quick: Rabbit) -> Requests:
    """A lane, a source and a worker."""
    return Requests(quick)


def waiting_in(rabbit: Rabbit, queue: str) -> pika.BasicProperties:
    """The properties of the next message of a queue, which loses it."""
    found: list[Any] = []

    def ask(channel: Any, then: Any) -> None:
        def got(_channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
            found.append(properties)
            then(None)

        channel.add_callback(then, [pika.spec.Basic.GetEmpty], one_shot=True)
        channel.basic_get(queue, got, auto_ack=True)

    def get() -> bool:
        rabbit.admin(ask)
        return bool(found)

    until(get, 15)
    properties: pika.BasicProperties = found[0]
    return properties


# --- jitter ---


def test_without_jitter_a_copy_waits_for_its_tier(requests: Requests) -> None:
    began = requests.retry(requests.submit(), 2)
    requests.take()
    assert 1.9 < time.monotonic() - began < 2 + LATE_SECONDS


def test_the_least_jitter_is_not_later_than_the_tier(requests: Requests) -> None:
    """Given jitter whose chance says 0, then the copy is back when the tier says, and not when both are over."""
    began = requests.retry(requests.submit(), 4, jitter=0.5, chance=lambda: 0.0)
    requests.take()
    assert 3.9 < time.monotonic() - began < 4 + LATE_SECONDS


def test_the_most_jitter_is_earlier_by_that_part_of_the_tier(requests: Requests) -> None:
    """Given jitter of a half of 4 s whose chance says 1, then the copy is back after 2 s, well before the tier."""
    began = requests.retry(requests.submit(), 4, jitter=0.5, chance=lambda: 1.0)
    requests.take()
    assert 1.9 < time.monotonic() - began < 3.8


def test_a_copy_behind_a_later_one_waits_for_that_but_not_beyond_the_tier(requests: Requests) -> None:
    """Given a copy without jitter, then a copy after it does not overtake it: RabbitMQ looks at a queue's head only."""
    first, second = requests.submit(b"first"), requests.submit(b"second")
    requests.retry(first, 2)
    began = requests.retry(second, 2, jitter=0.9, chance=lambda: 1.0)
    assert [requests.take().body for _ in range(2)] == [b"first", b"second"]
    assert time.monotonic() - began < 2 + LATE_SECONDS


def test_the_expiration_stays_in_the_tier(requests: Requests) -> None:
    """Given a copy with jitter, then back in its lane it does not expire, or it would be dead there."""
    requests.retry(requests.submit(), 2, jitter=0.5, chance=lambda: 1.0)
    queue = NAMES.lane_queue("demo", "normal")
    properties = waiting_in(requests.rabbit, queue)
    assert properties.expiration is None
    assert properties.headers["x-death"][0]["reason"] == "expired"


def test_a_copy_of_a_copy_carries_neither_deaths_nor_expirations(requests: Requests) -> None:
    """Given two retries in a row, then the second copy is as clean as the first, and remembers what counts."""
    requests.retry(requests.submit(b"plate"), 2, jitter=0.5, chance=lambda: 1.0)
    once = requests.take()
    assert "x-death" in once.headers
    requests.retry(once, 4, attempt=2, jitter=0.9, chance=lambda: 1.0)
    twice = requests.take()
    assert (twice.body, twice.message_id, attempt_of(twice, FLEET)) == (b"plate", once.message_id, 2)
    assert submitted_by(twice, FLEET) == "demo"
    assert twice.headers[FIRST_SEEN] == once.headers[FIRST_SEEN]
    # One death, that of the second tier alone: the first one's was stripped.
    (death,) = twice.headers["x-death"]
    assert (death["queue"], death["count"]) == (QUICK.retry(4), 1)
    assert twice.headers["x-first-death-queue"] == QUICK.retry(4)
    assert (twice.redelivered, twice.deliveries) == (False, 0)


def test_a_copy_in_its_tier_has_none_of_the_brokers_headers(requests: Requests) -> None:
    """Given a copy of a copy in a tier, then all its headers are the fleet's: no deaths, counts, old expirations."""
    requests.retry(requests.submit(), 2, jitter=0.5, chance=lambda: 1.0)
    requests.retry(requests.take(), 4, attempt=2, jitter=0.5, chance=lambda: 0.0)
    properties = waiting_in(requests.rabbit, QUICK.retry(4))
    # RabbitMQ 3.10 shows its own count already at the first delivery.
    assert {name for name in properties.headers if name != "x-delivery-count"} == {
        "attempt",
        "first-seen",
        "retry-reason",
        "submitted-by",
    }
    assert "original-expiration" not in repr(properties.headers)
    assert properties.expiration == "4000"


# --- other tiers in the settings ---


@pytest.fixture
def settings(rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings of an operator whose fleet retries after 2 and 4 s."""
    account = rabbit.plain("topology")
    for name, value in {
        "HOST": account.host,
        "PORT": str(account.port),
        "VHOST": account.vhost,
        "TLS": "false",
        "USER": account.user,
        "PASSWORD": account.password.get_secret_value(),
        "MANAGEMENT_URL": rabbit.description.management_url,
        "RETRY_TIERS_SECONDS": "[2, 4]",
    }.items():
        monkeypatch.setenv(f"OMERO_FLEET_BROKER__{name}", value)
    logging_before = structlog.get_config()
    try:
        yield
    finally:
        structlog.configure(**logging_before)
        remove(rabbit)


COMMAND: Final = ("topology",)
WITH_LANES: Final = tuple(part for lane in LANES for part in ("--lane", lane))


@pytest.mark.usefixtures("settings")
def test_other_tiers_are_declared_and_verified(rabbit: Rabbit, capsys: pytest.CaptureFixture[str]) -> None:
    """Given other tiers in the settings, then verify misses them, apply declares them, and then verify agrees."""
    assert run([*COMMAND, "verify", *WITH_LANES]) == Exit.DIFFERENT
    missing = capsys.readouterr().out
    for subject in (f"{kind} {QUICK.retry(tier)}" for kind in ("exchange", "queue") for tier in TIERS):
        assert any(line.startswith(f"{subject}:") and "is not there" in line for line in missing.splitlines())
    assert run([*COMMAND, "apply", *WITH_LANES]) == Exit.OK
    assert run([*COMMAND, "verify", *WITH_LANES]) == Exit.OK
    assert "agree" in capsys.readouterr().out
    link = rabbit.link(rabbit.plain("admin"))
    assert all(queue_depth(link, QUICK.retry(tier)) is not None for tier in TIERS)


def test_a_tier_with_another_delay_than_its_name_says_is_found(quick: Rabbit) -> None:
    """Given a queue of 2 s that somebody made with 20 s, then verify names the argument."""
    name = QUICK.retry(2)
    quick.admin(lambda channel, then: channel.queue_delete(name, callback=then))
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 1_000_000,
        "x-dead-letter-exchange": NAMES.due,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-message-ttl": 20_000,
    }
    quick.admin(lambda channel, then: channel.queue_declare(name, durable=True, arguments=arguments, callback=then))
    problems = [one.problem for one in verify(quick.plain("topology"), LANES, QUICK) if one.subject == f"queue {name}"]
    assert any("x-message-ttl" in problem for problem in problems)


def test_a_tier_that_nobody_declared_is_no_silent_loss(rabbit: Rabbit) -> None:
    """Given a worker with a tier that the topology lacks, then its copy is refused and the original still held."""
    delivery = Requests(rabbit).submit(b"plate")
    worker = rabbit.publisher("worker", names=QUICK)
    with pytest.raises(Exception, match=r"import\.retry\.2") as caught:
        publish_retry(worker, delivery, attempt=1, delay_seconds=1, reason="x", fleet_users=FLEET, deadline_seconds=5)
    assert not isinstance(caught.value, PublishUnroutable)
    assert not delivery.lost

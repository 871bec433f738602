"""How a delivery is read: crashes are counted by the broker's own numbers, never by a publisher's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pika
import pytest
from pika.compat import long
from pydantic import SecretStr

from fleet_common.broker import Delivery, Link, attempt_of, submitted_by, without_broker_headers
from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.deliveries import Origin, count_deliveries, delivery_from
from fleet_common.broker.linkstate import version_numbers
from fleet_common.messages import Priority

OLD, MIDDLE, NEW = (3, 10, 8), (4, 0, 5), (4, 3, 6)


class Channel:
    """As much of a channel as a delivery needs."""

    def add_on_close_callback(self, callback: object) -> None:
        """Nobody closes it here."""


def delivery(user_id: object = "demo", headers: Mapping[str, Any] | None = None, **properties: Any) -> Delivery:
    """A delivery as pika hands it over."""
    link = Link(BrokerAddress(host="h", user="worker", password=SecretStr("p")), role="test")
    method = SimpleNamespace(redelivered=False, routing_key="demo.normal", delivery_tag=1)
    given = pika.BasicProperties(user_id=user_id, headers=headers, **properties)
    return delivery_from(Origin(link, "demo", Priority.NORMAL), Channel(), method, given, b"{}")


@pytest.mark.parametrize(
    ("version", "headers", "redelivered", "count"),
    [
        (OLD, {"x-delivery-count": long(0)}, False, 0),
        (OLD, {"x-delivery-count": long(2)}, True, 2),
        (MIDDLE, {}, False, 0),
        (MIDDLE, {"x-delivery-count": 3}, True, 3),
        (NEW, {"x-acquired-count": long(4), "x-delivery-count": long(1)}, True, 4),
        (NEW, {"x-acquired-count": long(1)}, True, 1),
        # forged, or left over from an earlier life
        (NEW, {"x-delivery-count": 70, "x-acquired-count": 90}, False, 0),
        (MIDDLE, {"x-acquired-count": 90, "x-delivery-count": 1}, True, 1),
        (OLD, {"x-acquired-count": 90, "x-delivery-count": 1}, True, 1),
        (MIDDLE, {"x-delivery-count": "many"}, True, 1),
        # a redelivery was delivered before, whatever the headers say
        (MIDDLE, {}, True, 1),
        (MIDDLE, {"x-delivery-count": -5}, True, 1),
    ],
)
def test_only_the_counts_of_redeliveries_are_believed(
    version: tuple[int, ...],
    headers: dict[str, Any],
    redelivered: bool,  # noqa: FBT001  a parameter of the table
    count: int,
) -> None:
    """RabbitMQ before 4.3 passes x-acquired-count through from the publisher, even on redeliveries."""
    assert count_deliveries(headers, redelivered=redelivered, version=version) == count


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("3.10.8", (3, 10, 8)), ("4.1.0-rc.1", (4, 1, 0)), ("4.3.6+build", (4, 3, 6)), ("", (0, 0)), ("dev", (0, 0))],
)
def test_a_version_is_its_leading_numbers(text: str, numbers: tuple[int, ...]) -> None:
    """Release candidates count as their release."""
    assert version_numbers(text) == numbers


@pytest.mark.parametrize("moment", [None, 2**70, -(2**70), "soon"])
def test_a_timestamp_that_is_no_moment_is_none(moment: object) -> None:
    """Anybody can write anything into it; a worker must not die of it."""
    assert delivery(timestamp=moment).timestamp is None


def test_a_timestamp_is_read_as_utc() -> None:
    """AMQP has seconds since 1970."""
    assert delivery(timestamp=1_700_000_000).timestamp == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_texts_that_are_no_utf_8_are_shown_as_far_as_they_go() -> None:
    """Pika hands out bytes then."""
    odd = delivery(user_id=b"de\xffmo", message_id=b"\xfe")
    assert (odd.user_id, odd.message_id) == ("de\ufffdmo", "\ufffd")


def test_headers_cannot_be_changed() -> None:
    """A delivery is data."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        delivery(headers={"attempt": 1}).headers["attempt"] = 2  # type: ignore[index]  # that is the point


FLEET = ("worker", "operator")


@pytest.mark.parametrize(
    ("user_id", "headers", "who", "attempt"),
    [
        ("demo", {}, "demo", 0),
        ("demo", {"submitted-by": "hcs", "attempt": 9}, "demo", 0),
        (None, {"submitted-by": "hcs", "attempt": 9}, None, 0),
        ("worker", {"submitted-by": "hcs", "attempt": 2}, "hcs", 2),
        ("operator", {"submitted-by": "hcs"}, "hcs", 0),
        ("worker", {}, None, 0),
        ("worker", {"submitted-by": "", "attempt": "two"}, None, 0),
        ("worker", {"submitted-by": 7, "attempt": -3}, None, 0),
    ],
)
def test_headers_of_the_fleet_are_believed_only_from_the_fleet(
    user_id: str | None, headers: dict[str, Any], who: str | None, attempt: int
) -> None:
    """The broker checks the user id, and nothing else."""
    given = delivery(user_id, headers)
    assert submitted_by(given, FLEET) == who
    assert attempt_of(given, FLEET) == attempt


def test_the_headers_of_the_broker_are_taken_off() -> None:
    """Stale ones are shown as if they were real."""
    headers = {
        "x-death": [],
        "x-first-death-queue": "q",
        "x-last-death-reason": "expired",
        "x-delivery-count": 1,
        "x-acquired-count": 1,
        "attempt": 2,
    }
    assert without_broker_headers(headers) == {"attempt": 2}

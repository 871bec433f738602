"""Where to connect: verified TLS by default, and a password that is never shown."""

from __future__ import annotations

import ssl
from typing import Any

import pika.exceptions
import pydantic
import pytest

from fleet_common.broker import BrokerAddress, BrokerRefused, BrokerUnavailable
from fleet_common.broker.connection import parameters
from fleet_common.broker.promises import explain, meaning


def address(**changes: Any) -> BrokerAddress:
    """Some address."""
    return BrokerAddress(**({"host": "rabbit", "user": "demo", "password": "s3cret"} | changes))


def test_the_password_is_never_shown() -> None:
    """Neither for people nor for programmers."""
    for shown in (str(address()), repr(address()), repr(parameters(address(), "test"))):
        assert "s3cret" not in shown
    assert str(address()) == "amqps://rabbit:5671 (virtual host /, user demo)"


def test_tls_is_verified_by_default() -> None:
    """Certificate and name."""
    options = parameters(address(), "test").ssl_options
    assert options.context.verify_mode is ssl.CERT_REQUIRED
    assert options.context.check_hostname
    assert options.server_hostname == "rabbit"


@pytest.mark.parametrize(
    ("changes", "mode", "name"),
    [
        ({"verify_hostname": False}, ssl.CERT_REQUIRED, False),
        ({"verify_certificate": False}, ssl.CERT_NONE, False),
    ],
)
def test_verification_is_switched_off_only_explicitly(
    changes: dict[str, bool],
    mode: ssl.VerifyMode,
    name: bool,  # noqa: FBT001  a parameter of the table
) -> None:
    """For trials."""
    context = parameters(address(**changes), "test").ssl_options.context
    assert (context.verify_mode, context.check_hostname) == (mode, name)


def test_without_tls_there_is_none() -> None:
    """And the heartbeat is what the address says."""
    given = parameters(address(tls=False, heartbeat_seconds=7), "test")
    assert given.ssl_options is None
    assert given.heartbeat == 7


@pytest.mark.parametrize("changes", [{"port": 0}, {"host": ""}, {"user": ""}, {"heartbeat_seconds": 1}, {"hots": "x"}])
def test_what_cannot_be_an_address_is_refused(changes: dict[str, Any]) -> None:
    """By its field."""
    with pytest.raises(pydantic.ValidationError, match=next(iter(changes))):
        address(**changes)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (pika.exceptions.ProbableAuthenticationError("x"), "it refused the login; check user and password"),
        (pika.exceptions.ProbableAccessDeniedError("x"), "it refused the virtual host"),
        (pika.exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED - bye"), "320 CONNECTION_FORCED - bye"),
        (pika.exceptions.StreamLostError("gone"), "StreamLostError gone"),
        (pika.exceptions.IncompatibleProtocolError("x"), "hung up before AMQP began"),
        (pika.exceptions.AMQPConnectionError(ConnectionRefusedError(111, "refused")), "ConnectionRefusedError"),
    ],
)
def test_pikas_reasons_are_said_in_one_plain_line(reason: BaseException, text: str) -> None:
    """What the link says in its state, in logs and in readiness."""
    said = explain(reason)
    assert text in said
    assert "\n" not in said


def test_a_closed_channel_is_a_refusal_with_its_code() -> None:
    """Unless the queue is only starting, which RabbitMQ calls 404, too."""
    refused = meaning(pika.exceptions.ChannelClosedByBroker(403, "ACCESS_REFUSED - no"))
    assert isinstance(refused, BrokerRefused)
    assert refused.code == 403
    starting = pika.exceptions.ChannelClosedByBroker(
        404, "NOT_FOUND - home node 'x' of queue 'q' is down or inaccessible"
    )
    assert isinstance(meaning(starting), BrokerUnavailable)
    assert isinstance(meaning(pika.exceptions.StreamLostError("gone")), BrokerUnavailable)

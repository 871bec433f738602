"""Answers that arrive later, on the link's thread.

Role: small rules around :class:`concurrent.futures.Future`: who waits may have given up meanwhile, so a late answer is
dropped, never an error; and what an exception of pika or a closed channel means. Neighbours: ``link``, everything that
runs on it. Threading: promises are kept or broken on the link's thread and awaited on any other.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, InvalidStateError
from typing import Final, TypeVar

import pika.exceptions

from fleet_common.broker.failures import BrokerFailure, BrokerRefused, BrokerUnavailable

T = TypeVar("T")
_STARTING: Final = "down or inaccessible"
Promise = Future[T]


def keep(promise: Promise[T], value: T) -> bool:
    """Give the answer; False when nobody waits any more, so that nobody will care for what it holds."""
    try:
        promise.set_result(value)
    except InvalidStateError:
        return False
    return True


def fail(promise: Promise[T], error: BaseException) -> None:
    """Say why there is no answer, unless nobody waits any more."""
    with contextlib.suppress(InvalidStateError):
        promise.set_exception(error)


def meaning(reason: BaseException) -> BrokerFailure:
    """What pika's reason for a closed channel or connection means to us."""
    if isinstance(reason, pika.exceptions.ChannelClosedByBroker):
        if _STARTING in reason.reply_text:
            # RabbitMQ says 404 of a queue that is there, for some seconds after its own start.
            return BrokerUnavailable(f"RabbitMQ is still starting, or has lost a queue: {reason.reply_text}")
        return BrokerRefused(f"RabbitMQ refused: {reason.reply_text}", reason.reply_code)
    return BrokerUnavailable(f"the connection to RabbitMQ is gone: {explain(reason)}")


def explain(reason: BaseException) -> str:
    """Pika's reason in one line; its exceptions never hold credentials."""
    if isinstance(reason, pika.exceptions.ProbableAuthenticationError):
        return "it refused the login; check user and password"
    if isinstance(reason, pika.exceptions.ProbableAccessDeniedError):
        return "it refused the virtual host; check that it exists and that the user has permissions there"
    if isinstance(reason, pika.exceptions.ConnectionClosed | pika.exceptions.ChannelClosed):
        return f"{reason.reply_code} {reason.reply_text}"
    if isinstance(reason, pika.exceptions.IncompatibleProtocolError):
        return "it hung up before AMQP began; check that the port is RabbitMQ's, with or without TLS as set"
    inner = reason.args[0] if reason.args and isinstance(reason.args[0], BaseException) else reason
    deeper = getattr(inner, "exception", None) or getattr(inner, "exceptions", [None])[-1]
    if isinstance(deeper, BaseException):
        return explain(deeper)
    return f"{type(inner).__name__} {inner}".strip()

"""One connection of a link while it lives, and what runs on it.

Role: the handful of things that happen on the link's thread with one pika connection. Neighbours: ``link`` owns
sessions. Threading: on the link's thread, but for the fields of :class:`Session`, which the link's lock guards.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Generic, TypeVar

import pika.exceptions

from fleet_common.broker.failures import BrokerFailure, BrokerSilent
from fleet_common.broker.promises import Promise, fail, meaning

T = TypeVar("T")
Connection = Any
"""A ``pika.SelectConnection``; pika ships no types."""
Operation = Callable[[Connection, Promise[T]], None]
Hook = Callable[[Connection], None]

STOPPED: Final = "the link was stopped"


class Session:
    """One connection while it lives: touched under the link's lock only, but for the connection itself."""

    __slots__ = ("connection", "loop", "opened", "pending")

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.connection: Connection = None
        self.opened = False
        self.pending: set[Future[Any]] = set()


class Call(Generic[T]):
    """An operation that was begun; its answer may be waited for once, by any thread."""

    __slots__ = ("_promise", "_whom")

    def __init__(self, promise: Promise[T], whom: str) -> None:
        self._promise = promise
        self._whom = whom

    def result(self, deadline_seconds: float) -> T:
        """Wait for the answer.

        Raises:
            BrokerUnavailable: The connection was lost before the answer.
            BrokerSilent: No answer by the deadline.
            BrokerRefused: The broker closed the operation's channel.
        """
        try:
            return self._promise.result(deadline_seconds)
        except TimeoutError:
            if self._promise.cancel():
                raise BrokerSilent(f"{self._whom} did not answer within {deadline_seconds:g} s") from None
            return self._promise.result()


def perform(operation: Operation[T], session: Session, promise: Promise[T]) -> None:
    """Run an operation unless nobody waits for it any more; what it raises goes to whoever waits."""
    if promise.cancelled():
        return
    try:
        operation(session.connection, promise)
    except pika.exceptions.AMQPError as error:
        fail(promise, meaning(error))
    except BrokerFailure as error:
        fail(promise, error)
    except Exception as error:
        fail(promise, error)


def close(connection: Connection) -> None:
    """Close a connection in an orderly way, or give up opening it."""
    if not (connection.is_closing or connection.is_closed):
        connection.close()


def abort(connection: Connection) -> None:
    """Break a connection whose broker does not answer."""
    if not connection.is_closed:
        # Pika has no public way to give up on a broker that does not answer the closing of a channel.
        connection._terminate_stream(pika.exceptions.ConnectionClosedByClient(200, STOPPED))  # noqa: SLF001  see above

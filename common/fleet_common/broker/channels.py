"""Operations on channels, as promises.

Role: open a channel, ask, close it again; a channel that the broker closes breaks the promise with its reply code.
Neighbours: ``link`` runs these, ``lanes``, ``locks``, ``inspect`` and ``topology`` ask with them. Threading: everything
here runs on a link's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleet_common.broker.promises import Promise, T, fail, keep, meaning
from fleet_common.broker.session import Connection, Operation

Channel = Any
"""A ``pika.channel.Channel``."""


def open_channel(connection: Connection, promise: Promise[T], then: Callable[[Channel], object]) -> None:
    """Open a channel and go on with it; when the broker closes it, the promise is broken."""

    def opened(channel: Channel) -> None:
        channel.add_on_close_callback(lambda _, reason: fail(promise, meaning(reason)))
        then(channel)

    connection.channel(on_open_callback=opened)


def new_channel(connection: Connection, promise: Promise[Channel]) -> None:
    """An operation: a channel for further operations."""
    open_channel(connection, promise, lambda channel: keep(promise, channel))


def on_throwaway(ask: Callable[[Channel, Callable[[Any], None]], None]) -> Operation[Any]:
    """An operation that asks one thing on a channel of its own, because a refusal closes the channel.

    Args:
        ask: Gets the channel and the callback for the answer; the promise is kept with that answer.
    """

    def operation(connection: Connection, promise: Promise[Any]) -> None:
        def asked(channel: Channel) -> None:
            def answered(frame: Any) -> None:
                keep(promise, frame)
                close(channel)

            ask(channel, answered)

        open_channel(connection, promise, asked)

    return operation


def close(channel: Channel) -> None:
    """Close a channel unless it is closed or closing."""
    if channel.is_open:
        channel.close()

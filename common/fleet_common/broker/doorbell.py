"""The doorbell: ends the wait of an idle worker when something was published, or when a slot was given back.

Role: an exclusive queue of a few messages on the wake exchange; a message with a text names a slot. Only a convenience:
whoever does not hear it polls a little later. Neighbours: ``lanes`` and ``locks`` wait, ``publisher`` rings. Threading:
:meth:`Doorbell.wait` on the taking thread, the rest on the link's.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog

from fleet_common.broker.channels import Channel
from fleet_common.broker.link import Link
from fleet_common.broker.names import Names
from fleet_common.broker.promises import meaning
from fleet_common.broker.session import Connection

_LOG = structlog.get_logger()
_MOST_WAITING: Final = 16


def nobody_waits(_name: str) -> None:
    """Where no slots are waited for."""


class Doorbell:
    """Hears rings for as long as its link lives; a new connection counts as a ring.

    Args:
        link: The consuming link.
        names: Of the wake exchange.
        on_freed: Called on the link's thread with the name of a slot that was given back; must return at once.
    """

    def __init__(self, link: Link, names: Names, on_freed: Callable[[str], None] = nobody_waits) -> None:
        self._names = names
        self._on_freed = on_freed
        self._queue = names.doorbell(uuid.uuid4().hex)
        self._rung = threading.Event()
        link.on_open(self._listen)

    def ring(self) -> None:
        """Ring from inside the process."""
        self._rung.set()

    def clear(self) -> None:
        """Forget what rang so far; called before looking, so that a ring while looking is not missed."""
        self._rung.clear()

    def wait(self, seconds: float) -> bool:
        """Wait for a ring; False when none came."""
        return self._rung.wait(seconds)

    # --- on the link's thread ---

    def _listen(self, connection: Connection) -> None:
        self._rung.set()
        connection.channel(on_open_callback=self._opened)

    def _opened(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._closed)
        arguments = {"x-max-length": _MOST_WAITING}
        channel.queue_declare(
            self._queue, exclusive=True, auto_delete=True, arguments=arguments, callback=partial(self._bind, channel)
        )

    def _bind(self, channel: Channel, _frame: Any) -> None:
        channel.queue_bind(self._queue, self._names.wake, callback=partial(self._consume, channel))

    def _consume(self, channel: Channel, _frame: Any) -> None:
        channel.basic_consume(self._queue, self._heard, auto_ack=True)

    def _heard(self, _channel: Channel, _method: Any, _properties: Any, body: bytes) -> None:
        if body:
            self._on_freed(body.decode(errors="replace"))
        else:
            self._rung.set()

    def _closed(self, _channel: Channel, reason: BaseException) -> None:
        self._rung.set()
        _LOG.info("doorbell not heard any more, polling instead", queue=self._queue, reason=str(meaning(reason)))

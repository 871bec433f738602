"""The doorbell: ends the wait of an idle worker when something was published.

Role: an exclusive queue of one message on the wake exchange. Only a convenience: whoever does not hear it polls a
little later. Neighbours: ``lanes`` waits on it, ``publisher`` rings. Threading: :meth:`Doorbell.wait` on the taking
thread, the rest on the link's.
"""

from __future__ import annotations

import threading
import uuid
from functools import partial
from typing import Any

import structlog

from fleet_common.broker.channels import Channel
from fleet_common.broker.link import Link
from fleet_common.broker.names import Names
from fleet_common.broker.promises import meaning
from fleet_common.broker.session import Connection

_LOG = structlog.get_logger()


class Doorbell:
    """Hears rings for as long as its link lives; a new connection counts as a ring."""

    def __init__(self, link: Link, names: Names) -> None:
        self._names = names
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
        arguments = {"x-max-length": 1}
        channel.queue_declare(
            self._queue, exclusive=True, auto_delete=True, arguments=arguments, callback=partial(self._bind, channel)
        )

    def _bind(self, channel: Channel, _frame: Any) -> None:
        channel.queue_bind(self._queue, self._names.wake, callback=partial(self._consume, channel))

    def _consume(self, channel: Channel, _frame: Any) -> None:
        channel.basic_consume(self._queue, lambda *_: self._rung.set(), auto_ack=True)

    def _closed(self, _channel: Channel, reason: BaseException) -> None:
        self._rung.set()
        _LOG.info("doorbell not heard any more, polling instead", queue=self._queue, reason=str(meaning(reason)))

"""A producer's view of its own events as they are told.

Role: an exclusive queue bound to the producer's lanes, because a producer may not read the log. Neighbours:
``subscription`` brings the messages, ``eventlog`` decodes them. Threading: a link of its own; one thread reads.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Self

from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.channels import Channel
from fleet_common.broker.eventlog import event_from
from fleet_common.broker.link import Link
from fleet_common.broker.linkstate import Backoff
from fleet_common.broker.names import Names
from fleet_common.broker.streams import FOREVER, never
from fleet_common.broker.subscription import Subscription
from fleet_common.broker.waiting import Deadline
from fleet_common.errors import Permanent
from fleet_common.events import Event
from fleet_common.heartbeats import is_heartbeat

_ATTACH_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.25
_MOST_WAITING: Final = 10_000


class LiveFollower:
    """The events of some lanes as they are told; also a context manager.

    Attach before publishing: what was told earlier is not seen.

    Args:
        address: The broker, with the lane's own user.
        lanes: Lanes to follow; topic permissions allow a producer only its own.
        names: Of the exchange.
        attach_seconds: How long the context manager tries to attach.
        backoff: Waits between tries to connect.

    Attributes:
        skipped: How many messages were no events.
    """

    def __init__(
        self,
        address: BrokerAddress,
        lanes: Sequence[str],
        names: Names | None = None,
        *,
        attach_seconds: float = _ATTACH_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        self._names = names or Names()
        self._attach_seconds = attach_seconds
        self._lanes = tuple(lanes)
        self._queue = self._names.follower(address.user, uuid.uuid4().hex)
        self.link = Link(address, role="follow", backoff=backoff)
        self._subscription = Subscription(self.link, self._attach)
        self.skipped = 0

    @property
    def gaps(self) -> int:
        """How often the connection was lost, and with it whatever was told meanwhile."""
        return max(0, self._subscription.attachments - 1)

    def start(self, deadline_seconds: float = _ATTACH_SECONDS) -> None:
        """Attach.

        Raises:
            BrokerUnavailable: Not attached by the deadline.
            BrokerRefused: This user may not follow these lanes.
        """
        self.link.start()
        try:
            self._subscription.wait_attached(deadline_seconds)
        except BaseException:
            self.link.stop(2.0)
            raise

    def stop(self, deadline_seconds: float = 5.0) -> None:
        """Detach and close the connection; final."""
        self.link.stop(deadline_seconds)

    def __enter__(self) -> Self:
        self.start(self._attach_seconds)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def next(self, deadline_seconds: float) -> Event | None:
        """The next event; None when none came by the deadline."""
        deadline = Deadline(deadline_seconds)
        while (message := self._subscription.get(deadline.left_seconds)) is not None:
            if is_heartbeat(message.routing_key):
                continue
            try:
                return event_from(message)
            except Permanent:
                self.skipped += 1
        return None

    def events(self, *, stop: Callable[[], bool] = never, deadline_seconds: float = FOREVER) -> Iterator[Event]:
        """Events until ``stop``, asked four times a second, says so, or the deadline."""
        deadline = Deadline(deadline_seconds)
        while not (stop() or deadline.over):
            event = self.next(min(_LOOK_SECONDS, deadline.left_seconds))
            if event is not None:
                yield event

    # --- on the link's thread ---

    def _attach(self, channel: Channel, receive: Callable[..., None], done: Callable[[Any], None]) -> None:
        keys = iter([f"{lane}.#" for lane in self._lanes])

        def bind_next(_frame: Any) -> None:
            key = next(keys, None)
            if key is None:
                channel.basic_consume(self._queue, receive, callback=done)
            else:
                channel.queue_bind(self._queue, self._names.events, key, callback=bind_next)

        arguments = {"x-max-length": _MOST_WAITING}
        channel.queue_declare(self._queue, exclusive=True, arguments=arguments, callback=bind_next)

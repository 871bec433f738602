"""Short ways to a real RabbitMQ and to everything of fleet_common.broker that runs on it, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import pytest
from pydantic import SecretStr

from fleet_common.broker import (
    RETRY_TIERS_SECONDS,
    Backoff,
    BrokerAddress,
    EventReader,
    LaneSource,
    Link,
    Locks,
    Names,
    Publisher,
    Timing,
    apply,
)
from fleet_common.broker.channels import on_throwaway
from fleet_stack import parts
from fleet_stack.console import StackError
from fleet_stack.description import BrokerDescription
from fleet_stack.layout import Layout
from fleet_stack.rabbitmq.part import RabbitPart

LANES: Final = ("demo", "hcs", "confocal")
QUICK: Final = Backoff(first_seconds=0.05, most_seconds=0.3, jitter_seconds=0.05)
NAMES: Final = Names()
T = TypeVar("T")


def install_or_skip(layout: Layout, options: parts.Options) -> None:
    """Have the packages of a RabbitMQ; a newest that cannot be had here skips the test."""
    try:
        parts.part(layout, "rabbitmq", options).install()
    except StackError as error:
        if options.rabbitmq_version != "newest":
            raise
        pytest.skip(f"the newest RabbitMQ cannot be had here: {error}")


@dataclass
class Rabbit:
    """The broker under test, and short ways to everything that runs on it; whatever was made is stopped again."""

    name: str
    description: BrokerDescription
    part: RabbitPart
    _stops: list[Callable[[float], None]] = field(default_factory=list)

    def address(self, user: str, **changes: Any) -> BrokerAddress:
        """Where and as whom to connect; with TLS unless told otherwise."""
        there: dict[str, Any] = {
            "host": self.description.host,
            "port": self.description.amqps_port,
            "vhost": self.description.vhost,
            "user": user,
            "password": SecretStr(self.description.users[user].read_text()),
            "ca_file": self.description.ca_file,
        }
        return BrokerAddress(**(there | changes))

    def plain(self, user: str, port: int | None = None, **changes: Any) -> BrokerAddress:
        """The same without TLS, perhaps through a proxy."""
        return self.address(user, tls=False, port=port or self.description.amqp_port, **changes)

    def link(self, address: BrokerAddress, **more: Any) -> Link:
        """A connected link."""
        link = Link(address, role="test", backoff=QUICK, **more)
        link.start()
        self._stops.append(link.stop)
        assert link.wait_connected(20), link.state
        return link

    def publisher(self, user: str, address: BrokerAddress | None = None, **more: Any) -> Publisher:
        """A connected publisher."""
        publisher = Publisher(address or self.plain(user), backoff=QUICK, **more)
        publisher.start()
        self._stops.append(publisher.stop)
        assert publisher.wait_connected(20)
        return publisher

    def reader(self, address: BrokerAddress | None = None) -> EventReader:
        """A connected reader of the event log."""
        reader = EventReader(address or self.plain("operator"), backoff=QUICK)
        reader.start()
        self._stops.append(reader.stop)
        return reader

    def source(
        self, *lanes: str, address: BrokerAddress | None = None, poll_seconds: float = 0.1, **more: Any
    ) -> LaneSource:
        """A lane source of a worker on a link of its own."""
        link = self.link(address or self.plain("worker"))
        return LaneSource(link, NAMES, lanes or LANES, poll_seconds=poll_seconds, **more)

    def locks(self, address: BrokerAddress | None = None, timing: Timing | None = None) -> Locks:
        """Locks of a worker on a link of its own."""
        link = Link(address or self.plain("worker"), role="test", backoff=QUICK)
        locks = Locks(link, timing=timing)
        link.start()
        self._stops.append(link.stop)
        assert link.wait_connected(20), link.state
        return locks

    def admin(self, ask: Callable[..., Any]) -> Any:
        """One question on a channel of the administrator."""
        return self.link(self.plain("admin")).call(on_throwaway(ask), 10)

    def restart(self, *, kill: bool = False) -> None:
        """Take the broker down and up again."""
        if kill:
            self.part.kill()
        self.part.stop()
        self.part.start()

    def clean(self) -> None:
        """Empty every queue of requests."""
        link = self.link(self.plain("admin"))
        tiers = (NAMES.retry(tier) for tier in RETRY_TIERS_SECONDS)
        lanes = (queue for lane in LANES for queue in NAMES.lane_queues(lane))
        for queue in (NAMES.dead, *tiers, *lanes):
            link.call(on_throwaway(partial(_purge, queue)), 10)

    def renew(self, queue: str) -> None:
        """Delete a queue or stream of the topology, and declare it again, empty."""
        self.admin(lambda channel, then: channel.queue_delete(queue, callback=then))
        apply(self.plain("topology"), LANES)

    def stop_all(self) -> None:
        """Stop what the test has made."""
        while self._stops:
            self._stops.pop()(5.0)


def _purge(queue: str, channel: Any, then: Callable[[Any], None]) -> None:
    channel.queue_purge(queue, callback=then)

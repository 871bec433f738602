"""Declaring the fleet's objects on a broker.

Role: applies the description; doing it again changes nothing. Neighbours: ``topology`` describes, ``verify`` compares.
Threading: the caller's thread waits; a link of its own does the work and is stopped again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import tenacity

from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.channels import Channel, on_throwaway
from fleet_common.broker.failures import BrokerRefused, BrokerUnavailable
from fleet_common.broker.link import Link
from fleet_common.broker.names import Names
from fleet_common.broker.topology import Binding, Exchange, Queue, StreamBounds, describe

CONFLICT: Final = 406
_CONNECT_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 30.0
_STARTING_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 0.3

Ask = Callable[[Channel, Callable[[Any], None]], None]


def apply(
    address: BrokerAddress, lanes: Sequence[str], names: Names | None = None, *, bounds: StreamBounds | None = None
) -> None:
    """Declare exchanges, queues, streams and bindings; what is there already stays as it is.

    Raises:
        BrokerRefused: No permission (403), or an object of that name with other arguments (406).
        BrokerUnavailable: No connection within 30 s.
    """
    wanted = describe(names or Names(), lanes, bounds)
    with connected(address) as link:
        for exchange in wanted.exchanges:
            ask(link, f"exchange {exchange.name}", declare_exchange(exchange))
        for queue in wanted.queues:
            ask(link, f"queue {queue.name}", declare_queue(queue))
        for binding in wanted.bindings:
            ask(link, f"binding {binding.exchange} to {binding.queue}", bind(binding))


@contextlib.contextmanager
def connected(address: BrokerAddress) -> Iterator[Link]:
    """A link that is connected, for a few questions.

    Raises:
        BrokerUnavailable: No connection within 30 s.
    """
    link = Link(address, role="topology")
    link.start()
    try:
        if not link.wait_connected(_CONNECT_SECONDS):
            raise BrokerUnavailable(f"cannot reach {address}: {link.state.reason}")
        yield link
    finally:
        link.stop(5.0)


def ask(link: Link, what: str, question: Ask) -> None:
    """Ask one thing on a throw-away channel; a broker that is still starting is asked again for 30 s.

    Raises:
        BrokerUnavailable: The connection was lost, or the broker did not get ready.
        BrokerRefused: With the object's name, and what to do.
    """
    patient = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(BrokerUnavailable),
        stop=tenacity.stop_after_delay(_STARTING_SECONDS),
        wait=tenacity.wait_fixed(_AGAIN_SECONDS),
        reraise=True,
    )
    try:
        patient(link.call, on_throwaway(question), _ANSWER_SECONDS)
    except BrokerRefused as error:
        advice = (
            "; it exists with other arguments: `omero-fleet topology verify` shows which, and a queue can only be "
            "deleted and declared anew"
            if error.code == CONFLICT
            else ""
        )
        raise BrokerRefused(f"{what}: {error}{advice}", error.code) from error


def declare_exchange(exchange: Exchange, *, passive: bool = False) -> Ask:
    """The question that declares an exchange."""
    return lambda channel, then: channel.exchange_declare(
        exchange.name,
        exchange.kind,
        passive=passive,
        durable=True,
        arguments=dict(exchange.arguments) or None,
        callback=then,
    )


def declare_queue(queue: Queue, *, passive: bool = False) -> Ask:
    """The question that declares a queue."""
    return lambda channel, then: channel.queue_declare(
        queue.name, passive=passive, durable=True, arguments=dict(queue.arguments), callback=then
    )


def bind(binding: Binding) -> Ask:
    """The question that binds a queue to an exchange."""
    return lambda channel, then: channel.queue_bind(binding.queue, binding.exchange, binding.key, callback=then)

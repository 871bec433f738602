"""Comparing a broker with the description.

Role: asks over AMQP whether every object is there and the same, and over the management API, when its address is given,
what AMQP cannot tell. Neighbours: ``topology`` describes, ``findings`` judges. Threading: as ``declare``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.declare import CONFLICT, Ask, ask, connected, declare_exchange, declare_queue
from fleet_common.broker.failures import BrokerRefused
from fleet_common.broker.findings import (
    Difference,
    binding_findings,
    exchange_policy_findings,
    permission_findings,
    queue_findings,
)
from fleet_common.broker.link import Link
from fleet_common.broker.management import Management
from fleet_common.broker.names import Names
from fleet_common.broker.topology import StreamBounds, Topology, describe

_LOG = structlog.get_logger()
_NOT_FOUND: Final = 404
TIMEOUT_HONOURED_SINCE: Final = (4, 0)
"""RabbitMQ does what ``x-consumer-timeout`` of a queue says from here on."""


def verify(
    address: BrokerAddress,
    lanes: Sequence[str],
    names: Names | None = None,
    *,
    bounds: StreamBounds | None = None,
    management_url: str | None = None,
) -> list[Difference]:
    """What is not as described; nothing is changed.

    Args:
        address: The broker, with a user who may configure everything under the prefix; with a management address, an
            administrator, for only those see permissions.
        lanes: Lanes that should be there.
        names: Of everything.
        bounds: Of the streams.
        management_url: Without it, policies, bindings and permissions are not compared.

    Raises:
        BrokerFailure: The broker or its management API cannot be asked.
    """
    names = names or Names()
    wanted = describe(names, lanes, bounds)
    with connected(address) as link:
        found = [*_over_amqp(link, wanted)]
        version = link.server_version
    if management_url is not None:
        api = Management(management_url.rstrip("/"), address.user, address.password, address.ca_file)
        found += _over_management(api, address.vhost, wanted, names)
    for line in advice(version):
        _LOG.warning("cannot be verified", advice=line)
    return found


def advice(server_version: tuple[int, ...]) -> tuple[str, ...]:
    """What must be so on this version, but shows nowhere."""
    if server_version >= TIMEOUT_HONOURED_SINCE:
        return ()
    return ("RabbitMQ before 4.0 ignores x-consumer-timeout: set consumer_timeout = 604800000 in its rabbitmq.conf",)


def _over_amqp(link: Link, wanted: Topology) -> Iterator[Difference]:
    for exchange in wanted.exchanges:
        asks = declare_exchange(exchange, passive=True), declare_exchange(exchange)
        yield from _compare(link, f"exchange {exchange.name}", *asks)
    for queue in wanted.queues:
        yield from _compare(link, f"queue {queue.name}", declare_queue(queue, passive=True), declare_queue(queue))


def _compare(link: Link, subject: str, look: Ask, same: Ask) -> Iterator[Difference]:
    # The declare that compares would create what is missing, so it comes second.
    try:
        ask(link, subject, look)
        ask(link, subject, same)
    except BrokerRefused as error:
        if error.code == _NOT_FOUND:
            advice = "Run `omero-fleet topology apply`."
            yield Difference(subject=subject, problem="is not there", advice=advice)
        elif error.code == CONFLICT:
            advice = "Delete it when it is empty, and run `omero-fleet topology apply`."
            yield Difference(subject=subject, problem=f"is another one: {error.__cause__}", advice=advice)
        else:
            raise


def _over_management(api: Management, vhost: str, wanted: Topology, names: Names) -> Iterator[Difference]:
    for queue in wanted.queues:
        answer = api.get("queues", vhost, queue.name)
        if answer is not None:
            yield from queue_findings(queue, answer)
    yield from binding_findings(wanted.bindings, api.get("bindings", vhost) or (), names)
    yield from exchange_policy_findings(api.get("policies", vhost) or (), names)
    administrators = [user["name"] for user in api.get("users") or () if "administrator" in user["tags"]]
    permissions = api.get("vhosts", vhost, "permissions") or ()
    topic_permissions = api.get("vhosts", vhost, "topic-permissions") or ()
    yield from permission_findings(permissions, topic_permissions, administrators, names)

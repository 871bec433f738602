"""How full the fleet's queues are, by the management API: in one answer, without touching any of them.

An AMQP client would have to ask for each queue, sees no unacked messages, and on RabbitMQ 4.3 may not ask for a lane
that it cannot read, which a monitor must not: who may read a queue may also empty it. Neighbours: ``management`` asks.
Threading: stateless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet_common.broker.linkstate import version_numbers
from fleet_common.broker.management import Management
from fleet_common.broker.names import Names
from fleet_common.broker.verify import TIMEOUT_HONOURED_SINCE
from fleet_common.messages import Priority


@dataclass(frozen=True, slots=True)
class Filling:
    """Messages of one queue.

    Attributes:
        ready: That nobody holds.
        unacked: That somebody holds.
    """

    ready: int = 0
    unacked: int = 0


@dataclass(frozen=True, slots=True)
class Overview:
    """All of the fleet's queues at one moment.

    Attributes:
        lanes: By lane and class.
        retries: In all retry tiers.
        dead: Dead letters, held ones included.
        workers: Doorbells: one for each worker that is connected.
        slots: Slots that are held, by kind, of the server that was asked for.
        delivery_timeout_seconds: The shortest that a lane's queue asks for; None where none says, or nobody heeds it.
    """

    lanes: Mapping[tuple[str, Priority], Filling] = field(default_factory=dict)
    retries: int = 0
    dead: int = 0
    workers: int = 0
    slots: Mapping[str, int] = field(default_factory=dict)
    delivery_timeout_seconds: float | None = None


def look(api: Management, vhost: str, names: Names, server: str) -> Overview:
    """Ask for all queues of the virtual host.

    Raises:
        BrokerFailure: No answer, or the user has not the tag ``monitoring``.
    """
    version = version_numbers(str((api.get("overview") or {}).get("rabbitmq_version", "")))
    return read(api.get("queues", vhost) or (), names, server, has_timeouts=version >= TIMEOUT_HONOURED_SINCE)


def read(queues: Iterable[Mapping[str, Any]], names: Names, server: str, *, has_timeouts: bool = True) -> Overview:
    """The fleet's part of what the API says of all queues.

    Args:
        queues: As the API lists them; a queue that is starting has no numbers yet.
        names: Of the fleet.
        server: Name of the OMERO server whose slots are counted.
        has_timeouts: Whether this broker does what queues ask for: older ones have a time-out of their own only.
    """
    by_name = {str(queue["name"]): queue for queue in queues}
    lanes = {place: _filling(queue) for name, queue in by_name.items() if (place := _place(name, names)) is not None}
    tiers = [_filling(by_name.get(names.retry(tier), {})) for tier in names.tiers_seconds]
    dead = _filling(by_name.get(names.dead, {}))
    slot = re.compile(re.escape(names.slot(server, "KIND", 0)).replace("KIND", "([^.]+)").removesuffix("0") + "[0-9]+")
    kinds = [found[1] for name in by_name if (found := slot.fullmatch(name))]
    asking = [queue for name, queue in by_name.items() if has_timeouts and _place(name, names)]
    return Overview(
        lanes=lanes,
        retries=sum(tier.ready + tier.unacked for tier in tiers),
        dead=dead.ready + dead.unacked,
        workers=sum(name.startswith(f"{names.wake}.") for name in by_name),
        slots={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        delivery_timeout_seconds=min((limit for queue in asking if (limit := _timeout(queue))), default=None),
    )


def _place(name: str, names: Names) -> tuple[str, Priority] | None:
    lane, dot, priority = name.removeprefix(f"{names.prefix}lane.").rpartition(".")
    if not dot or priority not in set(Priority) or name != names.lane_queue(lane, priority):
        return None
    return lane, Priority(priority)


def _filling(queue: Mapping[str, Any]) -> Filling:
    return Filling(int(queue.get("messages_ready") or 0), int(queue.get("messages_unacknowledged") or 0))


def _timeout(queue: Mapping[str, Any]) -> float | None:
    """The argument, unless a policy asks for less: the lower one holds."""
    asked = [
        (queue.get("arguments") or {}).get("x-consumer-timeout"),
        (queue.get("effective_policy_definition") or {}).get("consumer-timeout"),
    ]
    return min((int(value) / 1000 for value in asked if isinstance(value, int)), default=None)

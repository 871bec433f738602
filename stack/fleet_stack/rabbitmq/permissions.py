"""Who may do what in the broker.

Role: the users of a stack as data; a facility gives its own users the same patterns (docs/how-to/broker-users.md).
Neighbours: `management` applies them. Threading: pure.

Three facts shape the patterns (RabbitMQ documentation, "Access Control"; each is checked in
tests/broker/test_stack_rabbitmq.py). Topic permissions are looked at only on topic exchanges. A user without a topic
permission may publish every key, so every producer has one. ``{username}`` is filled in only in topic permissions, so
a producer's own name stands literally in the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NOTHING: Final = "^$"
LANES: Final = ("demo", "hcs", "confocal")
CLASSES: Final = "(urgent|normal|bulk)"
# What a producer may say of its own requests; everything else is said by workers.
PRODUCER_EVENTS: Final = "(accepted|withdrawn|heartbeat|settling|incomplete)"


@dataclass(frozen=True, slots=True)
class TopicPermission:
    """Routing keys that a user may publish to, and bind to, on one topic exchange."""

    exchange: str
    write: str
    read: str


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """A user of the broker: names of objects it may configure, write to and read from, as regular expressions."""

    name: str
    configure: str
    write: str
    read: str
    tags: tuple[str, ...] = ()
    topics: tuple[TopicPermission, ...] = ()


def producer(lane: str) -> BrokerUser:
    """The one user that may fill a lane; it has the lane's name."""
    own = rf"follow\.{re.escape(lane)}\..+"
    return BrokerUser(
        name=lane,
        configure=rf"^import\.{own}$",
        write=rf"^import\.(requests|events|wake|{own})$",
        read=rf"^import\.(events|{own})$",
        topics=(
            TopicPermission("import.requests", write=rf"^{{username}}\.{CLASSES}$", read=NOTHING),
            TopicPermission("import.events", write=rf"^{{username}}\.{PRODUCER_EVENTS}$", read=r"^{username}\."),
        ),
    )


WORKER: Final = BrokerUser(
    name="worker",
    # Slots and locks are exclusive queues, the doorbell is one queue per worker.
    configure=r"^import\.(slot|lock|wake)\..+$",
    write=r"^import\.(requests|retry\.[0-9]+|dead|events|wake|wake\..+)$",
    read=r"^import\.(lane\..+|wake|wake\..+|control-log)$",
)
OPERATOR: Final = BrokerUser(
    name="operator",
    configure=NOTHING,
    write=r"^import\.(requests|events|dead|control|wake)$",
    read=r"^import\.(dead|event-log|control-log)$",
)
MONITOR: Final = BrokerUser(
    name="monitor",
    configure=NOTHING,
    write=NOTHING,
    # Not the lanes: who may read a queue may also empty it.
    read=r"^import\.event-log$",
    tags=("monitoring",),
)
EXPORTER: Final = BrokerUser(
    name="exporter",
    configure=NOTHING,
    # It says of a request that the broker gave up that it is dead; nobody else does.
    write=r"^import\.events$",
    read=r"^import\.(dead|event-log)$",
    tags=("monitoring",),
    topics=(TopicPermission("import.events", write=r"^[^.]+\.dead$", read=NOTHING),),
)
TOPOLOGY: Final = BrokerUser(
    name="topology",
    configure=r"^import\..+$",
    write=r"^import\..+$",
    read=r"^import\..+$",
    # policymaker is enough to declare and to set policies; verify also compares users and topic permissions, which the
    # management API shows to administrators only.
    tags=("administrator",),
)


def users(lanes: tuple[str, ...] = LANES) -> tuple[BrokerUser, ...]:
    """Every user of a stack, one producer for each lane."""
    return (TOPOLOGY, WORKER, OPERATOR, MONITOR, EXPORTER, *map(producer, lanes))

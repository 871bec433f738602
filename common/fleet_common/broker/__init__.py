"""The fleet's side of RabbitMQ, and the only place that imports pika.

A :class:`Link` is one connection on a thread of its own. On the consuming link, which never publishes: a
:class:`LaneSource` takes requests, :class:`Locks` holds locks and slots. A :class:`Publisher` has a link of its own, as
have the readers of events. Every wait has a deadline; whatever the broker does to us is a :class:`BrokerFailure`.
"""

from __future__ import annotations

from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.confirms import Outgoing
from fleet_common.broker.controllog import OrderReader, publish_order
from fleet_common.broker.deadletters import Buried, DeadQueue
from fleet_common.broker.declare import apply
from fleet_common.broker.deliveries import Delivery
from fleet_common.broker.eventlog import EventReader
from fleet_common.broker.failures import (
    BrokerFailure,
    BrokerRefused,
    BrokerSilent,
    BrokerUnavailable,
    PublishRefused,
    PublishTimeout,
    PublishUnroutable,
)
from fleet_common.broker.findings import Difference
from fleet_common.broker.follower import LiveFollower
from fleet_common.broker.inspect import Depth, exchange_exists, queue_depth
from fleet_common.broker.lanes import LaneSource
from fleet_common.broker.leases import Lease
from fleet_common.broker.link import Link
from fleet_common.broker.linkstate import Backoff, LinkState
from fleet_common.broker.locks import Locks, Timing
from fleet_common.broker.names import Names, pick_tier
from fleet_common.broker.publisher import OnTheWay, Publisher
from fleet_common.broker.retry import (
    ALONE,
    ATTEMPT,
    DIED_AT,
    ERROR_CLASS,
    FIRST_SEEN,
    LOG_TAIL,
    MESSAGE,
    ORIGIN_KEY,
    REASON,
    RETRY_REASON,
    SUBMITTED_BY,
    WORKER,
    alone_of,
    attempt_of,
    hand_back,
    publish_dead,
    publish_retry,
    submitted_by,
    without_broker_headers,
)
from fleet_common.broker.streams import StreamReader
from fleet_common.broker.topology import StreamBounds, Topology, describe
from fleet_common.broker.verify import advice, verify
from fleet_common.tiers import RETRY_TIERS_SECONDS

__all__ = [
    "ALONE",
    "ATTEMPT",
    "DIED_AT",
    "ERROR_CLASS",
    "FIRST_SEEN",
    "LOG_TAIL",
    "MESSAGE",
    "ORIGIN_KEY",
    "REASON",
    "RETRY_REASON",
    "RETRY_TIERS_SECONDS",
    "SUBMITTED_BY",
    "WORKER",
    "Backoff",
    "BrokerAddress",
    "BrokerFailure",
    "BrokerRefused",
    "BrokerSilent",
    "BrokerUnavailable",
    "Buried",
    "DeadQueue",
    "Delivery",
    "Depth",
    "Difference",
    "EventReader",
    "LaneSource",
    "Lease",
    "Link",
    "LinkState",
    "LiveFollower",
    "Locks",
    "Names",
    "OnTheWay",
    "OrderReader",
    "Outgoing",
    "PublishRefused",
    "PublishTimeout",
    "PublishUnroutable",
    "Publisher",
    "StreamBounds",
    "StreamReader",
    "Timing",
    "Topology",
    "advice",
    "alone_of",
    "apply",
    "attempt_of",
    "describe",
    "exchange_exists",
    "hand_back",
    "pick_tier",
    "publish_dead",
    "publish_order",
    "publish_retry",
    "queue_depth",
    "submitted_by",
    "verify",
    "without_broker_headers",
]

"""Empties the lane that is measured with, and counts what waits there, with pika's own client. One thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika

from fleet_bench.stage import LANE, Stage
from fleet_common.broker import Names


@contextmanager
def administrator(stage: Stage) -> Iterator[Any]:
    """A channel of the broker's administrator."""
    broker = stage.description.broker
    credentials = pika.PlainCredentials("admin", broker.users["admin"].read_text(encoding="utf-8").strip())
    connection = pika.BlockingConnection(
        pika.ConnectionParameters(broker.host, broker.amqp_port, broker.vhost, credentials)
    )
    try:
        yield connection.channel()
    finally:
        connection.close()


def empty(stage: Stage) -> None:
    """Take everything out of the lane; its queues must be there."""
    with administrator(stage) as channel:
        for queue in Names().lane_queues(LANE):
            channel.queue_purge(queue)


def waiting(stage: Stage) -> int:
    """How many requests wait in the lane."""
    with administrator(stage) as channel:
        found = (channel.queue_declare(queue, passive=True) for queue in Names().lane_queues(LANE))
        return sum(int(frame.method.message_count) for frame in found)

"""A real RabbitMQ for the tests of fleet_common.broker, with the users and permissions of a facility.

The stack is called after the version it runs (``FLEET_TEST_RABBITMQ``: 3.10, 4.0 or newest; 4.0 by default) and lives
with all others. It is removed at the end; what a test leaves in queues is purged before the next one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fleet_common.broker import apply
from fleet_stack import parts, stack
from fleet_stack.layout import Layout
from fleet_stack.rabbitmq.part import RabbitPart
from support.rabbit import LANES, Rabbit


@pytest.fixture(scope="session")
def running() -> Iterator[Rabbit]:
    """One broker for all tests of a run, with the topology applied."""
    version = os.environ.get("FLEET_TEST_RABBITMQ", "4.0")
    name = f"t-broker-{version.replace('.', '')}"
    try:
        description = stack.up(name, ("rabbitmq",), parts.Options(rabbitmq_version=version)).broker
        rabbit = Rabbit(name, description, RabbitPart(Layout.for_name(name), version))
        apply(rabbit.plain("topology"), LANES)
        yield rabbit
    finally:
        stack.wipe(name)


@pytest.fixture
def rabbit(running: Rabbit) -> Iterator[Rabbit]:
    """The broker with empty queues; whatever the test starts on it is stopped."""
    try:
        running.clean()
        yield running
    finally:
        running.stop_all()

"""A real RabbitMQ for the tests of fleet_common.broker, with the users and permissions of a facility.

What requests depend on (lanes, fairness, locks, publishing, retries) is tried on every version that the fleet supports,
the rest on 4.0; ``FLEET_TEST_RABBITMQ`` (3.10, 4.0 or newest) chooses one version for all. A stack is called after its
version, lives with all others and is removed at the end; what a test leaves in queues is purged before the next one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import pytest

from fleet_common.broker import apply
from fleet_stack import parts, stack
from fleet_stack.layout import Layout
from fleet_stack.rabbitmq.part import RabbitPart
from support.rabbit import LANES, Rabbit, install_or_skip

USUAL: Final = "4.0"
VERSIONS: Final = (USUAL, "3.10", "newest")
EVERYWHERE: Final = frozenset({"test_fairness", "test_lanes", "test_locks", "test_publisher", "test_retry"})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Say on which versions a test runs."""
    if "running" in metafunc.fixturenames:
        chosen = os.environ.get("FLEET_TEST_RABBITMQ")
        versions = VERSIONS if metafunc.module.__name__.rpartition(".")[2] in EVERYWHERE else (USUAL,)
        metafunc.parametrize("running", (chosen,) if chosen else versions, indirect=True, scope="session")


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest) -> Iterator[Rabbit]:
    """One broker for all tests of a version, with the topology applied; a newest that cannot be had is skipped."""
    version = str(request.param)
    name = f"t-broker-{version.replace('.', '')}"
    options = parts.Options(rabbitmq_version=version)
    install_or_skip(Layout.for_name(name), options)
    try:
        description = stack.up(name, ("rabbitmq",), options).broker
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

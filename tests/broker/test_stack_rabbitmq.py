"""The stack's RabbitMQ for real: plugins, users, certificate, and that it comes back after every way of going down.

Runs against RabbitMQ 4.0, or what FLEET_TEST_RABBITMQ names (3.10, 4.0, newest).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pika
import pika.exceptions
import pytest
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from fleet_stack import stack
from fleet_stack.console import StackError
from fleet_stack.description import StackDescription
from fleet_stack.layout import Layout
from fleet_stack.parts import Options
from fleet_stack.processes import accepts, is_running, wait_until
from fleet_stack.rabbitmq.config import ADMINISTRATOR
from fleet_stack.rabbitmq.part import RabbitPart
from fleet_stack.rabbitmq.permissions import TOPOLOGY, users

VERSION = os.environ.get("FLEET_TEST_RABBITMQ", "4.0")
EXPECTED = {"3.10": "3.10.", "4.0": "4.0.", "newest": "4."}
NAME = "t-rabbit"
LOOPBACK = {"0100007F", "00000000000000000000000001000000"}  # as in /proc/net/tcp and tcp6

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackDescription]:
    """A stack of RabbitMQ alone, wiped at the end."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FLEET_STATE", str(tmp_path_factory.mktemp("stacks")))
        try:
            yield stack.up(NAME, ["rabbitmq"], Options(VERSION))
        finally:
            stack.wipe(NAME)


@pytest.fixture(scope="module")
def layout(up: StackDescription) -> Layout:
    return Layout.for_name(up.name)


@pytest.fixture(scope="module")
def rabbit(layout: Layout) -> RabbitPart:
    return RabbitPart(layout)


@pytest.fixture
def broker(up: StackDescription, rabbit: RabbitPart) -> StackDescription:
    """The running broker; started again when the test before took it down."""
    if not rabbit.status().ready:
        rabbit.start()
    return up


def connect(up: StackDescription, user: str, tls: ssl.SSLContext | None = None) -> BlockingConnection:
    """A connection as one of the stack's users, with the password from its file."""
    password = up.broker.users[user].read_text()
    return BlockingConnection(
        pika.ConnectionParameters(
            host=up.broker.host,
            port=up.broker.amqps_port if tls else up.broker.amqp_port,
            virtual_host=up.broker.vhost,
            credentials=pika.PlainCredentials(user, password),
            ssl_options=pika.SSLOptions(tls, up.broker.host) if tls else None,
        )
    )


@pytest.fixture
def channels(broker: StackDescription) -> Iterator[Channels]:
    with Channels(broker) as opened:
        yield opened


class Channels:
    """Channels of several users, closed together."""

    def __init__(self, up: StackDescription) -> None:
        self._up = up
        self._connections: dict[str, BlockingConnection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def of(self, user: str) -> BlockingChannel:
        """A fresh channel with confirms: a refusal closes it."""
        if user not in self._connections:
            self._connections[user] = connect(self._up, user)
        channel = self._connections[user].channel()
        channel.confirm_delivery()
        return channel

    def publish(self, user: str, exchange: str, key: str) -> None:
        """Publish and wait for the broker's answer."""
        properties = pika.BasicProperties(user_id=user, delivery_mode=2)
        self.of(user).basic_publish(exchange, key, b"{}", properties)


def listening_addresses() -> dict[int, set[str]]:
    """Local addresses in the kernel's hexadecimal notation of everything that listens, by port."""
    found: dict[int, set[str]] = defaultdict(set)
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A":
                address, _, port = local.partition(":")
                found[int(port, 16)].add(address)
    return found


def refused() -> pytest.RaisesExc[pika.exceptions.ChannelClosedByBroker]:
    """The broker's 403."""
    return pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED")


class TestWhatIsThere:
    """A freshly started node."""

    def test_the_version_is_the_chosen_one(self, broker: StackDescription, rabbit: RabbitPart) -> None:
        overview = rabbit.management.get("/api/overview")
        assert overview["rabbitmq_version"].startswith(EXPECTED[VERSION])
        assert rabbit.status().detail == f"RabbitMQ {overview['rabbitmq_version']} on port {broker.broker.amqp_port}"

    def test_every_listener_is_ours(self, broker: StackDescription, layout: Layout, rabbit: RabbitPart) -> None:
        listeners = rabbit.management.get("/api/overview")["listeners"]
        assert {one["protocol"]: one["port"] for one in listeners} == {
            "clustering": layout.ports.distribution,
            "amqp": broker.broker.amqp_port,
            "amqp/ssl": broker.broker.amqps_port,
            "http": layout.ports.management,
            "http/prometheus": layout.ports.rabbitmq_metrics,
            "stream": layout.ports.stream,
        }

    @pytest.mark.usefixtures("broker")
    def test_every_listener_is_on_loopback_only(self, layout: Layout) -> None:
        """The management API knows neither epmd nor, on 3.10, its own address: ask the kernel."""
        listening = listening_addresses()
        for port in range(layout.ports.amqp, layout.ports.stream + 1):
            assert "0100007F" in listening[port], f"port {port}"
            assert listening[port] <= LOOPBACK, f"port {port}"

    @pytest.mark.usefixtures("broker")
    def test_deliveries_may_be_held_for_seven_days(self, rabbit: RabbitPart) -> None:
        assert "604800000" in rabbit.ctl("eval", "application:get_env(rabbit, consumer_timeout).")

    @pytest.mark.usefixtures("broker")
    def test_users_tags_and_permissions_are_exactly_those_described(self, rabbit: RabbitPart) -> None:
        api = rabbit.management
        names = {user.name for user in users()} | {ADMINISTRATOR}
        assert {user["name"] for user in api.get("/api/users")} == names
        assert [vhost["name"] for vhost in api.get("/api/vhosts")] == ["fleet"]
        found = {row["user"]: row for row in api.get("/api/permissions")}
        for user in users():
            row = found[user.name]
            assert (row["configure"], row["write"], row["read"]) == (user.configure, user.write, user.read)
        topics = {
            (row["user"], row["exchange"]): (row["write"], row["read"]) for row in api.get("/api/topic-permissions")
        }
        expected = {(user.name, one.exchange): (one.write, one.read) for user in users() for one in user.topics}
        assert topics == expected

    def test_metrics_are_served(self, broker: StackDescription) -> None:
        url = urlsplit(broker.broker.metrics_url)
        with contextlib.closing(http.client.HTTPConnection(url.netloc, timeout=10)) as connection:
            connection.request("GET", url.path)
            assert b"rabbitmq_identity_info" in connection.getresponse().read()

    def test_no_secret_is_in_the_description_or_readable_by_others(
        self, broker: StackDescription, layout: Layout
    ) -> None:
        text = layout.record.read_text()
        for path in broker.broker.users.values():
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.read_text() not in text
        assert (layout.rabbitmq / "rabbitmq.conf").stat().st_mode & 0o777 == 0o600
        assert json.loads(text)["parts"] == ["rabbitmq"]


class TestEncryption:
    """The AMQPS listener and its certificate."""

    def test_a_client_that_trusts_the_stack_s_authority_connects(self, broker: StackDescription) -> None:
        context = ssl.create_default_context(cafile=str(broker.broker.ca_file))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        connection = connect(broker, "worker", context)
        assert connection.is_open
        connection.close()

    def test_a_client_that_does_not_trust_it_refuses(self, broker: StackDescription) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(broker, "worker", ssl.create_default_context())


class TestRights:
    """The broker agrees with the patterns; which names they match is shown in tests/unit."""

    def test_a_wrong_password_is_refused(self, broker: StackDescription) -> None:
        parameters = pika.ConnectionParameters(
            broker.broker.host,
            broker.broker.amqp_port,
            broker.broker.vhost,
            pika.PlainCredentials("worker", "guess"),
        )
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            BlockingConnection(parameters)

    def test_a_producer_fills_its_own_lane_and_no_other(self, channels: Channels) -> None:
        channels.publish("demo", "import.requests", "demo.normal")
        with refused():
            channels.publish("demo", "import.requests", "hcs.normal")
        with refused():
            channels.publish("demo", "import.events", "demo.imported")
        channels.publish("demo", "import.events", "demo.accepted")

    def test_nobody_publishes_straight_into_a_queue(self, channels: Channels) -> None:
        for user in ("demo", "worker", "operator", "topology"):
            with refused():
                channels.publish(user, "", "import.lane.demo.normal")

    def test_nobody_speaks_for_somebody_else(self, channels: Channels) -> None:
        properties = pika.BasicProperties(user_id="hcs")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="PRECONDITION_FAILED"):
            channels.of("demo").basic_publish("import.requests", "demo.normal", b"{}", properties)

    def test_a_worker_makes_slots_locks_and_its_doorbell_and_nothing_else(self, channels: Channels) -> None:
        channels.of("topology").exchange_declare("import.wake", "fanout", durable=True)
        worker = channels.of("worker")
        worker.queue_declare("import.slot.omero.import.0", exclusive=True)
        worker.queue_declare("import.lock.4711", exclusive=True)
        worker.queue_declare("import.wake.host-1", exclusive=True)
        worker.queue_bind("import.wake.host-1", "import.wake")
        channels.publish("demo", "import.wake", "")
        method, _, _ = next(worker.consume("import.wake.host-1", auto_ack=True, inactivity_timeout=10))
        assert method is not None, "the producer rang and the worker heard it"
        worker.cancel()
        with refused():
            channels.of("worker").queue_declare("import.lane.demo.normal", durable=True)

    def test_a_worker_reads_its_lanes_but_not_the_dead(self, channels: Channels) -> None:
        topology = channels.of("topology")
        quorum = {"x-queue-type": "quorum"}
        for queue in ("import.lane.demo.normal", "import.dead"):
            topology.queue_declare(queue, durable=True, arguments=quorum)
        topology.queue_bind("import.lane.demo.normal", "import.requests", "demo.normal")
        channels.publish("demo", "import.requests", "demo.normal")
        worker = channels.of("worker")
        method, properties, _ = worker.basic_get("import.lane.demo.normal")
        assert method is not None
        assert properties.user_id == "demo"
        worker.basic_ack(method.delivery_tag)
        with refused():
            channels.of("worker").basic_get("import.dead")
        assert channels.of("operator").basic_get("import.dead") == (None, None, None)

    def test_a_producer_follows_only_its_own_lane(self, channels: Channels) -> None:
        demo = channels.of("demo")
        demo.queue_declare("import.follow.demo.1", exclusive=True)
        demo.queue_bind("import.follow.demo.1", "import.events", "demo.#")
        for foreign in ("hcs.#", "#"):
            with refused():
                channels.of("demo").queue_bind("import.follow.demo.1", "import.events", foreign)

    def test_the_topology_user_declares_streams_and_nothing_outside_the_prefix(self, channels: Channels) -> None:
        arguments = {"x-queue-type": "stream", "x-stream-max-segment-size-bytes": 20_000_000}
        channels.of(TOPOLOGY.name).queue_declare("import.event-log", durable=True, arguments=arguments)
        with refused():
            channels.of(TOPOLOGY.name).queue_declare("elsewhere", durable=True)


class TestDownAndUp:
    """Every way of going down, and back."""

    def test_up_again_leaves_a_running_node_running(self, broker: StackDescription, layout: Layout) -> None:
        before = (layout.rabbitmq / "node.json").read_text()
        secrets = {path: path.read_text() for path in broker.broker.users.values()}
        assert stack.up(NAME, ["rabbitmq"]) == broker
        assert (layout.rabbitmq / "node.json").read_text() == before
        assert {path: path.read_text() for path in secrets} == secrets

    def test_messages_survive_a_stop(self, broker: StackDescription, layout: Layout, rabbit: RabbitPart) -> None:
        """Given a confirmed message, when the node is stopped and started, then it is there and nothing else ran."""
        with Channels(broker) as channels:
            topology = channels.of("topology")
            topology.queue_declare("import.lane.demo.bulk", durable=True, arguments={"x-queue-type": "quorum"})
            topology.queue_bind("import.lane.demo.bulk", "import.requests", "demo.bulk")
            channels.publish("demo", "import.requests", "demo.bulk")
        node = json.loads((layout.rabbitmq / "node.json").read_text())
        assert stack.down(NAME) == ("rabbitmq",)
        assert not is_running(node["broker"])
        assert not is_running(node["epmd"])
        assert not any(map(accepts, range(layout.base_port, layout.ports.prometheus)))
        assert not stack.status(NAME).ready
        stack.up(NAME, ["rabbitmq"])
        assert stack.status(NAME).ready
        with Channels(broker) as channels:
            method, _, body = channels.of("worker").basic_get("import.lane.demo.bulk", auto_ack=True)
        assert (method is not None, body) == (True, b"{}")
        assert rabbit.version == VERSION

    @pytest.mark.usefixtures("broker")
    def test_a_killed_node_comes_back_with_its_users(self, rabbit: RabbitPart, up: StackDescription) -> None:
        rabbit.kill()
        assert not rabbit.status().running
        rabbit.start()
        assert rabbit.status().ready
        connect(up, "worker").close()

    @pytest.mark.usefixtures("broker")
    def test_a_node_that_crashed_on_its_own_is_seen_and_replaced(self, layout: Layout, rabbit: RabbitPart) -> None:
        """Given a node that died without us, leaving its epmd behind, when started, then a new one takes its place."""
        node = json.loads((layout.rabbitmq / "node.json").read_text())
        os.kill(int(node["broker"].partition("/")[0]), signal.SIGKILL)
        wait_until(lambda: not is_running(node["broker"]), 20, "the end of the broker")
        status = rabbit.status()
        assert (status.running, status.ready) == (False, False)
        assert is_running(node["epmd"])
        rabbit.start()
        assert rabbit.status().ready
        assert not is_running(node["epmd"])

    def test_a_taken_port_is_named(self, broker: StackDescription, rabbit: RabbitPart) -> None:
        rabbit.stop()
        with (
            socket.create_server((broker.broker.host, broker.broker.amqp_port)),
            pytest.raises(StackError, match=rf"ports {broker.broker.amqp_port} .* used by another program"),
        ):
            rabbit.start()
        assert not rabbit.status().running

    @pytest.mark.usefixtures("broker")
    def test_another_version_is_refused_while_there_are_data(self) -> None:
        other = "4.0" if VERSION == "3.10" else "3.10"
        with pytest.raises(StackError, match="wipe it first"):
            stack.up(NAME, ["rabbitmq"], Options(other))
        assert stack.status(NAME).ready

    def test_a_wipe_leaves_nothing(self, broker: StackDescription, layout: Layout) -> None:
        node = json.loads((layout.rabbitmq / "node.json").read_text())
        assert broker.state.exists()
        assert stack.wipe(NAME)
        assert not broker.state.exists()
        assert not is_running(node["broker"])
        assert not is_running(node["epmd"])
        assert not stack.wipe(NAME)
        assert not stack.status(NAME).ready

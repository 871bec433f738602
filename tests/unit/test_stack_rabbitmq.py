"""What a stack's RabbitMQ is made of, as far as it is text and data."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fleet_stack.certificates import Certificates
from fleet_stack.console import StackError
from fleet_stack.layout import Layout, write_whole
from fleet_stack.rabbitmq.config import (
    PLUGINS,
    Account,
    client_environment,
    enabled_plugins,
    rabbitmq_conf,
    server_environment,
)
from fleet_stack.rabbitmq.fetch import LIBRARIES, broker_version
from fleet_stack.rabbitmq.management import Management
from fleet_stack.rabbitmq.packages import codename, mirror
from fleet_stack.rabbitmq.part import RabbitPart
from fleet_stack.rabbitmq.permissions import LANES, BrokerUser, producer, users
from fleet_stack.rabbitmq.releases import RELEASES, release
from fleet_stack.rabbitmq.relocation import Move, is_program, point_scripts

SEVEN_DAYS_MILLISECONDS = 604800000


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("FLEET_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("FLEET_CACHE", str(tmp_path / "cache"))
    return Layout.for_name("demo")


@pytest.fixture
def conf(layout: Layout) -> dict[str, str]:
    text = rabbitmq_conf(layout.ports, Certificates.of(layout), Account("admin", "hush"))
    pairs = (line.split(" = ") for line in text.splitlines() if not line.startswith("#"))
    return dict(pairs)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A fetched broker, as far as its folders go."""
    (tmp_path / "root/usr/lib/rabbitmq/lib/rabbitmq_server-4.0.5").mkdir(parents=True)
    return tmp_path / "root"


class TestConfiguration:
    """rabbitmq.conf, plugins and environment."""

    def test_every_listener_is_on_loopback(self, conf: dict[str, str], layout: Layout) -> None:
        listeners = {key: value for key, value in conf.items() if "listeners" in key}
        assert listeners == {
            "listeners.tcp.1": f"127.0.0.1:{layout.ports.amqp}",
            "listeners.ssl.1": f"127.0.0.1:{layout.ports.amqps}",
            "stream.listeners.tcp.1": f"127.0.0.1:{layout.ports.stream}",
        }
        assert conf["management.tcp.ip"] == conf["prometheus.tcp.ip"] == "127.0.0.1"

    def test_a_delivery_may_be_held_for_seven_days(self, conf: dict[str, str]) -> None:
        assert int(conf["consumer_timeout"]) == SEVEN_DAYS_MILLISECONDS

    def test_the_certificate_is_the_stack_s(self, conf: dict[str, str], layout: Layout) -> None:
        assert conf["ssl_options.certfile"] == str(layout.state / "certs/server.pem")
        assert conf["ssl_options.keyfile"] == str(layout.state / "certs/server.key")
        assert conf["ssl_options.cacertfile"] == str(layout.state / "certs/ca.pem")

    def test_the_first_user_is_not_guest(self, conf: dict[str, str]) -> None:
        assert (conf["default_user"], conf["default_pass"], conf["default_vhost"]) == ("admin", "hush", "fleet")

    def test_the_plugins_are_an_erlang_term(self) -> None:
        assert enabled_plugins() == "[rabbitmq_management,rabbitmq_prometheus,rabbitmq_stream].\n"
        assert len(PLUGINS) == 3

    def test_all_paths_of_the_node_are_its_own(self, layout: Layout, root: Path) -> None:
        env = server_environment(layout, root, os.environ)
        paths = {name: value for name, value in env.items() if value.startswith("/") and name != "PATH"}
        foreign = {name for name, value in paths.items() if not value.startswith(str(layout.rabbitmq))}
        assert foreign == {"RABBITMQ_HOME", "RABBITMQ_PLUGINS_DIR"}
        assert all(paths[name].startswith(str(root)) for name in foreign)

    def test_a_setting_of_the_caller_does_not_reach_the_node(self, layout: Layout, root: Path) -> None:
        caller = {"RABBITMQ_NODENAME": "production", "ERL_LIBS": "/x", "LANG": "de_DE.UTF-8"}
        env = server_environment(layout, root, caller)
        assert env["RABBITMQ_NODENAME"] == "fleet-demo@localhost"
        assert "ERL_LIBS" not in env
        assert env["LANG"] == "de_DE.UTF-8"

    def test_tools_do_not_get_what_would_make_them_a_server(self, layout: Layout, root: Path) -> None:
        server, client = server_environment(layout, root, {}), client_environment(layout, root, {})
        assert set(server) - set(client) == {
            "RABBITMQ_NODE_IP_ADDRESS",
            "RABBITMQ_NODE_PORT",
            "RABBITMQ_DIST_PORT",
            "RABBITMQ_ALLOW_INPUT",
            "RABBITMQ_SERVER_START_ARGS",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
        }

    def test_two_stacks_have_different_nodes(self, layout: Layout, root: Path) -> None:
        other = Layout.for_name("other")
        first, second = server_environment(layout, root, {}), server_environment(other, root, {})
        for name in ("RABBITMQ_NODENAME", "RABBITMQ_NODE_PORT", "RABBITMQ_DIST_PORT", "ERL_EPMD_PORT", "HOME"):
            assert first[name] != second[name]


USERS = {user.name: user for user in users()}

# user, right, object, allowed: RabbitMQ searches for the pattern, it does not match from the start.
RIGHTS = [
    ("demo", "write", "import.requests", True),
    ("demo", "write", "import.events", True),
    ("demo", "write", "import.wake", True),
    ("demo", "write", "import.dead", False),
    ("demo", "write", "import.due", False),
    ("demo", "write", "import.retry.10", False),
    ("demo", "write", "import.control", False),
    ("demo", "write", "amq.default", False),
    ("demo", "write", "import.lane.demo.normal", False),
    ("demo", "read", "import.lane.demo.normal", False),
    ("demo", "read", "import.events", True),
    ("demo", "read", "import.event-log", False),
    ("demo", "configure", "import.lock.x", False),
    ("demo", "configure", "import.follow.demo.1", True),
    ("demo", "read", "import.follow.demo.1", True),
    ("demo", "write", "import.follow.demo.1", True),
    ("demo", "configure", "import.follow.hcs.1", False),
    ("demo", "read", "import.follow.hcs.1", False),
    ("worker", "configure", "import.slot.omero.import.0", True),
    ("worker", "configure", "import.lock.8d1c", True),
    ("worker", "configure", "import.wake.host-1", True),
    ("worker", "configure", "import.wake", False),
    ("worker", "configure", "import.lane.demo.normal", False),
    ("worker", "read", "import.lane.demo.normal", True),
    ("worker", "read", "import.wake", True),
    ("worker", "read", "import.wake.host-1", True),
    ("worker", "read", "import.control-log", True),
    ("worker", "read", "import.dead", False),
    ("worker", "write", "import.wake.host-1", True),
    ("worker", "write", "import.retry.28800", True),
    ("worker", "write", "import.requests", True),
    ("worker", "write", "import.dead", True),
    ("worker", "write", "import.events", True),
    ("worker", "write", "import.due", False),
    ("worker", "write", "import.control", False),
    ("worker", "write", "amq.default", False),
    ("operator", "write", "import.control", True),
    ("operator", "write", "import.requests", True),
    ("operator", "read", "import.dead", True),
    ("operator", "read", "import.event-log", True),
    ("operator", "read", "import.lane.demo.normal", False),
    ("operator", "configure", "import.dead", False),
    ("operator", "write", "amq.default", False),
    ("monitor", "read", "import.event-log", True),
    ("monitor", "read", "import.lane.demo.normal", False),
    ("monitor", "read", "import.dead", False),
    ("monitor", "write", "import.events", False),
    ("exporter", "read", "import.event-log", True),
    ("exporter", "read", "import.dead", True),
    ("exporter", "read", "import.lane.demo.normal", False),
    ("exporter", "write", "import.events", True),
    ("exporter", "write", "import.dead", False),
    ("exporter", "configure", "import.dead", False),
    ("topology", "configure", "import.lane.demo.normal", True),
    ("topology", "configure", "production.lane", False),
    ("topology", "write", "amq.default", False),
]

# lane's user, exchange, right, routing key, allowed
TOPICS = [
    ("demo", "import.requests", "write", "demo.normal", True),
    ("demo", "import.requests", "write", "demo.urgent", True),
    ("demo", "import.requests", "write", "demo.bulk", True),
    ("demo", "import.requests", "write", "demo.other", False),
    ("demo", "import.requests", "write", "hcs.normal", False),
    ("demo", "import.requests", "write", "xdemo.normal", False),
    ("demo", "import.requests", "write", "demo.normal.more", False),
    ("demo", "import.requests", "read", "demo.normal", False),
    ("demo", "import.events", "write", "demo.accepted", True),
    ("demo", "import.events", "write", "demo.heartbeat", True),
    ("demo", "import.events", "write", "demo.imported", False),
    ("demo", "import.events", "write", "hcs.accepted", False),
    ("demo", "import.events", "read", "demo.#", True),
    ("demo", "import.events", "read", "hcs.#", False),
    ("demo", "import.events", "read", "#", False),
]


class TestPermissions:
    """Who may do what; that the broker agrees is shown in tests/broker."""

    @pytest.mark.parametrize(("user", "right", "name", "allowed"), RIGHTS)
    def test_rights_on_objects(self, user: str, right: str, name: str, allowed: bool) -> None:  # noqa: FBT001  a table
        assert bool(re.search(getattr(USERS[user], right), name)) is allowed

    @pytest.mark.parametrize(("user", "exchange", "right", "key", "allowed"), TOPICS)
    def test_rights_on_routing_keys(self, user: str, exchange: str, right: str, key: str, allowed: bool) -> None:  # noqa: FBT001  a table
        (topic,) = (topic for topic in USERS[user].topics if topic.exchange == exchange)
        pattern = getattr(topic, right).replace("{username}", user)
        assert bool(re.search(pattern, key)) is allowed

    @pytest.mark.parametrize("lane", LANES)
    def test_every_producer_has_a_topic_permission_on_both_topic_exchanges(self, lane: str) -> None:
        assert {topic.exchange for topic in USERS[lane].topics} == {"import.requests", "import.events"}

    def test_a_dot_in_a_lane_s_name_is_no_wildcard(self) -> None:
        assert not re.search(producer("a.b").configure, "import.follow.axb.1")
        assert re.search(producer("a.b").configure, "import.follow.a.b.1")

    def test_nobody_may_publish_straight_into_queues(self) -> None:
        """The default exchange is called amq.default in permissions."""
        assert not any(re.search(user.write, "amq.default") for user in users())

    def test_only_those_who_administer_have_tags(self) -> None:
        tagged = {user.name: user.tags for user in users() if user.tags}
        assert tagged == {"topology": ("administrator",), "monitor": ("monitoring",), "exporter": ("monitoring",)}

    def test_there_is_one_producer_for_each_lane(self) -> None:
        names = [user.name for user in users(("x", "y"))]
        assert names == ["topology", "worker", "operator", "monitor", "exporter", "x", "y"]
        assert all(isinstance(user, BrokerUser) for user in users())


class TestFetching:
    """What is downloaded, and how it is made to run where it lies."""

    def test_the_choices(self) -> None:
        assert list(RELEASES) == ["3.10", "4.0", "newest"]
        with pytest.raises(StackError, match=r"use one of 3\.10, 4\.0, newest"):
            release("3.13")

    @pytest.mark.parametrize(
        ("version", "found", "fits"),
        [
            ("3.10", "3.10.8", True),
            ("3.10", "3.11.0", False),
            ("4.0", "4.0.5", True),
            ("4.0", "4.10.0", False),
            ("newest", "4.3.6", True),
            ("newest", "5.0.0", False),
        ],
    )
    def test_what_debian_carries_must_be_what_was_chosen(self, version: str, found: str, fits: bool) -> None:  # noqa: FBT001  a table
        assert bool(release(version).expected.match(found)) is fits

    @pytest.mark.parametrize(
        "text",
        [
            "deb http://mirror.example/debian bookworm main\n",
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n",
            "URIs: http://mirror.example/debian/\n",
            (
                "# http://old.example/debian bookworm\nURIs: http://mirror.example/debian-security\n"
                "deb [signed-by=/k.gpg] http://mirror.example/debian/ sid main\n"
            ),
        ],
    )
    def test_the_machine_s_own_mirror_is_used(self, text: str) -> None:
        assert mirror(["", text]) == "http://mirror.example/debian"

    def test_no_mirror_is_an_error(self) -> None:
        with pytest.raises(StackError, match="names no Debian mirror"):
            mirror(["URIs: http://mirror.example/ubuntu\n", "#deb http://mirror.example/debian x main\n"])

    def test_the_machine_s_release(self) -> None:
        assert codename('PRETTY_NAME="Debian"\nVERSION_CODENAME=bookworm\nID=debian\n') == "bookworm"
        assert codename("ID=alpine\n") is None

    def test_only_libraries_are_taken_from_another_release(self) -> None:
        names = ["libc6", "libssl3t64", "libssl3", "libc-bin", "erlang-base", "libsystemd0", "systemd", "libtinfo6"]
        assert [name for name in names if LIBRARIES.fullmatch(name)] == [
            "libc6",
            "libssl3t64",
            "libssl3",
            "libsystemd0",
            "libtinfo6",
        ]

    def test_the_version_is_that_of_the_folder(self, root: Path, tmp_path: Path) -> None:
        assert broker_version(root) == "4.0.5"
        with pytest.raises(StackError, match="there is no broker below"):
            broker_version(tmp_path / "elsewhere")

    def test_erlang_s_scripts_learn_where_erlang_will_be(self, tmp_path: Path) -> None:
        """Given Erlang unpacked aside, when its scripts are edited, then they name the folder it is renamed to."""
        binaries = tmp_path / "aside/usr/lib/erlang/bin"
        binaries.mkdir(parents=True)
        (binaries / "erl").write_text('#!/bin/sh\n  ROOTDIR="/usr/lib/erlang"\nexec $ROOTDIR/x\n')
        (binaries / "start_erl").write_bytes(b"\x7fELF ROOTDIR=no")
        point_scripts(Move(now=tmp_path / "aside", later=tmp_path / "there"))
        assert f"  ROOTDIR={tmp_path}/there/usr/lib/erlang\n" in (binaries / "erl").read_text()
        assert (binaries / "start_erl").read_bytes() == b"\x7fELF ROOTDIR=no"

    def test_programs_are_told_from_scripts(self, tmp_path: Path) -> None:
        (tmp_path / "script").write_text("#!")
        (tmp_path / "program").write_bytes(b"\x7fELF\x02")
        assert is_program(tmp_path / "program")
        assert not is_program(tmp_path / "script")


class TestPart:
    """Which version a stack has."""

    def test_a_new_stack_has_the_default_version(self, layout: Layout) -> None:
        assert RabbitPart(layout).version == "4.0"

    def test_a_stack_keeps_its_version(self, layout: Layout) -> None:
        layout.rabbitmq.mkdir(parents=True)
        write_whole(layout.rabbitmq / "version", "3.10\n")
        assert RabbitPart(layout).version == "3.10"

    def test_another_version_on_old_data_is_refused(self, layout: Layout) -> None:
        layout.rabbitmq.mkdir(parents=True)
        write_whole(layout.rabbitmq / "version", "3.10\n")
        with pytest.raises(StackError, match=r"holds data of RabbitMQ 3\.10.*wipe it first"):
            RabbitPart(layout, "4.0")

    def test_a_part_that_was_never_started_is_not_ready(self, layout: Layout) -> None:
        status = RabbitPart(layout).status()
        assert (status.running, status.ready, status.detail) == (False, False, "not running")
        assert not layout.state.exists(), "asking writes nothing"

    def test_stopping_what_never_ran_is_no_error(self, layout: Layout) -> None:
        RabbitPart(layout).stop()
        assert not layout.state.exists()


def test_a_password_does_not_show_in_errors_and_logs() -> None:
    management = Management(port=1, user="admin", password="hush")
    assert "hush" not in repr(management)
    with pytest.raises(StackError, match="does not answer") as caught:
        management.get("/api/overview")
    assert "hush" not in str(caught.value)

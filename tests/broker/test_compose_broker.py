"""What docker-compose.yml gives a real RabbitMQ: its configuration file, users, permissions and the fleet's settings.

Images cannot run here, so the files that they would mount are given to a private node instead: the same
``rabbitmq.conf``, the definitions of ``tools/make_secrets.py`` and ``fleet.toml``, with other addresses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet_common.exits import Exit
from fleet_stack import certificates
from fleet_stack.layout import Layout, open_folder
from fleet_stack.rabbitmq.config import Account, rabbitmq_conf
from fleet_stack.rabbitmq.fetch import fetch
from fleet_stack.rabbitmq.node import Node
from fleet_stack.rabbitmq.releases import release

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "charts/omero-import-fleet/files/compose"
VERSION = os.environ.get("FLEET_TEST_RABBITMQ", "4.0")
RUN_SECONDS = 60

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Broker:
    """A running node and the folder with its passwords."""

    layout: Layout
    secrets: Path
    share: Path

    def fleet(self, account: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``omero-fleet`` with the settings of compose, as one of its accounts."""
        environment = {
            "PATH": os.environ["PATH"],
            "OMERO_FLEET_CONFIG": str(COMPOSE / "fleet.toml"),
            "OMERO_FLEET_BROKER__HOST": "127.0.0.1",
            "OMERO_FLEET_BROKER__PORT": str(self.layout.ports.amqp),
            "OMERO_FLEET_BROKER__MANAGEMENT_URL": f"http://127.0.0.1:{self.layout.ports.management}",
            "OMERO_FLEET_BROKER__USER": account,
            "OMERO_FLEET_BROKER__PASSWORD_FILE": str(self.secrets / f"broker-{account}"),
            "OMERO_FLEET_SHARES": json.dumps({"hcs": str(self.share)}),
        }
        command = [sys.executable, "-m", "fleet_common.cli", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )


def compose_conf(layout: Layout, definitions: Path) -> str:
    """The configuration of compose, and what lets a private node listen on its own ports."""
    ours = (COMPOSE / "rabbitmq.conf").read_text(encoding="utf-8")
    own = ours.replace("/run/secrets/broker-definitions", str(definitions)).replace("= 2GB", "= 50MB")
    settled = {line.partition("=")[0] for line in ours.splitlines()} | {
        "default_vhost ",
        "default_user ",
        "default_pass ",
    }
    private = rabbitmq_conf(layout.ports, certificates.ensure(layout), Account("nobody", "nothing"))
    return "\n".join([*(line for line in private.splitlines() if line.partition("=")[0] not in settled), own])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A node with the files of compose and one lane; its data are gone at the end."""
    folder = tmp_path_factory.mktemp("compose")
    secrets, share = folder / "secrets", folder / "share"
    share.mkdir()
    subprocess.run([sys.executable, ROOT / "tools/make_secrets.py", secrets, "--lane", "hcs"], check=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FLEET_STATE", str(folder / "stacks"))
        layout = Layout.for_name("t-compose")
        open_folder(layout.rabbitmq)
        node = Node(layout)
        try:
            node.start(
                VERSION,
                fetch(release(VERSION), layout.cache / "rabbitmq"),
                compose_conf(layout, secrets / "broker-definitions"),
            )
            yield Broker(layout, secrets, share)
        finally:
            node.stop()


def test_topology_is_declared_and_agrees_with_its_description(broker: Broker) -> None:
    """Given the users of compose, when topology applies, then verify finds nothing, permissions included."""
    applied = broker.fleet("topology", "topology", "apply")
    verified = broker.fleet("topology", "topology", "verify", "--json")

    assert applied.returncode == Exit.OK, applied.stderr
    assert json.loads(verified.stdout) == [], verified.stdout
    assert verified.returncode == Exit.OK


def test_a_lane_submits_and_the_operator_sees_it(broker: Broker) -> None:
    """Given the topology, when the lane's user submits an image, then the operator's status shows it as accepted."""
    assert broker.fleet("topology", "topology", "apply").returncode == Exit.OK
    image = broker.share / "cells.tif"
    subprocess.run([sys.executable, "-m", "fleet_stack.plates", "tiff", image, "--size", "32"], check=True)

    submitted = broker.fleet(
        "hcs", "submit", str(image), "--target", "Dataset:+name:X", "--user", "alice", "--group", "g", "--json"
    )
    status = broker.fleet("operator", "status", "--json")

    assert submitted.returncode == Exit.OK, submitted.stderr
    assert [(one["state"], one["source"]) for one in json.loads(status.stdout)] == [("accepted", "hcs/cells.tif")]


def test_a_lane_cannot_publish_to_another_lane(broker: Broker) -> None:
    """Given the lane's user, when it submits to another lane, then the broker refuses and nothing is published."""
    image = broker.share / "other.tif"
    subprocess.run([sys.executable, "-m", "fleet_stack.plates", "tiff", image, "--size", "32"], check=True)

    refused = broker.fleet(
        "hcs", "submit", str(image), "--lane", "other", "--target", "Dataset:+name:X", "--user", "a", "--group", "g"
    )

    assert refused.returncode == Exit.NOT_PUBLISHED, refused.stderr

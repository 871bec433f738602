"""RabbitMQ as a part of the stack.

Role: version, files, node and users in the right order. Neighbours: `stack` calls it, tests use it to take the broker
down and up. Threading: one thread at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_stack import certificates
from fleet_stack.console import StackError, step
from fleet_stack.layout import open_folder
from fleet_stack.parts import PartStatus
from fleet_stack.rabbitmq.config import ADMINISTRATOR, VHOST, Account, rabbitmq_conf
from fleet_stack.rabbitmq.fetch import broker_version, fetch
from fleet_stack.rabbitmq.management import Management, apply_users
from fleet_stack.rabbitmq.node import Node
from fleet_stack.rabbitmq.permissions import users
from fleet_stack.rabbitmq.releases import DEFAULT, release
from fleet_stack.secrets import secret

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_stack.layout import Layout


def secret_name(user: str) -> str:
    """The name of a broker user's secret: ``broker-<user>``."""
    return f"broker-{user}"


class RabbitPart:
    """The broker of one stack."""

    name = "rabbitmq"

    def __init__(self, layout: Layout, version: str | None = None) -> None:
        self._layout = layout
        self._node = Node(layout)
        self._version_file = layout.rabbitmq / "version"
        self._version = self._choose(version)

    @property
    def version(self) -> str:
        """Which RabbitMQ this stack has: 3.10, 4.0 or newest."""
        return self._version

    @property
    def management(self) -> Management:
        """The management API as the administrator."""
        return Management(self._layout.ports.management, ADMINISTRATOR, self.password(ADMINISTRATOR))

    def password(self, user: str) -> str:
        """The password of a broker user."""
        return secret(self._layout, secret_name(user))

    def install(self) -> None:
        """Fetch the broker into the cache."""
        self._root()

    def initialise(self) -> None:
        """Make certificate and passwords, and note the version: data of one version are not for another."""
        certificates.ensure(self._layout)
        for user in (ADMINISTRATOR, *(user.name for user in users())):
            self.password(user)
        open_folder(self._layout.rabbitmq)
        self._version_file.write_text(f"{self._version}\n")

    def start(self) -> None:
        """Start the node and see to its users."""
        if not self._node.is_up:
            root = self._root()
            with step(f"start RabbitMQ {broker_version(root)}"):
                self._node.start(self._version, root, self._conf())
        with step("users of RabbitMQ"):
            apply_users(self.management, VHOST, users(), self.password)

    def stop(self) -> None:
        """Stop the node; queues and messages stay."""
        if self._node.runs:
            with step("stop RabbitMQ"):
                self._node.stop()
        else:
            self._node.stop()  # ends what a crash left behind

    def kill(self) -> None:
        """Kill the node as a power cut would."""
        self._node.kill()

    def status(self) -> PartStatus:
        """Ready when every listener answers and the node says that it is healthy."""
        if not self._node.is_up:
            running = self._node.runs
            return PartStatus(self.name, running, ready=False, detail="starting" if running else "not running")
        try:
            overview = self.management.get("/api/overview")
        except StackError as error:
            return PartStatus(self.name, running=True, ready=False, detail=str(error))
        detail = f"RabbitMQ {overview['rabbitmq_version']} on port {self._layout.ports.amqp}"
        return PartStatus(self.name, running=True, ready=True, detail=detail)

    def ctl(self, *words: str) -> str:
        """Run rabbitmqctl on the node and return its output."""
        return self._node.ctl(self._root(), *words)

    def _root(self) -> Path:
        return fetch(release(self._version), self._layout.cache / "rabbitmq")

    def _conf(self) -> str:
        account = Account(ADMINISTRATOR, self.password(ADMINISTRATOR))
        return rabbitmq_conf(self._layout.ports, certificates.ensure(self._layout), account)

    def _choose(self, version: str | None) -> str:
        recorded = self._version_file.read_text().strip() if self._version_file.exists() else None
        if version is not None and recorded is not None and version != recorded:
            raise StackError(
                f"stack {self._layout.name} holds data of RabbitMQ {recorded}, which {version} cannot read: "
                f"wipe it first, or use another --name"
            )
        return release(version or recorded or DEFAULT).version

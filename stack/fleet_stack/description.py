"""Where everything of a stack is: for tests, the demo and people.

Role: one frozen value, also written to ``<state>/stack.json``. It holds paths of secrets, never secrets. Neighbours:
`stack` writes it, tests and the demo read it. Threading: plain data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fleet_stack.certificates import Certificates
from fleet_stack.layout import write_whole
from fleet_stack.omero.accounts import FACILITY
from fleet_stack.omero.accounts import secret_name as omero_secret
from fleet_stack.rabbitmq.config import ADMINISTRATOR, VHOST
from fleet_stack.rabbitmq.part import secret_name as broker_secret
from fleet_stack.rabbitmq.permissions import LANES, users
from fleet_stack.secrets import secret_file

if TYPE_CHECKING:
    from fleet_stack.layout import Layout

HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class BrokerDescription:
    """How to reach RabbitMQ.

    Attributes:
        users: broker user to the file with the password.
        lanes: lanes that have a producer; the producer's user has the lane's name.
        ca_file: the authority to trust on `amqps_port`.
    """

    host: str
    amqp_port: int
    amqps_port: int
    management_url: str
    metrics_url: str
    vhost: str
    users: Mapping[str, Path]
    lanes: tuple[str, ...]
    ca_file: Path


@dataclass(frozen=True, slots=True)
class OmeroDescription:
    """How to reach OMERO.

    Attributes:
        service_account: the restricted administrator whose only privilege is Sudo.
        users: OMERO user (the service account and root too) to the file with the password.
        ordinary_users: those of `users` who import and look at plates.
        ca_file: the authority to trust on `ssl_port`.
    """

    host: str
    ssl_port: int
    tcp_port: int
    service_account: str
    users: Mapping[str, Path]
    ordinary_users: tuple[str, ...]
    ca_file: Path
    web_url: str


@dataclass(frozen=True, slots=True)
class StackDescription:
    """One stack: its folders, its parts, and how to reach them."""

    name: str
    base_port: int
    state: Path
    cache: Path
    parts: tuple[str, ...]
    broker: BrokerDescription
    omero: OmeroDescription

    def as_json(self) -> str:
        """The description as JSON text with plain paths."""
        return json.dumps(asdict(self), indent=1, default=str)


def describe(layout: Layout) -> StackDescription:
    """The description of a stack, whether or not it runs."""
    parts = recorded_parts(layout)
    ca_file = Certificates.of(layout).authority
    broker, omero = _broker(layout, ca_file), _omero(layout, ca_file)
    return StackDescription(layout.name, layout.base_port, layout.state, layout.cache, parts, broker, omero)


def recorded_parts(layout: Layout) -> tuple[str, ...]:
    """The parts that were ever brought up in this stack."""
    return tuple(_record(layout).get("parts", ()))


def record(layout: Layout, parts: tuple[str, ...]) -> StackDescription:
    """Write the description, with these parts, to ``<state>/stack.json``."""
    write_whole(layout.record, json.dumps(_record(layout) | {"base_port": layout.base_port, "parts": parts}))
    description = describe(layout)
    write_whole(layout.record, description.as_json() + "\n")
    return description


def _record(layout: Layout) -> dict[str, Any]:
    return dict(json.loads(layout.record.read_text())) if layout.record.exists() else {}


def _broker(layout: Layout, ca_file: Path) -> BrokerDescription:
    ports = layout.ports
    names = (ADMINISTRATOR, *(user.name for user in users()))
    return BrokerDescription(
        host=HOST,
        amqp_port=ports.amqp,
        amqps_port=ports.amqps,
        management_url=f"http://{HOST}:{ports.management}",
        metrics_url=f"http://{HOST}:{ports.rabbitmq_metrics}/metrics",
        vhost=VHOST,
        users={name: secret_file(layout, broker_secret(name)) for name in names},
        lanes=LANES,
        ca_file=ca_file,
    )


def _omero(layout: Layout, ca_file: Path) -> OmeroDescription:
    ports = layout.ports
    ordinary = tuple(user.name for user in FACILITY.users)
    return OmeroDescription(
        host=HOST,
        ssl_port=ports.omero_ssl,
        tcp_port=ports.omero_tcp,
        service_account=FACILITY.importer,
        users={name: secret_file(layout, omero_secret(name)) for name in ("root", FACILITY.importer, *ordinary)},
        ordinary_users=ordinary,
        ca_file=ca_file,
        web_url=f"http://{HOST}:{ports.web}/",
    )

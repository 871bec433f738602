"""The texts that configure a node: rabbitmq.conf, the plugins, the environment of its scripts.

Role: pure functions from a layout to text. Neighbours: `node` writes and uses them. Threading: pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fleet_stack.rabbitmq.fetch import broker_folder

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_stack.certificates import Certificates
    from fleet_stack.layout import Layout, Ports

VHOST: Final = "fleet"
ADMINISTRATOR: Final = "admin"
PLUGINS: Final = ("rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_stream")
# 7 days: a delivery is held until its import is done. Version 3.10 knows no other place to set it
# (RabbitMQ documentation, "Consumers", delivery acknowledgement timeout).
CONSUMER_TIMEOUT_MILLISECONDS: Final = 7 * 24 * 3600 * 1000
KEPT: Final = ("LANG", "TZ", "USER", "LOGNAME")
SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ONLY_LOOPBACK: Final = "-kernel inet_dist_use_interface {127,0,0,1}"


@dataclass(frozen=True, slots=True)
class Account:
    """Who may administer the node; made by the broker itself on its first start."""

    name: str
    password: str


def rabbitmq_conf(ports: Ports, certificates: Certificates, account: Account) -> str:
    """The node's rabbitmq.conf; holds a password, so it is written with mode 0600."""
    return f"""# Written by fleet_stack at every start.
listeners.tcp.1 = 127.0.0.1:{ports.amqp}
listeners.ssl.1 = 127.0.0.1:{ports.amqps}
ssl_options.cacertfile = {certificates.authority}
ssl_options.certfile = {certificates.server}
ssl_options.keyfile = {certificates.key}
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
management.tcp.ip = 127.0.0.1
management.tcp.port = {ports.management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {ports.rabbitmq_metrics}
stream.listeners.tcp.1 = 127.0.0.1:{ports.stream}
default_vhost = {VHOST}
default_user = {account.name}
default_pass = {account.password}
consumer_timeout = {CONSUMER_TIMEOUT_MILLISECONDS}
log.console = false
log.file.level = info
vm_memory_high_watermark.absolute = 1GiB
disk_free_limit.absolute = 50MB
"""


def enabled_plugins() -> str:
    """The node's list of plugins, an Erlang term."""
    return f"[{','.join(PLUGINS)}].\n"


def node_name(layout: Layout) -> str:
    """The node's name in Erlang's distribution."""
    return f"fleet-{layout.name}@localhost"


def client_environment(layout: Layout, root: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """What rabbitmqctl and the other tools need to find the node."""
    broker = broker_folder(root)
    folder = layout.rabbitmq
    return {
        **{name: inherited[name] for name in KEPT if name in inherited},
        "LC_ALL": "C.UTF-8",
        "PATH": f"{broker}/sbin:{root}/usr/lib/erlang/bin:{SEARCH}",
        "HOME": str(folder),  # the Erlang cookie
        "ERL_EPMD_PORT": str(layout.ports.epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_HOME": str(broker),
        "RABBITMQ_NODENAME": node_name(layout),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_CTL_ERL_ARGS": ONLY_LOOPBACK,
        **_files(layout, broker),
    }


def server_environment(layout: Layout, root: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the broker's start script reads: every path below the node's folder, every port on loopback."""
    return {
        **client_environment(layout, root, inherited),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(layout.ports.amqp),
        "RABBITMQ_DIST_PORT": str(layout.ports.distribution),
        # The script becomes the Erlang VM instead of starting one, so that its process id is the broker's.
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_START_ARGS": "-noinput",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none {ONLY_LOOPBACK}",
    }


def _files(layout: Layout, broker: Path) -> dict[str, str]:
    folder = layout.rabbitmq
    return {
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(folder / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_PLUGINS_DIR": str(broker / "plugins"),
    }

"""How pika is told where to connect.

Role: the translation of an address into pika's parameters, with TLS verified unless the address says otherwise.
Neighbours: ``link``, ``declare``. Threading: pure, but for :func:`quiet`, which sets log levels.
"""

from __future__ import annotations

import logging
import ssl

import pika

from fleet_common.broker.address import BrokerAddress


def parameters(address: BrokerAddress, role: str) -> pika.ConnectionParameters:
    """Pika's parameters; the role is how the connection is named in the broker's management pages."""
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password.get_secret_value(), erase_on_connect=True),
        heartbeat=address.heartbeat_seconds,
        ssl_options=_tls(address) if address.tls else None,
        connection_attempts=1,
        socket_timeout=address.connect_timeout_seconds,
        stack_timeout=address.connect_timeout_seconds,
        client_properties={"connection_name": f"omero-import-fleet {role}"},
    )


def quiet() -> None:
    """Keep pika's own log lines out of ours: the link says what matters, once and without frames and stack traces."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def _tls(address: BrokerAddress) -> pika.SSLOptions:
    context = ssl.create_default_context(cafile=str(address.ca_file) if address.ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = address.verify_hostname and address.verify_certificate
    if not address.verify_certificate:
        context.verify_mode = ssl.CERT_NONE
    return pika.SSLOptions(context, address.host)

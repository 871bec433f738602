"""Where the broker is and who we are there.

Role: frozen settings of a connection; the password never appears in a repr. Neighbours: ``settings`` fills it,
``connection`` turns it into pika's parameters. Threading: plain data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class BrokerAddress(BaseModel):
    """One broker, one virtual host, one user.

    Attributes:
        host: Name or address; with TLS it must be a name in the broker's certificate.
        port: 5671 is AMQP with TLS, 5672 without.
        vhost: Virtual host.
        user: Also the ``user_id`` of everything published, which the broker checks.
        password: Never shown.
        tls: Without it, user and password cross the network readably.
        ca_file: PEM file of the authority that signed the broker's certificate; the system's authorities without it.
        verify_hostname: Off only for trials: the certificate may be for another host.
        verify_certificate: Off only for trials: anybody can pretend to be the broker.
        heartbeat_seconds: 10 frees the locks of a frozen host after about 25 s.
        connect_timeout_seconds: For TCP, TLS and AMQP together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 5671
    vhost: str = "/"
    user: Annotated[str, Field(min_length=1)]
    password: SecretStr
    tls: bool = True
    ca_file: Path | None = None
    verify_hostname: bool = True
    verify_certificate: bool = True
    heartbeat_seconds: Annotated[int, Field(ge=2, le=600)] = 10
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 15.0

    def __str__(self) -> str:
        scheme = "amqps" if self.tls else "amqp"
        return f"{scheme}://{self.host}:{self.port} (virtual host {self.vhost}, user {self.user})"

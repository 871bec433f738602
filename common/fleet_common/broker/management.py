"""The broker's management API, as far as ``verify`` needs it: reading.

Role: what AMQP cannot tell: arguments, effective policies, bindings, permissions. Neighbours: ``verify`` asks,
``findings`` judges the answers. Threading: stateless; every call is one request with a deadline.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from fleet_common.broker.failures import BrokerRefused, BrokerUnavailable

_TIMEOUT_SECONDS: Final = 15.0
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Management:
    """The management API of one broker, seen by one user.

    Attributes:
        url: Such as ``https://rabbit.example.org:15671``.
        user: Needs the tag ``administrator`` to see permissions, ``monitoring`` to see queues and policies.
        password: Never shown.
        ca_file: PEM file of the authority that signed the certificate; the system's without it.
    """

    url: str
    user: str
    password: SecretStr = field(repr=False)
    ca_file: Path | None = None

    def get(self, *path: str) -> Any:
        """Read one resource, such as ``("queues", vhost, name)``; None when there is none.

        Raises:
            BrokerUnavailable: No answer.
            BrokerRefused: Wrong user or password, or not enough rights.
        """
        where = "/api/" + "/".join(quote(part, safe="") for part in path)
        connection = self._connection()
        try:
            connection.request("GET", where, headers={"Authorization": f"Basic {self._token()}"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise BrokerUnavailable(f"the management API at {self.url} does not answer: {error}") from error
        finally:
            connection.close()
        return self._judged(where, answer.status, content)

    def _judged(self, where: str, status: int, content: bytes) -> Any:
        if status == _NOT_FOUND:
            return None
        if status != http.client.OK:
            raise BrokerRefused(
                f"the management API at {self.url} answered {status} to {where} for user {self.user}; reading "
                "permissions needs the tag administrator",
                status,
            )
        return json.loads(content)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
            return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=context)
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)

    def _token(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password.get_secret_value()}".encode()).decode()

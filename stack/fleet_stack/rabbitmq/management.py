"""RabbitMQ's management API, as far as a stack needs it.

Role: makes virtual host, users and permissions what `permissions` says; saying it again changes nothing. Neighbours:
`part`. Threading: stateless; every call is one request with a deadline.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fleet_stack.console import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fleet_stack.rabbitmq.permissions import BrokerUser

TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Management:
    """The management API of one node."""

    port: int
    user: str
    password: str = field(repr=False)

    def get(self, path: str) -> Any:
        """Read one resource, such as ``/api/overview``.

        Raises:
            StackError: the node does not answer, or refuses; the text has the status and the broker's reason.
        """
        return json.loads(self._send("GET", path, None))

    def put(self, path: str, body: dict[str, Any]) -> None:
        """Create or replace one resource.

        Raises:
            StackError: the node does not answer, or refuses.
        """
        self._send("PUT", path, body)

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        try:
            # No proxy of the environment may come between us and our own machine.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                content: bytes = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read()[:500].decode(errors="replace")
            raise StackError(f"RabbitMQ answered {error.code} to {method} {path} of {self.user}: {reason}") from error
        except OSError as error:
            raise StackError(f"RabbitMQ's management API on port {self.port} does not answer: {error}") from error
        return content


def apply_users(
    management: Management, vhost: str, users: Iterable[BrokerUser], password_of: Callable[[str], str]
) -> None:
    """Make the virtual host and its users what they should be.

    Raises:
        StackError: the node does not answer, or refuses.
    """
    wanted = tuple(users)
    place = quote(vhost, safe="")
    management.put(f"/api/vhosts/{place}", {})
    for exchange in sorted({topic.exchange for user in wanted for topic in user.topics}):
        # RabbitMQ 4.3 refuses a topic permission on an exchange that is not there (400, no_such_exchange), and without
        # one a producer could publish every key. Declared as `omero-fleet topology apply` declares them.
        management.put(f"/api/exchanges/{place}/{quote(exchange, safe='')}", {"type": "topic", "durable": True})
    for user in wanted:
        _apply(management, place, user, password_of(user.name))


def _apply(management: Management, place: str, user: BrokerUser, password: str) -> None:
    name = quote(user.name, safe="")
    management.put(f"/api/users/{name}", {"password": password, "tags": ",".join(user.tags)})
    permission = {"configure": user.configure, "write": user.write, "read": user.read}
    management.put(f"/api/permissions/{place}/{name}", permission)
    for topic in user.topics:
        management.put(f"/api/topic-permissions/{place}/{name}", asdict(topic))

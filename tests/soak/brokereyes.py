"""Looks into RabbitMQ with pika and the management API, with none of the fleet's code; also closes connections.

Threading: every call has a connection of its own; any thread.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pika

from fleet_stack.description import BrokerDescription
from soak.facts import DeadLetter, Queue

_DEAD: Final = "import.dead"
_DEADLINE_SECONDS: Final = 10.0
_STATISTICS_SECONDS: Final = 6.0
"""The management API counts messages every 5 s."""


@dataclass(frozen=True, slots=True)
class BrokerEyes:
    """The broker of one stack."""

    broker: BrokerDescription

    @contextmanager
    def channel(self, account: str) -> Iterator[Any]:
        """A channel with confirms, for a broker account."""
        credentials = pika.PlainCredentials(account, self._password(account))
        parameters = pika.ConnectionParameters(
            self.broker.host, self.broker.amqp_port, self.broker.vhost, credentials, socket_timeout=_DEADLINE_SECONDS
        )
        parameters.blocked_connection_timeout = 3 * _DEADLINE_SECONDS
        connection = pika.BlockingConnection(parameters)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            if connection.is_open:
                connection.close()

    def publish(self, lane: str, priority: str, body: bytes, message_id: str) -> None:
        """Publish a request as the lane's producer; raises unless the broker confirms it."""
        properties = pika.BasicProperties(delivery_mode=2, message_id=message_id, user_id=lane)
        with self.channel(lane) as channel:
            channel.basic_publish("import.requests", f"{lane}.{priority}", body, properties, mandatory=True)

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """All dead letters; they stay in their queue."""
        found: list[DeadLetter] = []
        with self.channel("operator") as channel:
            while True:
                method, properties, _ = channel.basic_get(_DEAD)
                if method is None:
                    return tuple(found)
                headers: Mapping[str, Any] = properties.headers or {}
                reason, error = str(headers.get("reason", "")), str(headers.get("error-class", ""))
                found.append(DeadLetter(properties.message_id or "", reason, error, str(headers.get("message", ""))))

    def queues(self) -> tuple[Queue, ...]:
        """All queues, with fresh numbers."""
        time.sleep(_STATISTICS_SECONDS)
        rows = self._ask("GET", f"/api/queues/{self._vhost}")
        return tuple(Queue(row["name"], row.get("type", "classic"), int(row.get("messages", 0))) for row in rows)

    def version(self) -> str:
        """Of the broker."""
        return str(self._ask("GET", "/api/overview")["rabbitmq_version"])

    def connections(self, user: str) -> list[str]:
        """The names of a user's connections, in order."""
        rows = self._ask("GET", f"/api/vhosts/{self._vhost}/connections")
        return sorted(row["name"] for row in rows if row.get("user") == user)

    def close_connection(self, name: str) -> None:
        """Have the broker close a connection; one that is gone already is no error."""
        try:
            self._ask("DELETE", f"/api/connections/{urllib.parse.quote(name, safe='')}")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise

    @property
    def _vhost(self) -> str:
        return urllib.parse.quote(self.broker.vhost, safe="")

    def _password(self, account: str) -> str:
        return self.broker.users[account].read_text(encoding="utf-8").strip()

    def _ask(self, method: str, path: str) -> Any:
        token = base64.b64encode(f"admin:{self._password('admin')}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "X-Reason": "the soak closes it"}
        request = urllib.request.Request(  # noqa: S310  the address is our own stack's
            f"{self.broker.management_url}{path}", method=method, headers=headers
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_DEADLINE_SECONDS) as answer:
            content = answer.read()
        return json.loads(content) if content else None

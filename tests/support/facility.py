"""What the end-to-end tests do over and over: submit, publish by hand, and look into broker and OMERO.

Looking is done with pika's and omero-py's own clients, never with the fleet's code.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import omero
import omero.sys
import pika

from fleet_stack.fleet import Fleet
from fleet_stack.layout import Layout
from support import waiting

T = TypeVar("T")
DEAD_QUEUE = "import.dead"


@dataclass(frozen=True, slots=True)
class Submitted:
    """What ``omero-fleet submit --json`` ended with and printed."""

    exit_code: int
    requests: list[dict[str, Any]]
    errors: str

    @property
    def states(self) -> list[str]:
        """The state of every request."""
        return [str(request["state"]) for request in self.requests]

    @property
    def only(self) -> dict[str, Any]:
        """The status of the one request of this call."""
        (request,) = self.requests
        status: dict[str, Any] = request["status"]
        return status


@dataclass(frozen=True, slots=True)
class Facility:
    """A stack with a fleet's settings and shares."""

    layout: Layout
    fleet: Fleet
    root: Any
    """omero-py's gateway for OMERO's root, who sees all groups; one login for all tests."""

    def share(self, name: str) -> Path:
        """The folder of a share."""
        return self.fleet.shares[name]

    def submit(
        self,
        *paths: Path,
        target: str,
        user: str = "alice",
        group: str = "screening",
        account: str = "demo",
        options: tuple[str, ...] = (),
        timeout_seconds: float = 420.0,
        wait: bool = True,
    ) -> Submitted:
        """Submit as an acquisition host would, and by default wait for the outcome."""
        waiting = ("--wait", "--timeout", str(timeout_seconds)) if wait else ()
        done = self.fleet.run(
            account, "submit", *map(str, paths), "--target", target, "--user", user, "--group", group,
            "--json", *waiting, *options, timeout_seconds=timeout_seconds + 60,
        )  # fmt: skip
        requests = json.loads(done.stdout)["requests"] if done.stdout else []
        return Submitted(done.returncode, requests, done.stderr)

    def status(self, *arguments: str) -> list[dict[str, Any]]:
        """What an operator sees."""
        done = self.fleet.run("operator", "status", "--json", *arguments)
        statuses: list[dict[str, Any]] = json.loads(done.stdout)
        return statuses

    @contextmanager
    def channel(self, account: str) -> Iterator[Any]:
        """A channel of pika's own, for a broker account."""
        broker = self.fleet.stack.broker
        password = broker.users[account].read_text(encoding="utf-8").strip()
        parameters = pika.ConnectionParameters(
            broker.host, broker.amqp_port, broker.vhost, pika.PlainCredentials(account, password)
        )
        connection = pika.BlockingConnection(parameters)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            # What was read ahead is given back here, for which RabbitMQ 3.10 ends the connection if it is of a stream.
            with suppress(pika.exceptions.ConnectionClosedByBroker):
                connection.close()

    def publish(self, lane: str, body: bytes, *, request_id: uuid.UUID | None = None, user_id: bool = True) -> None:
        """Publish any body into a lane, as a producer with a program of its own might."""
        properties = pika.BasicProperties(
            delivery_mode=2, message_id=str(request_id or uuid.uuid4()), user_id=lane if user_id else None
        )
        with self.channel(lane) as channel:
            channel.basic_publish("import.requests", f"{lane}.normal", body, properties, mandatory=True)

    def dead_letters(self) -> list[tuple[Mapping[str, Any], bytes, str]]:
        """Headers, body and message id of every dead letter; all stay in the queue."""
        found: list[tuple[Mapping[str, Any], bytes, str]] = []
        with self.channel("operator") as channel:
            while True:
                method, properties, body = channel.basic_get(DEAD_QUEUE)
                if method is None:
                    return found
                found.append((properties.headers, body, properties.message_id))

    def dead_letter(self, request_id: str, deadline_seconds: float = 60.0) -> Mapping[str, Any]:
        """The headers of the dead letter with this message id; waits for it."""

        def look() -> Mapping[str, Any] | None:
            return next((headers for headers, _, message_id in self.dead_letters() if message_id == request_id), None)

        return until(look, deadline_seconds, f"a dead letter for {request_id}")

    def query(self, hql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of an HQL query over all groups."""
        found = self.root.getQueryService().projection(hql, _parameters(parameters), {"omero.group": "-1"})
        return [tuple(None if value is None else value.val for value in row) for row in found]

    def filesets_of(self, request_id: str) -> list[int]:
        """Ids of all filesets that carry this request id, whoever owns them."""
        rows = self.query(
            "select link.parent.id from FilesetAnnotationLink link join link.child.mapValue pair"
            " where link.child.ns = :ns and pair.name = 'request_id' and pair.value = :value order by link.parent.id",
            ns="omero-import-fleet/request",
            value=request_id,
        )
        return sorted({row[0] for row in rows})


def until(look: Callable[[], T | None], deadline_seconds: float, what: str) -> T:
    """Look at a server four times a second until there is something; fails when there is nothing by the deadline."""
    return waiting.until(look, deadline_seconds, what, pause_seconds=0.25)


def _parameters(values: Mapping[str, Any]) -> Any:
    parameters = omero.sys.ParametersI()
    for name, value in values.items():
        if isinstance(value, int):
            parameters.addLong(name, value)
        else:
            parameters.addString(name, value)
    return parameters

"""What is wrong with a broker, judged from what its management API says.

Role: pure comparison of answers with the description. Neighbours: ``verify`` fetches the answers. Threading: pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from fleet_common.broker.names import Names
from fleet_common.broker.topology import Binding, Queue
from fleet_common.messages import Priority

Answer = Mapping[str, Any]

# What a policy may not change on our queues: it takes the smaller limit, or sends messages elsewhere.
_FORBIDDEN: Final = frozenset(
    {
        "consumer-timeout",
        "dead-letter-exchange",
        "dead-letter-routing-key",
        "dead-letter-strategy",
        "delivery-limit",
        "expires",
        "message-ttl",
        "overflow",
    }
)
# Streams are tuned by policies: only these would break them.
_FORBIDDEN_ON_STREAMS: Final = frozenset({"expires"})
_STRANGER: Final = "somebody-else"


class Difference(BaseModel):
    """One thing that is not as described."""

    model_config = ConfigDict(frozen=True)

    subject: str
    """What: ``queue import.dead``, ``user cv8000``."""
    problem: str
    """What is wrong with it, and what that would do."""
    advice: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}. {self.advice}"


def queue_findings(queue: Queue, answer: Answer) -> Iterator[Difference]:
    """Arguments that differ, and policies that take ours away."""
    subject = f"queue {queue.name}"
    found = {name: value for name, value in dict(answer.get("arguments") or {}).items() if name.startswith("x-")}
    for name in sorted({*queue.arguments, *found}):
        if queue.arguments.get(name) != found.get(name):
            yield Difference(
                subject=subject,
                problem=f"{name} is {found.get(name)!r} instead of {queue.arguments.get(name)!r}",
                advice="Delete the queue when it is empty, and run `omero-fleet topology apply`.",
            )
    forbidden = _FORBIDDEN_ON_STREAMS if queue.is_stream else _FORBIDDEN
    for name in sorted(forbidden & set(answer.get("effective_policy_definition") or ())):
        yield Difference(
            subject=subject,
            problem=f"the policy {answer.get('policy') or answer.get('operator_policy')} changes {name}",
            advice="Let the policy's pattern leave out the fleet's queues, or remove that key.",
        )


def binding_findings(wanted: Iterable[Binding], answers: Iterable[Answer], names: Names) -> Iterator[Difference]:
    """Bindings that are missing, and those to our queues that are not ours."""
    ours = set(wanted)
    queues = {binding.queue for binding in ours}
    found = {
        Binding(answer["source"], answer["destination"], answer["routing_key"])
        for answer in answers
        if answer["source"] and answer["destination_type"] == "queue"
    }
    for binding in sorted(ours - found, key=str):
        yield Difference(
            subject=f"binding {binding.exchange} to {binding.queue}",
            problem=f"there is none with the key {binding.key!r}",
            advice="Run `omero-fleet topology apply`.",
        )
    for binding in sorted(found - ours, key=str):
        if binding.queue in queues and binding.queue.startswith(names.prefix):
            yield Difference(
                subject=f"binding {binding.exchange} to {binding.queue}",
                problem=f"the key {binding.key!r} is not the fleet's, so messages take a way that nobody expects",
                advice="Unbind it.",
            )


def exchange_policy_findings(policies: Iterable[Answer], names: Names) -> Iterator[Difference]:
    """Policies that would swallow requests for lanes that do not exist."""
    for policy in policies:
        on_exchanges = policy.get("apply-to") in {"all", "exchanges"}
        if (
            on_exchanges
            and "alternate-exchange" in policy["definition"]
            and re.search(policy["pattern"], names.requests)
        ):
            yield Difference(
                subject=f"policy {policy['name']}",
                problem=f"gives {names.requests} an alternate exchange, so producers never hear of a wrong lane",
                advice="Let its pattern leave out the fleet's exchanges.",
            )


def permission_findings(
    permissions: Iterable[Answer], topic_permissions: Iterable[Answer], administrators: Iterable[str], names: Names
) -> Iterator[Difference]:
    """Producers who could fill the lanes of others, or tell their events.

    A producer is whoever may write requests but no dead letters. RabbitMQ lets a user without a topic permission
    publish every key.
    """
    trusted = set(administrators)
    topics = {(answer["user"], answer["exchange"]): str(answer["write"]) for answer in topic_permissions}
    for permission in permissions:
        user, write = permission["user"], permission["write"]
        if user in trusted or not re.search(write, names.requests) or re.search(write, names.dead):
            continue
        foreign = f"{_STRANGER}.{Priority.NORMAL}"
        yield from _topic_findings(user, names.requests, topics.get((user, names.requests)), foreign)
        if re.search(write, names.events):
            yield from _topic_findings(user, names.events, topics.get((user, names.events)), f"{_STRANGER}.imported")


def _topic_findings(user: str, exchange: str, pattern: str | None, foreign_key: str) -> Iterator[Difference]:
    if pattern is None:
        problem = f"has no topic permission on {exchange}, so it may publish every key"
    elif re.search(pattern.replace("{username}", re.escape(user)), foreign_key):
        problem = f"its topic permission {pattern!r} on {exchange} allows keys of other lanes, such as {foreign_key}"
    else:
        return
    yield Difference(
        subject=f"user {user}", problem=problem, advice="Give it the topic permission of docs/how-to/broker-users.md."
    )

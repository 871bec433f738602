"""What a dead letter means: whose request it is, why it died, what to do, and which letters a command is about.

Pure functions and frozen data; no threads. Letters come from :class:`fleet_common.broker.DeadQueue`. There are two
kinds. A worker's letter says in its headers why the request died. One that the broker made (the delivery limit of a
lane, a retry whose lane is gone) has only the broker's own death headers, and no event was told of it.

Headers are believed in copies that the fleet's own users published, as everywhere (``docs/explanation/topology.md``);
the routing key is the broker's word for the lane.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fleet_common.broker import (
    ATTEMPT,
    DIED_AT,
    ERROR_CLASS,
    FIRST_SEEN,
    LOG_TAIL,
    MESSAGE,
    ORIGIN_KEY,
    REASON,
    SUBMITTED_BY,
    WORKER,
    Buried,
)
from fleet_common.errors import RULES, Reason, RequestError
from fleet_common.messages import Batch, ImportRequest, decode

UNROUTABLE: Final = "unroutable"
"""A retry came back into a lane that was gone."""
UNKNOWN: Final = "unknown"
"""Neither worker nor broker says why: somebody put it there by hand."""

_BROKER_REASONS: Final = {"delivery_limit": str(Reason.DELIVERY_LIMIT), "expired": UNROUTABLE}
_NEXT_ACTIONS: Final = {
    UNROUTABLE: "Declare the lane with omero-fleet topology apply, then replay; or replay with --set lane=NAME.",
}
_LOOK: Final = "Read the logs of RabbitMQ and the workers, then replay."


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead request.

    Attributes:
        body: As it was submitted; the first MiB of a larger one, which can never be imported.
        size_bytes: Of the whole body.
        digest: SHA-256 of the whole body.
        message_id: The request's id as its publisher gave it beside the body.
        origin_key: ``<lane>.<class>``, under which it came through its lane.
        request: The body read; None when it is not a request that this version knows.
        reason: A word of ``docs/reference/reasons.md``, or what the broker says.
        error_class: The class of the error; empty in a letter of the broker.
        message: What happened, in a sentence.
        worker: Who gave up; empty in a letter of the broker.
        attempt: Attempts that were counted.
        died_at: When it was buried.
        first_seen: When a worker first had it; None when it never came so far.
        submitted_by: The broker user who submitted it; None when nobody can be held to it.
        log_tail: The end of the server's import log, redacted.
        copies: How many letters say the same; more than one after a crash between burial and acknowledgement.
    """

    body: bytes
    size_bytes: int
    digest: str
    message_id: str | None
    origin_key: str
    request: ImportRequest | None
    reason: str
    error_class: str
    message: str
    worker: str
    attempt: int
    died_at: datetime | None
    first_seen: datetime | None
    submitted_by: str | None
    log_tail: str
    copies: int = 1

    @property
    def lane(self) -> str:
        """The lane that it came through, which the broker vouches for; the body may say another one."""
        return self.origin_key.rpartition(".")[0] or self.origin_key

    @property
    def request_id(self) -> uuid.UUID | None:
        """Of the body, else what was published beside it; None when neither is an id."""
        if self.request is not None:
            return self.request.request_id
        try:
            return uuid.UUID(self.message_id or "")
        except ValueError:
            return None

    @property
    def name(self) -> str:
        """How a command calls it: the request's id, or the beginning of the digest of a body without one."""
        return str(self.request_id or f"body-{self.digest[:16]}")

    @property
    def batch(self) -> Batch | None:
        """The batch, where the body can be read."""
        return self.request.batch if self.request else None

    @property
    def source(self) -> str | None:
        """``share/path`` of the entry file, where the body can be read."""
        return f"{self.request.source.share}/{self.request.source.path}" if self.request else None

    @property
    def next_action(self) -> str:
        """What a person should do, as one sentence."""
        try:
            return RULES[Reason(self.reason)].next_action
        except ValueError:
            return _NEXT_ACTIONS.get(self.reason, _LOOK)

    @property
    def is_whole(self) -> bool:
        """Whether ``body`` is all of it."""
        return self.size_bytes == len(self.body)


@dataclass(frozen=True, slots=True)
class Held:
    """One dead request with the deliveries of all its letters."""

    letter: DeadLetter
    tags: tuple[int, ...]


def read_letter(buried: Buried, fleet_users: Collection[str]) -> DeadLetter:
    """What a message of the queue says.

    Args:
        buried: As the broker has it.
        fleet_users: Broker users of workers and operators.
    """
    is_ours = buried.user_id in fleet_users
    headers = buried.headers if is_ours else {}
    why = headers if REASON in headers else _why_of_the_broker(buried.headers)
    return DeadLetter(
        body=buried.body,
        size_bytes=buried.size_bytes,
        digest=buried.digest,
        message_id=buried.message_id,
        origin_key=_text(headers, ORIGIN_KEY) or buried.routing_key,
        request=_request(buried),
        reason=_text(why, REASON),
        error_class=_text(why, ERROR_CLASS),
        message=_text(why, MESSAGE),
        worker=_text(why, WORKER),
        attempt=_count(headers),
        died_at=_moment(why.get(DIED_AT)),
        first_seen=_moment(headers.get(FIRST_SEEN)),
        submitted_by=(_text(headers, SUBMITTED_BY) or None) if is_ours else buried.user_id,
        log_tail=_text(why, LOG_TAIL),
    )


def _why_of_the_broker(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    deaths = headers.get("x-death")
    # The last death comes first.
    last = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping) else {}
    said = str(last.get("reason", ""))
    if not said:
        return {REASON: UNKNOWN, MESSAGE: "neither a worker nor the broker says why it is here"}
    reason = _BROKER_REASONS.get(said, said.replace("_", "-"))
    return {REASON: reason, MESSAGE: _sentence(reason, said, str(last.get("queue", ""))), DIED_AT: last.get("time")}


def _sentence(reason: str, said: str, queue: str) -> str:
    if reason == UNROUTABLE:
        return f"RabbitMQ found no queue for it when it came back from {queue}: its lane is gone"
    if reason == Reason.DELIVERY_LIMIT:
        return f"RabbitMQ gave it up: it was taken from {queue} too often without being settled"
    return f"RabbitMQ put it here from {queue}: {said}"


def _request(buried: Buried) -> ImportRequest | None:
    try:
        return decode(buried.body) if buried.size_bytes == len(buried.body) else None
    except RequestError:
        return None


def _text(headers: Mapping[str, Any], name: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else ""


def _count(headers: Mapping[str, Any]) -> int:
    value = headers.get(ATTEMPT)
    return max(0, value) if isinstance(value, int) else 0


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not isinstance(moment, datetime):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def gather(letters: Iterable[tuple[int, DeadLetter]]) -> list[Held]:
    """Several letters of the same request as one, in order of first appearance; the last one says why.

    The same is: lane, class, request id and every byte of the body. A request that was submitted twice with different
    targets has one id, and stays two.

    Args:
        letters: Delivery and letter, the oldest first.
    """
    held: dict[tuple[str, str, str], Held] = {}
    for tag, letter in letters:
        key = (letter.origin_key, letter.name, letter.digest)
        tags = (*held[key].tags, tag) if key in held else (tag,)
        held[key] = Held(replace(letter, copies=len(tags)), tags)
    return list(held.values())


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters a command is about; all conditions must hold.

    Attributes:
        requests: Beginnings of request ids; empty for any.
        lane: The lane that it came through.
        batch: Name or id of its batch.
        reason: Why it died.
        older_than: It died at least so long ago.
        newer_than: It died at most so long ago.
    """

    requests: tuple[str, ...] = ()
    lane: str | None = None
    batch: str | None = None
    reason: str | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it lets everything pass."""
        return self == Filter()

    def matches(self, letter: DeadLetter, now: datetime) -> bool:
        """Whether a letter is asked for."""
        wanted = not self.requests or any(_is_called(letter, text) for text in self.requests)
        in_batch = self.batch is None or (
            letter.batch is not None and self.batch in {letter.batch.name, str(letter.batch.id)}
        )
        fits = self.lane in {None, letter.lane} and self.reason in {None, letter.reason}
        return wanted and in_batch and fits and self._is_of_age(letter, now)

    def unknown(self, letters: Sequence[DeadLetter]) -> list[str]:
        """Those of ``requests`` that no letter is called by."""
        return [text for text in self.requests if not any(_is_called(letter, text) for letter in letters)]

    def _is_of_age(self, letter: DeadLetter, now: datetime) -> bool:
        if self.older_than is None and self.newer_than is None:
            return True
        if letter.died_at is None:
            return False
        age = now - letter.died_at
        return (self.older_than is None or age >= self.older_than) and (
            self.newer_than is None or age <= self.newer_than
        )


def _is_called(letter: DeadLetter, beginning: str) -> bool:
    return letter.name.startswith(beginning.lower())

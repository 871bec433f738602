"""The names of the spool's files, which hold all that changes about a request: pure functions, no I/O.

A file is called ``<request id>.<digest>.pending.json`` before the broker has confirmed the request, and
``<request id>.<digest>.sent-<milliseconds since 1970>.json`` after that; its content is the body, byte for byte, and
never changes. So every change of state is one rename, and a file that was cut or altered does not fit its name.
"""

from __future__ import annotations

import enum
import hashlib
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from fleet_common.errors import RequestError
from fleet_common.messages import ImportRequest, decode, encode

_DIGEST_CHARACTERS: Final = 32
_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME: Final = re.compile(rf"({_UUID})\.([0-9a-f]{{{_DIGEST_CHARACTERS}}})\.(?:pending|sent-([0-9]{{1,15}}))\.json")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class State(enum.StrEnum):
    """What the producer knows of a request that is in the spool."""

    PENDING = "pending"
    SENT = "sent"


class Damaged(ValueError):
    """A file of the spool is not what its name says."""


@dataclass(frozen=True, slots=True)
class Slip:
    """What the name of a file says.

    Attributes:
        request_id: Of the request.
        digest: The beginning of the SHA-256 of the body; tells apart what was written for one request id.
        sent_at: When the broker confirmed it last, on this host's clock in whole milliseconds; None while it has not.
    """

    request_id: uuid.UUID
    digest: str
    sent_at: datetime | None = None

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a name.

        Raises:
            Damaged: It is no name of the spool.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise Damaged("the name is none of the spool's")
        try:
            moment = None if found[3] is None else _EPOCH + timedelta(milliseconds=int(found[3]))
        except OverflowError:
            raise Damaged("the time in its name is after the year 9999") from None
        return cls(uuid.UUID(found[1]), found[2], moment)

    @property
    def name(self) -> str:
        """The name of the file."""
        state = "pending" if self.sent_at is None else f"sent-{(self.sent_at - _EPOCH) // timedelta(milliseconds=1)}"
        return f"{self.request_id}.{self.digest}.{state}.json"

    @property
    def state(self) -> State:
        """Whether the broker has confirmed it."""
        return State.PENDING if self.sent_at is None else State.SENT

    def sent(self, at: datetime) -> Slip:
        """The slip after a confirm."""
        whole = at.replace(microsecond=at.microsecond // 1000 * 1000)
        # A host whose clock has lost its battery may live before 1970.
        return replace(self, sent_at=max(whole, _EPOCH))

    @property
    def unsent(self) -> Slip:
        """The slip before any confirm: the same as long as the body is."""
        return replace(self, sent_at=None)

    def same_writing(self, other: Slip) -> bool:
        """Whether both are of one body, whatever the state."""
        return self.unsent == other.unsent


@dataclass(frozen=True, slots=True)
class Entry:
    """One request in the spool, whole.

    Attributes:
        slip: Its name and state.
        request: What the body says.
        body: What goes to the broker, each time the same bytes.
    """

    slip: Slip
    request: ImportRequest
    body: bytes

    @property
    def request_id(self) -> uuid.UUID:
        """Of the request."""
        return self.slip.request_id

    def age_seconds(self, now: datetime) -> float:
        """Seconds since it was confirmed, or since it was made; negative after this host's clock was set back."""
        return (now - (self.slip.sent_at or self.request.submitted_at)).total_seconds()


def is_pending(name: str) -> bool:
    """Whether a file is no request that was confirmed: pending, or none at all, which somebody should look at."""
    try:
        return Slip.parse(name).sent_at is None
    except Damaged:
        return True


def is_one_of(name: str, slips: Collection[Slip]) -> bool:
    """Whether a file is that of one of some requests, confirmed or not."""
    try:
        return Slip.parse(name).unsent in slips
    except Damaged:
        return False


def new_entry(request: ImportRequest) -> Entry:
    """The entry of a request that is to be sent.

    Raises:
        Permanent: The body would be too large.
    """
    body = encode(request)
    return Entry(Slip(request.request_id, _digest(body)), request, body)


def read_entry(slip: Slip, body: bytes) -> Entry:
    """The entry of a file.

    Raises:
        Damaged: It was cut or altered, or a newer version of the fleet has written it.
    """
    if _digest(body) != slip.digest:
        raise Damaged(f"its {len(body):,} bytes do not have the digest in its name: it was cut or altered")
    try:
        request = decode(body)
    except RequestError as error:
        raise Damaged(f"{error.reason}: {error}") from error
    if request.request_id != slip.request_id:
        raise Damaged(f"it holds the request {request.request_id}")
    return Entry(slip, request, body)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:_DIGEST_CHARACTERS]

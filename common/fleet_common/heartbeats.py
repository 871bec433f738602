"""What a producer that watches folders says of itself, again and again, for hosts that nobody can scrape.

A heartbeat goes to the event log under the key ``<lane>.heartbeat``, which topic permissions keep to the producer's own
lane. It is about no request, so it is no :class:`~fleet_common.events.Event`, and readers of events pass over it. The
exporter makes metrics of it. Threading: plain data.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final, Literal

import pydantic
from pydantic import Field

from fleet_common.errors import Permanent, Reason
from fleet_common.messages import Model, Moment, Name, explain

KIND: Final = "heartbeat"
EVERY_SECONDS: Final = 60.0
"""How often a producer tells one, unless its settings say otherwise; silence of ten times that is an alert."""
MAX_HEARTBEAT_BYTES: Final = 16 * 1024
Count = Annotated[int, Field(ge=0)]


class Settle(enum.StrEnum):
    """How far an acquisition is that a producer watches: a closed set, safe as a metric label."""

    DISCOVERED = "discovered"
    ACQUIRING = "acquiring"
    SETTLING = "settling"
    COMPLETE = "complete"
    PUBLISHED = "published"
    INCOMPLETE = "incomplete"
    ABORTED = "aborted"
    IGNORED = "ignored"


class Heartbeat(Model):
    """The state of one producer.

    What a newer producer adds is passed over: an older reader must not take its host for silent.
    """

    model_config = pydantic.ConfigDict(extra="ignore")

    version: Literal[1] = 1
    lane: Name
    host: Annotated[str, Field(min_length=1, max_length=255)]
    at: Moment
    """By the clock of the host, which may be hours off: informative."""
    spool_requests: Count = 0
    """Requests that the spool keeps until their outcome is known."""
    spool_bytes: Count = 0
    unconfirmed: Count = 0
    """Those of them that the broker has not confirmed."""
    oldest_unconfirmed_seconds: Annotated[float, Field(ge=0)] = 0.0
    set_aside: Count = 0
    """Files of the spool that could not be read; nothing of them is published before a person looks."""
    acquisitions: dict[Settle, Count] = Field(default_factory=dict)
    """What is watched, by state; a state without any may be left out."""
    parked: Count = 0
    """Complete plates that wait for a rule, for room or for a person."""
    folders_away: Count = 0
    """Watched folders, and folders in them, that cannot be seen right now."""
    seconds_since_scan: Annotated[float, Field(ge=0)] = 0.0
    """Since the last scan of all folders that ended well."""

    @property
    def routing_key(self) -> str:
        """``<lane>.heartbeat``."""
        return f"{self.lane}.{KIND}"


def is_heartbeat(routing_key: str) -> bool:
    """Whether a message of the event log is a heartbeat, by its key."""
    return routing_key.endswith(f".{KIND}")


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """The heartbeat as it goes over the wire."""
    return heartbeat.model_dump_json().encode()


def decode_heartbeat(body: bytes, routing_key: str) -> Heartbeat:
    """Read a heartbeat.

    Args:
        body: As published.
        routing_key: Under which it was published; the broker has checked it.

    Raises:
        Permanent: It is none, or it speaks for another lane than its key.
    """
    try:
        heartbeat = Heartbeat.model_validate_json(body[: MAX_HEARTBEAT_BYTES + 1])
    except pydantic.ValidationError as error:
        raise Permanent(Reason.INVALID_REQUEST, f"not a heartbeat: {explain(error)}") from error
    if heartbeat.routing_key != routing_key:
        raise Permanent(Reason.INVALID_REQUEST, f"a heartbeat of {heartbeat.lane!r} under the key {routing_key!r}")
    return heartbeat

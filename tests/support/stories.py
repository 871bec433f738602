"""What the event log tells of requests, read with pika's own client: for tests that publish many and then look."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from support.facility import Facility

EVENT_LOG: Final = "import.event-log"
OUTCOMES: Final = frozenset({"imported", "already-imported", "dead", "cancelled"})
_LOOK_SECONDS: Final = 1.0


@dataclass(slots=True)
class Story:
    """All events of one request, in the order in which they were told."""

    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """What happened, without progress."""
        return [event["kind"] for event in self.events if event["kind"] != "progress"]

    @property
    def lines(self) -> list[str]:
        """The same with reasons and messages, for people."""
        told = (event for event in self.events if event["kind"] != "progress")
        return [" ".join(str(event[key]) for key in ("kind", "reason", "message") if event.get(key)) for event in told]

    @property
    def phases(self) -> set[str]:
        """Which phases any attempt entered."""
        return {event["progress"]["phase"] for event in self.events if event["kind"] == "progress"}

    def only(self, kind: str) -> dict[str, Any]:
        """The one event of a kind; fails when there is none, or more."""
        (event,) = (event for event in self.events if event["kind"] == kind)
        return event


def ended(story: Story) -> bool:
    """Whether the outcome is known."""
    return not OUTCOMES.isdisjoint(story.kinds)


def settled(story: Story) -> bool:
    """Whether a worker is done with it, at least for now."""
    return ended(story) or "retried" in story.kinds


def stories(
    facility: Facility,
    request_ids: Collection[str],
    until: Callable[[Story], bool] = settled,
    deadline_seconds: float = 90.0,
) -> Mapping[str, Story]:
    """Read the log from its beginning until this holds for the story of every request.

    Raises:
        AssertionError: It does not for some by the deadline; with what is known of them.
    """

    def all_are(told: Mapping[str, Story]) -> bool:
        return all(map(until, told.values()))

    return read_until(facility, request_ids, all_are, deadline_seconds)


def read_until(
    facility: Facility,
    request_ids: Collection[str],
    enough: Callable[[Mapping[str, Story]], bool],
    deadline_seconds: float = 90.0,
) -> Mapping[str, Story]:
    """Read the log from its beginning until this holds for the stories of all requests together.

    Raises:
        AssertionError: It does not by the deadline; with what is known of them.
    """
    told = {request_id: Story() for request_id in request_ids}
    deadline = time.monotonic() + deadline_seconds
    for event in _events(facility):
        # A heartbeat is about no request.
        if event is not None and event.get("request_id") in told:
            told[event["request_id"]].events.append(event)
        if enough(told):
            break
        if time.monotonic() > deadline:
            known = {request_id: story.lines for request_id, story in told.items()}
            raise AssertionError(f"not so far within {deadline_seconds:g} s: {known}")
    return told


def _events(facility: Facility) -> Iterator[dict[str, Any] | None]:
    """Every event of the log, and then those that come; None when there is none for a second."""
    with facility.channel("operator") as channel:
        channel.basic_qos(prefetch_count=500)
        messages = channel.consume(EVENT_LOG, arguments={"x-stream-offset": "first"}, inactivity_timeout=_LOOK_SECONDS)
        for method, _, body in messages:
            if method is None:
                yield None
            else:
                channel.basic_ack(method.delivery_tag)
                yield json.loads(body)

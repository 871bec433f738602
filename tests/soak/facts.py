"""What was sent, what must have become of it, and what was seen at the end. Plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from soak.material import Content
from soak.telling import Key, Told
from soak.wishes import Wish


@dataclass(frozen=True, slots=True)
class Sent:
    """A submission that the broker confirmed.

    Attributes:
        at: Seconds since 1970.
    """

    wish: Wish
    request_id: str
    at: float

    @property
    def key(self) -> Key:
        """Whose events are those of this submission."""
        return self.wish.lane, self.request_id


@dataclass(frozen=True, slots=True)
class Held:
    """One fileset, as OMERO and its disk have it.

    Attributes:
        told: Its files as the database knows them.
        found: Its files as they are on the disk.
        series: How many different series its images have; as many as images once it is complete.
        pending: Images whose pixels were not read.
    """

    fileset: int
    request_ids: tuple[str, ...]
    owner: tuple[str, str]
    prefix: str
    told: tuple[Content, ...]
    found: tuple[Content, ...]
    images: int
    series: int
    pending: int
    plates: int

    @property
    def complete(self) -> bool:
        """Whether an import ended well, as far as can be seen without knowing what was wished."""
        return self.images > 0 and self.series == self.images and self.pending == 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message among the dead letters."""

    request_id: str
    reason: str
    error_class: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of the broker."""

    name: str
    type: str
    messages: int


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session of the fleet that nobody closed; times in seconds, the start since 1970."""

    number: int
    owner: str
    started: float
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What must have become of one request, whatever the number of its submissions."""

    request_id: str
    sents: tuple[Sent, ...]
    contents: tuple[Content, ...]
    images: int
    plates: int

    @property
    def wish(self) -> Wish:
        """The first of its submissions."""
        return self.sents[0].wish


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen at the end, with the workers stopped.

    Attributes:
        outcomes: How each submission ended by the event log; None while it is open.
        statuses: What ``omero-fleet status`` says of each.
        folders: Of the managed repository, known to the database or on the disk.
        forgotten_folders: Those that only the disk knows: no client can find them, so no sweep either.
        now: When the sessions were looked at, in seconds since 1970.
    """

    held: tuple[Held, ...]
    dead: tuple[DeadLetter, ...]
    outcomes: Mapping[Key, Told | None]
    statuses: Mapping[Key, str]
    queues: tuple[Queue, ...]
    folders: frozenset[str] = frozenset()
    forgotten_folders: frozenset[str] = frozenset()
    sessions: tuple[OpenSession, ...] = ()
    now: float = 0.0


def gather(sents: Iterable[Sent]) -> Mapping[str, tuple[Sent, ...]]:
    """The submissions of each request, the first first."""
    grouped: defaultdict[str, list[Sent]] = defaultdict(list)
    for sent in sorted(sents, key=lambda one: one.wish.number):
        grouped[sent.request_id].append(sent)
    return {request_id: tuple(ones) for request_id, ones in grouped.items()}

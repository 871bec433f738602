"""What people submit themselves of the plates that a watch sees: from the spool of this host, and from the event log.

Role: a plate that somebody has decided to import without its missing files is nobody's task any more, and is not
published once more when they come. A request in the spool tells of which measurement it is, however old it is. An event
of another host names a file only: it counts for what lies there now, and so for minutes only. What another host
publishes to another lane, or while the watch is off, nobody tells. Neighbours: ``outcomes`` hears, ``keeping`` asks.
Threading: one thread, but for :meth:`ByHand.hear`, which any may call.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from fleet_common.events import Event, Kind
from fleet_common.messages import ImportRequest, Owner, request_id_for
from fleet_producer.slips import Slip
from fleet_producer.spool import Spool

HEARD_SECONDS: Final = 600.0
"""So long what was heard from another host is taken to be of the files that lie there now."""
MOST_KNOWN: Final = 10_000
"""The oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What tells of which plate a request is, without its files by name.

    Attributes:
        owner: User and group of the import.
        share: Name of the share.
        digest: Of the manifest.
        files: How many are imported.
        missing: How many the plate lacked; None of one that lacked none.
    """

    owner: Owner
    share: str
    digest: str
    files: int
    missing: int | None

    @classmethod
    def of(cls, request: ImportRequest) -> Self:
        """The facts of a request."""
        source = request.source
        missing = source.partial.missing if source.partial else None
        return cls(request.owner, source.share, source.manifest.digest, source.manifest.files, missing)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request that this watch has not made, as far as it knows.

    Attributes:
        request_id: Of the request.
        number: Which one it was, from 1.
        at_seconds: When it was found or heard of, on the monotonic clock.
        facts: What it says; None of another host, of which only an event was heard.
    """

    request_id: str
    number: int
    at_seconds: float
    facts: Facts | None = None

    def is_of(self, identity: str, files: int) -> bool:
        """Whether it is of a plate.

        Args:
            identity: Of the plate, as its request ids are made of it.
            files: How many files the plate has by its index. A request that was submitted with ``--again`` does not
                show its identity; one of a plate that lacks files is known by their number then.
        """
        facts = self.facts
        if facts is None:
            return False
        made = request_id_for(facts.owner, facts.share, identity, facts.digest)
        return str(made) == self.request_id or (facts.missing is not None and facts.files + facts.missing == files)


@dataclass
class ByHand:
    """Submitted requests by their source; each request of the spool is read once.

    Attributes:
        spool: Of this host.
        monotonic: A clock in seconds that nobody can set.
        count: How many have come so far.
    """

    spool: Spool
    monotonic: Callable[[], float]
    _heard: deque[Event] = field(default_factory=lambda: deque(maxlen=MOST_KNOWN))
    _known: OrderedDict[str, Submitted] = field(default_factory=OrderedDict)
    _read: frozenset[Slip] = frozenset()
    count: int = field(default=0, init=False)

    def hear(self, event: Event) -> None:
        """An event of this host's lane was told."""
        if event.kind is Kind.ACCEPTED and event.source:
            self._heard.append(event)

    def refresh(self) -> None:
        """Take in what was heard and what is new in the spool.

        Raises:
            SpoolError: The spool cannot be read.
        """
        while self._heard:
            event = self._heard.popleft()
            self._take(str(event.source), str(event.request_id), None)
        there = frozenset(slip.unsent for slip in self.spool.slips())
        new = there - self._read
        if new:
            for entry in self.spool.chosen(new):
                source = entry.request.source
                self._take(f"{source.share}/{source.path}", str(entry.request_id), Facts.of(entry.request))
        self._read = there

    def since(self, count: int) -> Iterator[str]:
        """The sources of what has come since so many had come."""
        return (source for source, one in self._known.items() if one.number > count)

    def of(self, source: str) -> Submitted | None:
        """The last request for an entry file, as ``share/path``; None when there is none."""
        return self._known.get(source)

    def heard(self, source: str) -> str:
        """The id of a request for an entry file that was heard of minutes ago; empty when there is none."""
        found = self._known.get(source)
        if found is None or found.facts is not None or self.monotonic() - found.at_seconds > HEARD_SECONDS:
            return ""
        return found.request_id

    def _take(self, source: str, request_id: str, facts: Facts | None) -> None:
        known = self._known.get(source)
        if known is not None and known.request_id == request_id and known.facts is not None:
            return
        self.count += 1
        self._known[source] = Submitted(request_id, self.count, self.monotonic(), facts)
        self._known.move_to_end(source)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

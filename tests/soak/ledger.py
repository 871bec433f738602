"""What was sent, and what became of it, at any moment.

Threading: asks producers and chronicle, which may go on meanwhile; any thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soak import telling
from soak.chronicle import Chronicle
from soak.facts import Expected, Sent, gather
from soak.material import Instruments
from soak.producers import Producer
from soak.telling import Key, Told
from soak.wishes import Wish


@dataclass(frozen=True, slots=True)
class Ledger:
    """The books of one soak."""

    wishes: Sequence[Wish]
    instruments: Instruments
    producers: Sequence[Producer]
    chronicle: Chronicle

    @property
    def sent(self) -> list[Sent]:
        """What the broker has confirmed."""
        return [sent for producer in self.producers for sent in list(producer.sent)]

    @property
    def failures(self) -> list[str]:
        """What could not be sent, and why."""
        return [failure for producer in self.producers for failure in list(producer.failures)]

    @property
    def unsent(self) -> int:
        """How many wishes neither were confirmed nor failed."""
        return len(self.wishes) - len(self.sent) - len(self.failures)

    def outcomes(self) -> dict[Key, Told | None]:
        """How each submission ended; None while it is open."""
        events = self.chronicle.events()
        return {sent.key: telling.outcome(events.get(sent.key, ())) for sent in self.sent}

    def open(self) -> int:
        """How many submissions have no outcome, or were not confirmed yet."""
        outcomes = self.outcomes()
        return self.unsent + sum(outcomes.get(sent.key) is None for sent in self.sent)

    def redeliveries(self) -> int:
        """Attempts that began anew although nobody had settled the one before."""
        return sum(map(telling.redeliveries, self.chronicle.events().values()))

    def recoveries(self, faults: Iterable[tuple[str, float]]) -> dict[str, float]:
        """The longest recovery in seconds by kind of fault.

        Args:
            faults: Kind and end of every fault, in seconds since 1970.
        """
        outcomes = self.outcomes()
        ends = [(sent, outcomes.get(sent.key)) for sent in self.sent]
        spans = [telling.Span(sent.at, end.at) for sent, end in ends if end is not None]
        return telling.longest_recoveries(faults, spans)

    def expected(self) -> list[Expected]:
        """What must have become of every request."""
        return [self._expect(request_id, sents) for request_id, sents in gather(self.sent).items()]

    def told_of(self, request_id: str) -> list[Told]:
        """What is known of a request, in all its lanes."""
        events = self.chronicle.events()
        return [event for key, told in events.items() if key[1] == request_id for event in telling.in_order(told)]

    def progress(self) -> str:
        """One line."""
        outcomes, sent = self.outcomes(), self.sent
        ends = [end for one in sent if (end := outcomes.get(one.key)) is not None]
        imported = sum(end.kind in telling.SUCCEEDED for end in ends)
        dead, waiting = len(ends) - imported, len(sent) - len(ends)
        return f"{len(sent)} of {len(self.wishes)} sent, {imported} imported, {dead} dead, {waiting} open"

    def _expect(self, request_id: str, sents: tuple[Sent, ...]) -> Expected:
        material = self.instruments.material(sents[0].wish)
        return Expected(request_id, sents, material.contents, material.images, material.plates)

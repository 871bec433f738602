"""What is remembered of a plate between two looks and two starts: data, and its way to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import pydantic

from fleet_producer.completeness import Decision, History, State

MAX_PROBLEMS: Final = 100
_KEEP_SECONDS: Final = 60.0
"""A quiet plate is written to the state no more often than this."""

AT_REST: Final = frozenset({State.PUBLISHED, State.IGNORED})
"""States in which nothing more is expected of a plate."""
NEEDS_A_PERSON: Final = frozenset({State.INCOMPLETE, State.ABORTED})
"""States in which people are told."""
LACKS_FILES: Final = NEEDS_A_PERSON | {State.ACQUIRING}
"""States of a plate that only ``submit --partial`` would publish."""


class Rest(NamedTuple):
    """The entry file of a plate at rest as it was then; the folder itself where there is no such file.

    Attributes:
        entry: Relative to the share.
        size_bytes: Its size.
        mtime_ns: Its time of modification; changed rights do not change it.
    """

    entry: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Record:
    """One plate.

    Attributes:
        key: ``share/path`` of its folder or file.
        state: Where it is.
        why: One sentence for people.
        next_action: What a person should do; empty for nothing.
        done: Files that are there.
        of: Files that must be there.
        eta_seconds: Until the last one is there.
        problems: The first files that are missing, empty or not whole, with well and field.
        history: For the engine.
        request_id: Under which it was published.
        rest: Of a plate that is published or ignored.
        told: The id under which people were told that it needs them; empty when they were not.
    """

    key: str
    state: State = State.DISCOVERED
    why: str = ""
    next_action: str = ""
    done: int = 0
    of: int = 0
    eta_seconds: float | None = None
    problems: tuple[str, ...] = ()
    history: History = field(default_factory=History)
    request_id: str = ""
    rest: Rest | None = None
    told: str = ""

    def decided(self, decision: Decision, history: History) -> Record:
        """The record after a look."""
        return replace(
            self,
            state=decision.state,
            why=decision.why,
            next_action=decision.next_action,
            done=decision.done,
            of=decision.of,
            eta_seconds=decision.eta_seconds,
            problems=tuple(map(str, decision.problems[:MAX_PROBLEMS])),
            history=history,
        )

    def interrupted(self) -> Record:
        """The record after a time in which nobody looked."""
        return replace(self, history=self.history.interrupted())

    def restarted(self) -> Record:
        """The record after a start: the rules may be others now, so what one of them ignored is looked at once more."""
        return replace(self.interrupted(), rest=None if self.state is State.IGNORED else self.rest)

    def is_news_after(self, kept: Record | None) -> bool:
        """Whether it is worth to be kept in place of what was kept last."""
        if kept is None or not kept.same_to_people(self):
            return True
        return self.history.still_seconds - kept.history.still_seconds >= _KEEP_SECONDS

    def same_to_people(self, other: Record) -> bool:
        """Whether both say the same, apart from how long it has been so."""
        return replace(self, history=other.history, why=other.why) == other and self.history.mark == other.history.mark


_ADAPTER: Final = pydantic.TypeAdapter(Record)


def to_json(record: Record) -> str:
    """The record as it is kept."""
    return _ADAPTER.dump_json(record).decode()


def from_json(text: str) -> Record:
    """Read a record.

    Raises:
        ValueError: It is none, or a newer version of the fleet wrote it.
    """
    return _ADAPTER.validate_json(text)

"""What the engine is given and what it answers: data only."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from fleet_common.heartbeats import Settle as State
from fleet_common.plates import End, FileProblem

__all__ = ["Decision", "History", "Layer", "Look", "Mark", "Policy", "State"]

_RATE_LOOKS: Final = 2
"""From so many looks on a rate of arrival means something."""


class Layer(enum.StrEnum):
    """What must agree before a plate is complete; what the deadline is for, they do not know."""

    ENTRY = "entry"
    END = "end"
    FILES = "files"
    QUIET = "quiet"
    NAMES = "names"
    WHOLE = "whole"


class Mark(NamedTuple):
    """One full listing of a plate, in a few numbers; equal marks mean that nothing happened in between.

    Times are compared with each other only, never with a clock: that of an acquisition host may be hours off.

    Attributes:
        files: How many files there are, whether they belong to the plate or not.
        bytes: The sum of their sizes.
        newest_ns: The latest time of modification, as the storage tells it.
        names: A checksum over all names, in any order.
        entry: Size and time of modification of the entry file; empty where there is none.
    """

    files: int = 0
    bytes: int = 0
    newest_ns: int = 0
    names: int = 0
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient to be with one instrument.

    Attributes:
        settle_seconds: So long nothing may change; longer than the longest pause of an acquisition.
        deadline_seconds: After so long without a change a plate that is not complete is given to a person.
    """

    settle_seconds: float = 60.0
    deadline_seconds: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a plate has shown.

    Attributes:
        mark: Of its listing.
        unreadable: Why there is no list of files yet; empty when the entry file was read to its end.
        advice: What a person should do when it stays unreadable; empty where nobody knows.
        listed: How many files the plate has.
        absent: Those that are missing or empty, some of them by name.
        absent_more: How many more there are.
        end: What the instrument says of the end.
        awaited: The name of a file that must be there before anything is published; empty when it is.
        temporary: Names of files that somebody is still writing, some of them.
        held: A file that another program has open for itself, as Windows tells; empty for none.
        errors: Planes that the instrument itself recorded as failed.
        damaged: Files that are there and not whole; None as long as nobody has opened them.
    """

    mark: Mark
    unreadable: str = ""
    advice: str = ""
    listed: int = 0
    absent: tuple[FileProblem, ...] = ()
    absent_more: int = 0
    end: End = End.UNKNOWN
    awaited: str = ""
    temporary: tuple[str, ...] = ()
    held: str = ""
    errors: int = 0
    damaged: tuple[FileProblem, ...] | None = None

    @property
    def present(self) -> int:
        """How many of the plate's files are there and not empty."""
        return self.listed - self.lacking

    @property
    def lacking(self) -> int:
        """How many are not."""
        return len(self.absent) + self.absent_more


@dataclass(frozen=True, slots=True)
class History:
    """All that is remembered of earlier looks at a plate.

    Attributes:
        mark: Of the last look; None before the first.
        looks: How many looks in a row, without an interruption, were equal to it.
        quiet_seconds: From the end of the first of these to the begin of the last one.
        still_seconds: As ``quiet_seconds``, but interruptions do not set it back: for the deadline.
        first_present: Files that were there at the first look that could count them.
        counting_seconds: Since that look.
        counted: How many looks could count.
    """

    mark: Mark | None = None
    looks: int = 0
    quiet_seconds: float = 0.0
    still_seconds: float = 0.0
    first_present: int = 0
    counting_seconds: float = 0.0
    counted: int = 0

    def after(self, look: Look, elapsed_seconds: float) -> History:
        """The history with one more look.

        Args:
            look: What was seen.
            elapsed_seconds: From the end of the look before to the begin of this one; what is negative counts as 0.
        """
        elapsed = max(0.0, elapsed_seconds)
        same = look.mark == self.mark
        counted = self._count(look, elapsed)
        return replace(
            counted,
            mark=look.mark,
            looks=self.looks + 1 if same else 1,
            quiet_seconds=self.quiet_seconds + elapsed if same and self.looks else 0.0,
            still_seconds=self.still_seconds + elapsed if same else 0.0,
        )

    def missed(self, elapsed_seconds: float) -> History:
        """The history with a look that showed nothing: no quiet is proven, and nobody knows of any change either.

        Args:
            elapsed_seconds: As for :meth:`after`.
        """
        return replace(self.interrupted(), still_seconds=self.still_seconds + max(0.0, elapsed_seconds))

    def interrupted(self) -> History:
        """Nobody looked for a while, so the quiet before it proves nothing: the share was away, or the host off."""
        return replace(self, looks=0, quiet_seconds=0.0)

    def eta_seconds(self, look: Look) -> float | None:
        """When the last file will be there if they go on to arrive as until now; None while nobody can say."""
        arrived = look.present - self.first_present
        if self.counted < _RATE_LOOKS or arrived <= 0 or not self.counting_seconds:
            return None
        return look.lacking * self.counting_seconds / arrived

    def _count(self, look: Look, elapsed: float) -> History:
        if look.unreadable:
            return self
        if not self.counted:
            return replace(self, first_present=look.present, counted=1)
        return replace(self, counting_seconds=self.counting_seconds + elapsed, counted=self.counted + 1)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known of a plate now.

    Attributes:
        state: Where it is.
        why: One sentence for people.
        next_action: What a person should do; empty while there is nothing to do but to wait.
        done: Files that are there.
        of: Files that must be there; 0 while nobody knows.
        eta_seconds: Until the last of them is there; None while nobody can say.
        check_due: Whether it is time to open the files: all else agrees.
        problems: The files that are missing, empty or not whole.
    """

    state: State
    why: str
    next_action: str = ""
    done: int = 0
    of: int = 0
    eta_seconds: float | None = None
    check_due: bool = False
    problems: tuple[FileProblem, ...] = field(default=(), repr=False)

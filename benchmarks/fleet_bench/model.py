"""What is measured and how it is kept: runs, figures, floors and results. Plain data; any thread.

All of it is frozen, and goes to and from JSON through pydantic.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from fleet_bench.stage import Stage


class Model(BaseModel):
    """A frozen value that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(Model):
    """A figure that is wanted: at most, or at least, the limit."""

    limit: float
    at_most: bool = True

    def reached_by(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"


class Spread(Model):
    """Several measurements of one thing."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        return cls(median=statistics.median(values), low=min(values), high=max(values), count=len(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}-{self.high:.3g}, n={self.count})"


class Run(Model):
    """One counted import of a case's files by one side.

    Attributes:
        whole_seconds: From the start of the command until it knows the last outcome.
        upload_seconds: The sum over the filesets of first opened file to last saved file; 0 where it is not known.
        parts: Other seconds of the run by name, such as those of the importer's start.
    """

    whole_seconds: float
    upload_seconds: float = 0.0
    files: int = 0
    bytes: int = 0
    parts: dict[str, float] = {}


class Pair(Model):
    """Runs one after the other on the same files; ``plain`` is the fleet over plain TCP."""

    fleet: Run
    importer: Run
    plain: Run | None = None

    def __str__(self) -> str:
        plain = f", over plain TCP {self.plain.whole_seconds:.1f} s" if self.plain else ""
        return f"{self.fleet.whole_seconds:.1f} s by {self.importer.whole_seconds:.1f} s{plain}"


class Figure(Model):
    """One number of a result.

    Attributes:
        name: Short, such as ``whole`` or ``p99``.
        unit: Such as ``s``, ``ratio`` or ``MB/s``.
        target: What it should be; None where there is no wish.
    """

    name: str
    unit: str
    value: Spread
    target: Target | None = None

    @property
    def reached(self) -> bool:
        """Whether the median is as wanted; true where nothing is."""
        return self.target is None or self.target.reached_by(self.value.median)


class Floor(Model):
    """What nobody can be faster than on this server, measured in the same run.

    Attributes:
        name: Such as ``raw write``.
        seconds: For the same files.
        of: Which time of the fleet it bounds: ``whole`` or ``upload``.
        fraction: The floor by that time of the fleet: 1.0 is as fast as possible, above is overlapped.
    """

    name: str
    seconds: Spread
    of: str
    fraction: float


class Curve(Model):
    """Points of a plot."""

    name: str
    x: str
    y: str
    points: tuple[tuple[float, float], ...]


class Result(Model):
    """What a case came to.

    Attributes:
        figures: With their targets; ratios are the fleet's time by the importer's, pair by pair.
        notes: What was cut, and what has to be known to read the figures.
    """

    case: str
    title: str
    figures: tuple[Figure, ...]
    pairs: tuple[Pair, ...] = ()
    floors: tuple[Floor, ...] = ()
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    """How long the case took to measure, with warm-up."""


class Bench(Model):
    """All results of one command."""

    machine: dict[str, str]
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Effort:
    """How thoroughly to measure.

    Attributes:
        runs: Counted pairs of runs, or counted repetitions.
        quick: Whether sizes and counts are cut, to try the benchmark itself.
        seconds: What is left of the whole time for this case: after its first pair none is begun that would not fit.
    """

    runs: int = 5
    quick: bool = False
    seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Case:
    """Something to measure, by name.

    Attributes:
        measure: Does it, warm-up included, on a stage that is up and without workers.
        minutes: What all of it takes on 2 cores, more or less; the time of the whole command is shared out by it.
    """

    name: str
    title: str
    measure: Callable[[Stage, Effort], Result]
    minutes: float = 1.0

    def run(self, stage: Stage, effort: Effort) -> Result:
        """Measure it."""
        return self.measure(stage, effort)

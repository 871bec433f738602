"""Which fault comes when. Pure: the same seed and duration give the same schedule, whatever happens during the run.

A fault is drawn every 2 to 10 s among those whose victim should be whole again by then. Faults of the two servers rest
for a while, so that work gets done between them.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

WORKERS: Final = 4
PRODUCERS: Final = 2
PAUSE_SECONDS: Final = (2.0, 10.0)


class Kind(enum.StrEnum):
    """What is done to whom; the words are those of the table."""

    WORKER_KILLED = "worker killed"
    WORKER_PAUSED = "worker paused"
    WORKER_STOPPED = "worker told to stop"
    BROKER_CUT = "RabbitMQ cut off"
    BROKER_HALF_OPEN = "RabbitMQ half-open"
    BROKER_SILENT = "RabbitMQ silent"
    OMERO_CUT = "OMERO cut off"
    OMERO_HALF_OPEN = "OMERO half-open"
    OMERO_SILENT = "OMERO silent"
    PRODUCER_CUT = "producer cut off"
    CONNECTION_CLOSED = "connection closed by RabbitMQ"
    MEMORY_ALARM = "memory alarm"
    RABBITMQ_RESTARTED = "RabbitMQ restarted"
    RABBITMQ_KILLED = "RabbitMQ killed"
    BLITZ_KILLED = "Blitz killed"
    OMERO_RESTARTED = "OMERO restarted"


class Victim(enum.StrEnum):
    """What a fault is about; nobody gets a second fault before the first is over."""

    WORKER = "worker"
    BROKER_LINK = "link of a worker to RabbitMQ"
    OMERO_LINK = "link of a worker to OMERO"
    PRODUCER = "producer"
    RABBITMQ = "RabbitMQ"
    OMERO = "OMERO"


VICTIMS: Final[Mapping[Victim, int]] = MappingProxyType(
    {
        Victim.WORKER: WORKERS,
        Victim.BROKER_LINK: WORKERS,
        Victim.OMERO_LINK: WORKERS,
        Victim.PRODUCER: PRODUCERS,
        Victim.RABBITMQ: 1,
        Victim.OMERO: 1,
    }
)


@dataclass(frozen=True, slots=True)
class Habit:
    """How a kind of fault comes.

    Attributes:
        victim: Of which sort.
        weight: How often, compared with the others.
        seconds: How long it lasts, at least and at most; what it means is the kind's own.
        rest_seconds: After its end, until the same victim gets the next one.
        never: The part of cases in which it lasts 0 s: started again at once, or not told twice.
    """

    victim: Victim
    weight: float
    seconds: tuple[float, float]
    rest_seconds: float
    never: float = 0.0


HABITS: Final[Mapping[Kind, Habit]] = MappingProxyType(
    {
        Kind.WORKER_KILLED: Habit(Victim.WORKER, 22, (2, 15), 8, never=0.5),
        Kind.WORKER_PAUSED: Habit(Victim.WORKER, 7, (30, 30), 5),
        Kind.WORKER_STOPPED: Habit(Victim.WORKER, 12, (1, 10), 15, never=0.6),
        Kind.BROKER_CUT: Habit(Victim.BROKER_LINK, 8, (1, 40), 5),
        Kind.BROKER_HALF_OPEN: Habit(Victim.BROKER_LINK, 6, (1, 40), 5),
        Kind.BROKER_SILENT: Habit(Victim.BROKER_LINK, 6, (1, 40), 5),
        Kind.OMERO_CUT: Habit(Victim.OMERO_LINK, 6, (1, 40), 5),
        Kind.OMERO_HALF_OPEN: Habit(Victim.OMERO_LINK, 4, (1, 40), 5),
        Kind.OMERO_SILENT: Habit(Victim.OMERO_LINK, 4, (1, 40), 5),
        Kind.PRODUCER_CUT: Habit(Victim.PRODUCER, 4, (1, 20), 10),
        Kind.CONNECTION_CLOSED: Habit(Victim.RABBITMQ, 7, (0, 0), 10),
        Kind.MEMORY_ALARM: Habit(Victim.RABBITMQ, 3.5, (5, 25), 25),
        Kind.RABBITMQ_RESTARTED: Habit(Victim.RABBITMQ, 3, (10, 10), 35),
        Kind.RABBITMQ_KILLED: Habit(Victim.RABBITMQ, 3, (10, 10), 35),
        Kind.BLITZ_KILLED: Habit(Victim.OMERO, 2.5, (40, 40), 90),
        Kind.OMERO_RESTARTED: Habit(Victim.OMERO, 1, (50, 50), 120),
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        number: From 0, in order of time.
        at_seconds: After the start of the soak.
        kind: What happens.
        index: Which of the victims, from 0.
        seconds: How long. For a killed worker, until it is started again; for one that is told to stop, until it is
            told a second time, 0 for never.
        draw: A number from 0 to 1, for what only the moment can tell, such as which of the open connections.
    """

    number: int
    at_seconds: float
    kind: Kind
    index: int
    seconds: float
    draw: float

    @property
    def victim(self) -> tuple[Victim, int]:
        """Whom it is about."""
        return HABITS[self.kind].victim, self.index

    def __str__(self) -> str:
        return f"{self.at_seconds:7.1f} s  {self.kind} {self.index}  {self.seconds:.1f} s"


def make_schedule(seed: int, duration_seconds: float) -> tuple[Fault, ...]:
    """All faults of a soak, in order of time; each ends before the soak does, as far as that is in our hands."""
    return tuple(_faults(random.Random(f"faults {seed}"), duration_seconds))  # noqa: S311  repeatable on purpose


def _faults(chance: random.Random, duration_seconds: float) -> Iterator[Fault]:
    free_at: dict[tuple[Victim, int], float] = {}
    at, number = chance.uniform(*PAUSE_SECONDS), 0
    while at < duration_seconds:
        choices = _choices(free_at, at)
        if choices:
            kind, index = chance.choices(choices, [HABITS[kind].weight / _count(kind) for kind, _ in choices])[0]
            fault = Fault(number, round(at, 1), kind, index, _seconds(chance, HABITS[kind]), chance.random())
            free_at[fault.victim] = at + fault.seconds + HABITS[kind].rest_seconds
            yield fault
            number += 1
        at += chance.uniform(*PAUSE_SECONDS)


def _choices(free_at: Mapping[tuple[Victim, int], float], at: float) -> Sequence[tuple[Kind, int]]:
    return [
        (kind, index)
        for kind, habit in HABITS.items()
        for index in range(VICTIMS[habit.victim])
        if free_at.get((habit.victim, index), 0.0) <= at
    ]


def _count(kind: Kind) -> int:
    return VICTIMS[HABITS[kind].victim]


def _seconds(chance: random.Random, habit: Habit) -> float:
    lasts, at_all = chance.uniform(*habit.seconds), chance.random() >= habit.never
    return round(lasts, 1) if at_all else 0.0

"""What a soak is asked for. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from soak.schedule import Fault, make_schedule
from soak.wishes import Wish, make_wishes

BUILD: Final = Path("build")
USUAL_REQUESTS: Final = 300


@dataclass(frozen=True, slots=True)
class Options:
    """What a soak is asked for.

    Attributes:
        minutes: How long there are faults.
        seed: Of wishes and schedule.
        broker: Version of RabbitMQ.
        requests: How many are submitted.
        drain_minutes: How long it may take until nothing is open after the last fault.
        with_faults: Without them, the same requests are imported in peace.
    """

    minutes: float
    seed: int
    broker: str
    requests: int
    drain_minutes: float
    with_faults: bool = True

    @property
    def seconds(self) -> float:
        """How long there are faults."""
        return self.minutes * 60

    @property
    def folder(self) -> Path:
        """Settings and logs of the fleet, and the soak's own."""
        return BUILD / f"soak-{self.seed}"

    @property
    def command(self) -> str:
        """The command that does the same again."""
        words = f"make soak SOAK_MINUTES={self.minutes:g} SOAK_SEED={self.seed} BROKER={self.broker}"
        return words if self.requests == USUAL_REQUESTS else f"{words} SOAK_REQUESTS={self.requests}"

    def wishes(self) -> tuple[Wish, ...]:
        """What is submitted."""
        return make_wishes(self.seed, self.requests, self.seconds)

    def schedule(self) -> tuple[Fault, ...]:
        """What is broken."""
        return make_schedule(self.seed, self.seconds) if self.with_faults else ()

"""Runs the sides of a comparison in turn: all warm up, and every round of them gives one ratio.

Threading: one thread. The order changes from round to round, so that no side always comes second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fleet_bench.material import Fileset
from fleet_bench.model import Figure, Pair, Run, Spread
from fleet_bench.targets import Wanted

Import = Callable[[Sequence[Fileset]], Run]
Tell = Callable[[str], None]
LEAST_PAIRS: Final = 3
_LEAST_SECONDS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Rounds:
    """What sides import in turn, and how long.

    Attributes:
        warm: For the run of each side that does not count.
        made: For all others.
        count: How many rounds.
        budget_seconds: Fewer rounds, but three, where they take longer.
        seconds: Fewer rounds, but one, where they would take longer than that with the warm-up.
    """

    warm: Sequence[Fileset]
    made: Sequence[Fileset]
    count: int
    budget_seconds: float
    seconds: float = math.inf


def alternate(
    sides: Mapping[str, Import],
    rounds: Rounds,
    tell: Tell = lambda _: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> tuple[Pair, ...]:
    """Warm all up, then measure.

    Args:
        sides: ``fleet``, ``importer`` and perhaps ``plain``.
        rounds: How many, and of what.
        tell: Told of every round.
        monotonic: The clock.
    """
    last = monotonic() + rounds.seconds
    for side in sides.values():
        side(rounds.warm)
    began = monotonic()
    pairs: list[Pair] = []
    while not pairs or _another(rounds, len(pairs), monotonic() - began, last - monotonic()):
        pairs.append(_round(sides, rounds.made, turned=bool(len(pairs) % 2)))
        tell(f"round {len(pairs)}: {pairs[-1]}")
    return tuple(pairs)


def _another(rounds: Rounds, done: int, took_seconds: float, left_seconds: float) -> bool:
    """Whether one more round is wanted and fits."""
    wanted = done < rounds.count and (done < LEAST_PAIRS or took_seconds < rounds.budget_seconds)
    return wanted and took_seconds / done <= left_seconds


def _round(sides: Mapping[str, Import], made: Sequence[Fileset], *, turned: bool) -> Pair:
    order = list(sides)[::-1] if turned else list(sides)
    return Pair(**{name: sides[name](made) for name in order})


def figures(pairs: Sequence[Pair], wanted: Wanted) -> tuple[Figure, ...]:
    """Ratios round by round with their targets, then the seconds of every side."""
    made = [Figure(name="whole", unit="ratio", value=_ratios(pairs, _whole), target=wanted.whole)]
    if all(pair.fleet.upload_seconds and pair.importer.upload_seconds for pair in pairs):
        made.append(Figure(name="upload", unit="ratio", value=_ratios(pairs, _upload), target=wanted.upload))
    if all(pair.plain for pair in pairs):
        plain = [Pair(fleet=pair.plain, importer=pair.importer) for pair in pairs if pair.plain]
        made.append(Figure(name="whole, plain TCP", unit="ratio", value=_ratios(plain, _whole), target=wanted.whole))
        made.append(Figure(name="upload, plain TCP", unit="ratio", value=_ratios(plain, _upload), target=wanted.upload))
    return (*made, *_seconds(pairs))


def _seconds(pairs: Sequence[Pair]) -> list[Figure]:
    sides = {"fleet": [pair.fleet for pair in pairs], "importer": [pair.importer for pair in pairs]}
    if plain := [pair.plain for pair in pairs if pair.plain]:
        sides["fleet, plain TCP"] = plain
    made = {f"{side}: {name}": [of(run) for run in runs] for side, runs in sides.items() for name, of in _TIMES}
    made |= {f"importer: {name}": values for name, values in _parts(sides["importer"]).items()}
    return [Figure(name=name, unit="s", value=Spread.of(values)) for name, values in made.items() if any(values)]


def _parts(runs: Sequence[Run]) -> dict[str, list[float]]:
    return {name: [run.parts[name] for run in runs] for name in runs[0].parts}


def _ratios(pairs: Sequence[Pair], of: Callable[[Run], float]) -> Spread:
    return Spread.of([of(pair.fleet) / max(of(pair.importer), _LEAST_SECONDS) for pair in pairs])


def _whole(run: Run) -> float:
    return run.whole_seconds


def _upload(run: Run) -> float:
    return run.upload_seconds


_TIMES: Final = (("whole", _whole), ("upload", _upload))

"""Compares fleet and importer on the same files: both warm up, then take turns, and every pair gives one ratio.

Threading: one thread; the order within a pair changes from pair to pair, so that neither side always comes second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fleet_bench.model import Figure, Pair, Run, Side, Spread
from fleet_bench.targets import Wanted

Import = Callable[[], Run]
Tell = Callable[[str], None]
_LEAST_SECONDS: Final = 1e-6


def alternate(fleet: Import, importer: Import, runs: int, tell: Tell = lambda _: None) -> tuple[Pair, ...]:
    """Warm both up with one run that does not count, then measure this many pairs."""
    fleet()
    importer()
    return tuple(_pair(fleet, importer, number, tell) for number in range(runs))


def _pair(fleet: Import, importer: Import, number: int, tell: Tell) -> Pair:
    sides = {Side.FLEET: fleet, Side.IMPORTER: importer}
    order = list(sides) if number % 2 == 0 else list(sides)[::-1]
    done = {side: sides[side]() for side in order}
    pair = Pair(fleet=done[Side.FLEET], importer=done[Side.IMPORTER])
    tell(f"pair {number + 1}: {pair.fleet.whole_seconds:.1f} s by {pair.importer.whole_seconds:.1f} s")
    return pair


def figures(pairs: Sequence[Pair], wanted: Wanted) -> tuple[Figure, ...]:
    """Ratios pair by pair with their targets, and the seconds of both sides."""
    ratios = [
        Figure(name="whole", unit="ratio", value=_ratios(pairs, _whole), target=wanted.whole),
        Figure(name="upload", unit="ratio", value=_ratios(pairs, _upload), target=wanted.upload),
    ]
    if not all(pair.importer.upload_seconds and pair.fleet.upload_seconds for pair in pairs):
        ratios.pop()
    return (*ratios, *_seconds(pairs))


def _seconds(pairs: Sequence[Pair]) -> list[Figure]:
    named = {f"{side} {what}": [of(getattr(pair, side)) for pair in pairs] for side in Side for what, of in _TIMES}
    return [Figure(name=name, unit="s", value=Spread.of(values)) for name, values in named.items()]


def _ratios(pairs: Sequence[Pair], of: Callable[[Run], float]) -> Spread:
    return Spread.of([of(pair.fleet) / max(of(pair.importer), _LEAST_SECONDS) for pair in pairs])


def _whole(run: Run) -> float:
    return run.whole_seconds


def _upload(run: Run) -> float:
    return run.upload_seconds


_TIMES: Final = (("whole", _whole), ("upload", _upload))

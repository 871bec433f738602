"""Makes floors of bare imports and raw writes, measured in the same run as the comparison that they explain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeVar

from fleet_bench import bare
from fleet_bench.bare import AtOnce, Bare
from fleet_bench.material import Fileset
from fleet_bench.model import Floor, Pair, Spread
from fleet_bench.stage import Stage

MOST_IMPORTS: Final = 4
"""Imports in a server with default settings that leave other clients alone."""
_ROUNDS: Final = 3
_LONG_SECONDS: Final = 60.0
"""After bare imports for so long there is no further one."""
_LEAST_SECONDS: Final = 1e-6
_Timed = TypeVar("_Timed", Bare, AtOnce)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the floor of a comparison is measured with.

    Attributes:
        uploads: Files in flight, as many as in the comparison.
        imports: Imports in the server at once.
        raw_bytes: Written raw, too, where it is not 0.
        port: Where the server's TLS door is found, as in the comparison; 0 for where it is.
    """

    filesets: Sequence[Fileset]
    target: tuple[str, int]
    uploads: int
    imports: int
    raw_bytes: int = 0
    port: int = 0


def measure(stage: Stage, bounds: Bounds, pairs: Sequence[Pair], rounds: int = _ROUNDS) -> tuple[Floor, ...]:
    """Bare imports over TLS, and raw writes over TLS and plain TCP, beside the medians of the fleet."""
    whole, upload = median(one.fleet.whole_seconds for one in pairs), median(one.fleet.upload_seconds for one in pairs)
    hashed = [(one, bare.hashes_of(one)) for one in bounds.filesets]
    settings = {"uploads": bounds.uploads, "imports": bounds.imports}
    # The comparison has warmed the server up.
    with bare.logged_in(stage, port=bounds.port) as client:
        done = _repeated(rounds, lambda: bare.run(client, hashed, bounds.target, **settings))
        # Their uploads wait for each other's, and for the server's work; one at a time has nothing beside it.
        alone = min(bounds.imports, len(hashed)) == 1
        at_once = (
            () if alone else _repeated(rounds, lambda: bare.run_at_once(client, hashed, bounds.target, **settings))
        )
    return (
        _floor("cheapest calls per file", [one.upload_seconds for one in done], "upload", upload),
        _floor("server's own time", [one.server_seconds for one in done], "whole", whole),
        _floor("calls and server's time", [one.whole_seconds for one in done], "whole", whole),
        *_at_once(at_once, whole, upload),
        *_raw(stage, bounds.raw_bytes, rounds, upload),
    )


def _repeated(rounds: int, measured: Callable[[], _Timed]) -> list[_Timed]:
    """As often as that, or until a minute is over."""
    done: list[_Timed] = []
    while len(done) < rounds and sum(one.whole_seconds for one in done) < _LONG_SECONDS:
        done.append(measured())
    return done


def _at_once(done: Sequence[AtOnce], whole: float, upload: float) -> Iterator[Floor]:
    if done:
        yield _floor("bare imports at once, whole", [one.whole_seconds for one in done], "whole", whole)
        yield _floor("bare imports at once, upload", [one.upload_seconds for one in done], "upload", upload)


def _raw(stage: Stage, size_bytes: int, rounds: int, upload: float) -> Iterator[Floor]:
    for name, secure in (("raw write, TLS", True), ("raw write, plain TCP", False)) if size_bytes else ():
        with bare.logged_in(stage, secure=secure) as client:
            yield _floor(name, [bare.write_raw(client, size_bytes) for _ in range(rounds)], "upload", upload)


def _floor(name: str, seconds: Sequence[float], of: str, fleets: float) -> Floor:
    spread = Spread.of(seconds)
    return Floor(name=name, seconds=spread, of=of, fraction=spread.median / max(fleets, _LEAST_SECONDS))

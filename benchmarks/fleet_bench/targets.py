"""What each comparison shall come to: the fleet's time as a fraction of the importer's. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fleet_bench.model import Target


@dataclass(frozen=True, slots=True)
class Wanted:
    """Targets of one case; None where there is none."""

    whole: Target | None = None
    upload: Target | None = None


def _at_most(limit: float) -> Target:
    return Target(limit=limit)


WANTED: Final[Mapping[str, Wanted]] = MappingProxyType(
    {
        "many-1x1": Wanted(_at_most(0.75), _at_most(0.70)),
        "many-4x4": Wanted(_at_most(0.60), _at_most(0.50)),
        "many-best": Wanted(_at_most(0.65), _at_most(0.50)),
        "plate": Wanted(None, _at_most(0.50)),
        "singles": Wanted(_at_most(0.50)),
        "singles-one-by-one": Wanted(_at_most(0.15)),
        "big": Wanted(_at_most(0.75), _at_most(0.70)),
        "in-place-size": Wanted(None, _at_most(0.20)),
        "in-place-sha1": Wanted(None, _at_most(0.70)),
        "latency": Wanted(_at_most(0.40), _at_most(0.25)),
    }
)

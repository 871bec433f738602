"""Figures of many samples. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fleet_bench.model import Figure, Spread, Target


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed.

    Args:
        values: At least one.
        share: Above 0, at most 1.
    """
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def quantile_figure(name: str, unit: str, values: Sequence[float], share: float, target: Target | None) -> Figure:
    """A quantile of many samples, with the least and the greatest of them."""
    spread = Spread(median=quantile(values, share), low=min(values), high=max(values), count=len(values))
    return Figure(name=name, unit=unit, value=spread, target=target)


def figure(name: str, unit: str, values: Sequence[float], target: Target | None = None) -> Figure:
    """The median of some measurements."""
    return Figure(name=name, unit=unit, value=Spread.of(values), target=target)

"""The order in which Java sorts names, which is that of Bio-Formats. Pure, no threads."""

from __future__ import annotations

from collections.abc import Iterable


def java_order(names: Iterable[str]) -> list[str]:
    """Sort as ``java.lang.String`` compares, by UTF-16 code units: an emoji comes before a full-width letter."""
    return sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass"))

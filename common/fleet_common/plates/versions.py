"""Versions of Bio-Formats as people read them. Pure, no threads."""

from __future__ import annotations

from fleet_common.plates.model import NO_READER_YET


def version_name(version: tuple[int, ...]) -> str:
    """``8.3.0`` for (8, 3, 0); words for a version that no release has; nothing for none."""
    return "newer than any release" if version >= NO_READER_YET else ".".join(map(str, version))

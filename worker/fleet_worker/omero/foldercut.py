"""How many leading folders OMERO cut off the paths of a fileset: the same number off each. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def without_cut_folders(sent: Iterable[str], kept: Iterable[str]) -> list[str]:
    """The paths of ``sent``, in order, as OMERO keeps them.

    Args:
        sent: As they were registered or listed.
        kept: As OMERO holds them, below the fileset's folder, in any order.
    """
    paths = list(sent)
    cut = _least_depth(paths) - _least_depth(kept)
    return [path.split("/", cut)[-1] for path in paths] if cut > 0 else paths


def _least_depth(paths: Iterable[str]) -> int:
    return min((path.count("/") for path in paths), default=0)

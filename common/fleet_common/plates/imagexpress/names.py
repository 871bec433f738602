"""The names of the files of a plate, and their order.

``<plate>_<well>[_s<site>][_w<wave>][<GUID>].TIF``: MetaXpress leaves out site and wave where there is but one, adds
the GUID in its database and leaves it out in exports. Thumbnails hold ``_thumb``. Pure functions, no threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from fleet_common.plates.imagexpress.htd import Plan
from fleet_common.plates.javaorder import java_order
from fleet_common.plates.model import Names, WellPosition, well_name
from fleet_common.storage.paths import join

THUMB: Final = "_thumb"
ENDINGS: Final = (".tif", ".tiff")

# The GUID has a fixed length, so that w1 and a GUID that begins with 0 is not w10.
_GUID: Final = r"_?\[?[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\]?"
_PLACE: Final = re.compile(rf"(?:_s([0-9]{{1,5}}))?(?:_w([0-9]{{1,3}}))?(?:{_GUID})?\.tiff?", re.IGNORECASE | re.ASCII)


class Place(NamedTuple):
    """Where in a well an image belongs, both from 1."""

    site: int
    wave: int


def well_prefix(stem: str, well: WellPosition) -> str:
    """How the names of all files of a well begin."""
    return f"{stem}_{well_name(*well)}"


def place_of(rest: str, plan: Plan) -> Place | None:
    """Read what follows the well in a name; None if it is no image of the plan."""
    match = _PLACE.fullmatch(rest)
    if not match:
        return None
    place = Place(_number(match[1], plan.sites), _number(match[2], len(plan.waves)))
    return place if 1 <= place.site <= plan.sites and 1 <= place.wave <= len(plan.waves) else None


def _number(text: str | None, many: int) -> int:
    """A number that is not told is 1 if there is but one."""
    if text is None:
        return 1 if many == 1 else 0
    return int(text)


def plain_rest(place: Place, plan: Plan) -> str:
    """What follows the well in a name without GUID and ending."""
    site = f"_s{place.site}" if plan.sites > 1 else ""
    wave = f"_w{place.wave}" if plan.waves_named else ""
    return f"{site}{wave}"


def site_order(plan: Plan, *, sorted_names: bool) -> tuple[int, ...]:
    """The sites of a well as Bio-Formats makes fields of them.

    Args:
        plan: Of the plate.
        sorted_names: Whether it takes names as they sort: then ``_s10_`` comes before ``_s1_``, while ``_s1.`` comes
            before ``_s10.``. Else it counts.
    """
    sites = range(1, plan.sites + 1)
    if not sorted_names:
        return tuple(sites)
    return tuple(sorted(sites, key=lambda site: f"{site}{'_' if plan.waves_named else '.'}"))


def is_thumb(name: str) -> bool:
    """Whether the reader takes a file for a thumbnail."""
    return THUMB in name.lower()


def thumbnails(folder: PurePosixPath, names: Names) -> Iterator[str]:
    """The thumbnails beside the HTD, of whatever plate, which Bio-Formats takes along after the images."""
    for name in java_order(names.files):
        if name.lower().find(THUMB) > 0 and not name.startswith("."):
            yield str(join(folder, name))

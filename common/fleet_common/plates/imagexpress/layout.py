"""Makes a plate of a plan and of the files that are there: the same wells, fields and planes as Bio-Formats.

Bio-Formats 6.7 and 7.3.1 (``MetaxpressTiffReader.getTiffFiles``) look for the files of a well beside the HTD under
their plain names; if there is none of them, for whatever begins like the well there; if there is nothing, in
``TimePoint_<t>/ZStep_<z>``. In the last two cases they take the names as they sort, one after the other, so that one
missing file puts every image after it into a wrong place. What is found is therefore laid into the plan by its name,
and a plane without a file gets the name that it would have in an export: no file has that name, so it is missing. Pure
but for the reader that it is given.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.imagexpress.htd import Plan
from fleet_common.plates.imagexpress.names import (
    ENDINGS,
    Place,
    is_thumb,
    place_of,
    plain_rest,
    site_order,
    well_prefix,
)
from fleet_common.plates.javaorder import java_order
from fleet_common.plates.model import Names, Plane, Reader, WellPosition
from fleet_common.storage.paths import join

_EXPORTED: Final = ".TIF"
_MANY: Final = 8
_TIME_POINT: Final = re.compile(r"TimePoint_[0-9]+", re.ASCII)
_STEP: Final = re.compile(r"ZStep_[0-9]+", re.ASCII)
_NOTHING: Final = Names((), ())


class Layout(NamedTuple):
    """What a plate consists of.

    Attributes:
        planes: Every plane of the plan, in the order of the reader.
        first_files: The first of their files that are there.
    """

    planes: tuple[Plane, ...]
    first_files: tuple[PurePosixPath, ...]


class _Folder(NamedTuple):
    """A folder with images: its path, its time point and plane from 0, and the names of images in it by well."""

    path: PurePosixPath
    t: int
    z: int
    wells: Mapping[WellPosition, Sequence[str]]


class _Well(NamedTuple):
    """A well of a plan, and how the names of all its files begin."""

    plan: Plan
    position: WellPosition
    prefix: str

    def places(self, sites: Iterable[int]) -> Iterator[Place]:
        """Sites and waves in the order of the reader."""
        for site in sites:
            for wave in range(len(self.plan.waves)):
                yield Place(site, wave + 1)

    def plain_name(self, place: Place) -> str:
        """The name of an image without its ending."""
        return f"{self.prefix}{plain_rest(place, self.plan)}"


def lay_out(plan: Plan, entry: PurePosixPath, top: Names, reader: Reader) -> Layout:
    """Lay the files into the plan.

    Args:
        plan: Of the HTD.
        entry: The HTD.
        top: The names beside it.
        reader: For the folders below.

    Raises:
        Permanent: ``format-broken`` when a name begins like a well and is no image of the plan, or when two are the
            same plane; ``unsupported`` where Bio-Formats would put images into wrong places.
    """
    beside = _beside(plan, entry, top)
    below = tuple(_below(plan, entry, top, reader))
    planes: list[Plane] = []
    first_files: list[PurePosixPath] = []
    for position in plan.wells:
        well = _Well(plan, position, well_prefix(entry.stem, position))
        for plane, is_there in _of_well(well, beside, below):
            planes.append(plane)
            if is_there and plane.path and len(first_files) < _MANY:
                first_files.append(PurePosixPath(plane.path))
    return Layout(tuple(planes), tuple(first_files))


def _beside(plan: Plan, entry: PurePosixPath, top: Names) -> _Folder:
    names = (name for name in top.files if name.lower().endswith(ENDINGS))
    wells = _by_well(plan, entry.stem, names)
    if plan.timepoints * plan.steps > 1:
        in_folders = any(_TIME_POINT.fullmatch(name) for name in top.folders)
        steps = () if in_folders else (name for name in top.folders if _STEP.fullmatch(name))
        for name in (*(names[0] for names in wells.values()), *steps):
            raise failure(
                Reason.UNSUPPORTED,
                f"{entry.parent / name} lies beside the HTD, which plans {plan.timepoints} time points and "
                f"{plan.steps} planes: Bio-Formats finds these only in folders TimePoint_<t>/ZStep_<z>; export the "
                "plate with MetaXpress",
            )
    return _Folder(entry.parent, 0, 0, wells)


def _below(plan: Plan, entry: PurePosixPath, top: Names, reader: Reader) -> Iterator[_Folder]:
    """The folders of the plan, also those that are not there yet, by time point and plane; none in a flat plate."""
    if plan.timepoints * plan.steps == 1 and not any(_TIME_POINT.fullmatch(name) for name in top.folders):
        return
    for t in range(plan.timepoints):
        name = f"TimePoint_{t + 1}"
        inside = reader.names(entry.parent / name) if name in top.folders else _NOTHING
        for z in range(plan.steps):
            path, names = _step(plan, entry.parent / name, inside, z, reader)
            # Bio-Formats asks for no ending here, and takes a folder for an image, too.
            yield _Folder(path, t, z, _by_well(plan, entry.stem, (*names.files, *names.folders)))


def _step(plan: Plan, time_point: PurePosixPath, inside: Names, z: int, reader: Reader) -> tuple[PurePosixPath, Names]:
    """Where the images of a plane are; without a stack they may lie in the folder of the time point."""
    path = time_point / f"ZStep_{z + 1}"
    if path.name in inside.folders:
        return path, reader.names(path)
    return (path, _NOTHING) if plan.steps > 1 else (time_point, inside)


def _by_well(plan: Plan, stem: str, names: Iterable[str]) -> dict[WellPosition, list[str]]:
    wells = {well_prefix(stem, well): well for well in plan.wells}
    length = len(stem) + len("_A01")
    found: dict[WellPosition, list[str]] = defaultdict(list)
    for name in names:
        well = wells.get(name[:length])
        if well is not None and not is_thumb(name[length:]):
            found[well].append(name)
    return found


def _of_well(well: _Well, beside: _Folder, below: Sequence[_Folder]) -> Iterator[tuple[Plane, bool]]:
    """The planes of a well, and whether their files are there."""
    names = beside.wells.get(well.position, ())
    plain = _plain(well, names)
    if plain or (not names and not below):
        yield from _planes(well, beside, plain, site_order(well.plan, sorted_names=False))
        return
    sites = site_order(well.plan, sorted_names=True)
    for folder in [beside] if names else below:
        found = _placed(well, folder)
        _refuse_wrong_order(well, folder, found, sites)
        yield from _planes(well, folder, found, sites)


def _plain(well: _Well, names: Sequence[str]) -> dict[Place, str]:
    """The files with exactly the names that Bio-Formats asks for first; ``.tif`` before ``.TIF``."""
    present = set(names)
    found: dict[Place, str] = {}
    for place in well.places(site_order(well.plan, sorted_names=False)) if present else ():
        base = well.plain_name(place)
        name = next((name for name in (f"{base}.tif", f"{base}{_EXPORTED}") if name in present), None)
        if name is not None:
            found[place] = name
    return found


def _placed(well: _Well, folder: _Folder) -> dict[Place, str]:
    """All files of a well in one folder by their places, in the order of the reader."""
    found: dict[Place, str] = {}
    for name in java_order(folder.wells.get(well.position, ())):
        place = place_of(name[len(well.prefix) :], well.plan)
        if place is None:
            raise _stray(folder.path / name)
        if place in found:
            raise failure(
                Reason.FORMAT_BROKEN,
                f"{folder.path / name} is the same image as {printable(found[place])} beside it: move one away",
            )
        found[place] = name
    return found


def _stray(path: PurePosixPath) -> RequestError:
    return failure(
        Reason.FORMAT_BROKEN,
        f"{path} begins like an image of a well and is none of the plan: Bio-Formats would take it for one, and every "
        "image after it for another; if it is not being copied or written now, move it away",
    )


def _refuse_wrong_order(well: _Well, folder: _Folder, found: Mapping[Place, str], sites: Sequence[int]) -> None:
    """Whether Bio-Formats, which takes the names as they sort, finds every image where it belongs."""
    if len(found) < well.plan.sites * len(well.plan.waves):
        return
    for wanted, (place, name) in zip(well.places(sites), found.items(), strict=True):
        if wanted != place:
            raise failure(
                Reason.UNSUPPORTED,
                f"{folder.path / name} sorts before other names of its well, so that Bio-Formats would take it for "
                f"site {wanted.site}, wave {wanted.wave}: ten or more waves, or ten or more sites with GUIDs and "
                "without waves, cannot be imported; export the plate beside its HTD without GUIDs",
            )


def _planes(
    well: _Well, folder: _Folder, found: Mapping[Place, str], sites: Sequence[int]
) -> Iterator[tuple[Plane, bool]]:
    field_of = {site: field for field, site in enumerate(sites)}
    for place in well.places(sites):
        name = found.get(place)
        path = join(folder.path, name or f"{well.plain_name(place)}{_EXPORTED}")
        plane = Plane(*well.position, field_of[place.site], folder.t, folder.z, place.wave - 1, str(path))
        yield plane, name is not None

"""One kit per plate format: how to make a small plate of it, so that one test holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from fleet_common.errors import FleetError
from fleet_common.plates import End, Plate, PlateFormat, Reader, detect, plate_format, problems
from fleet_stack.plates import PlaneKey, PlateSpec, make_plate
from fleet_stack.plates.harmony7 import make_harmony7
from fleet_stack.plates.imagexpress import Options as ImageXpressOptions
from fleet_stack.plates.imagexpress import make_imagexpress
from fleet_stack.plates.incell import make_incell
from fleet_stack.plates.ometiff import Options as OmeTiffOptions
from fleet_stack.plates.ometiff import make_ometiff
from fleet_stack.plates.omezarr import Options as OmeZarrOptions
from fleet_stack.plates.omezarr import make_omezarr
from fleet_stack.plates.yokogawa import make_yokogawa
from support.memory import Memory


@dataclass(frozen=True)
class Made:
    """A plate on disk.

    Attributes:
        root: Stands for the share.
        folder: What one submits.
        entry: What Bio-Formats is given.
        files: Every file of the fileset, the entry first.
        images: The file of each plane.
        index: The files without which no plane is known, and which are not whole when they are cut.
    """

    root: Path
    folder: Path
    entry: Path
    files: tuple[Path, ...]
    images: Mapping[PlaneKey, Path]
    index: tuple[Path, ...]

    def relative(self, path: Path) -> str:
        """As the share spells it."""
        return path.relative_to(self.root).as_posix()

    def memory(self, image: bytes | None = None) -> Memory:
        """All its files in memory; those that are not on disk are such images."""
        content = {path: path.read_bytes() for path in self.files if image is None or path.exists()}
        files = {self.relative(path): content.get(path, image or b"") for path in self.files}
        return Memory(files, self.relative(self.folder))


@dataclass(frozen=True)
class Kit:
    """A plate format and its maker.

    Attributes:
        format: Its name.
        make: Writes a plate of a spec below a folder.
        writer: The function that writes the images, to be left out where only names matter; empty if it has none.
        has_identity: Whether its files have an id of the measurement.
        stacks: Whether it has planes and time points in the layout that is made.
    """

    format: str
    make: Callable[[Path, PlateSpec], Made]
    writer: str
    has_identity: bool = True
    stacks: bool = True


def _harmony(root: Path, spec: PlateSpec) -> Made:
    made = make_plate(root, spec)
    return Made(root, made.folder, made.entry, made.files, made.tiffs, (made.entry,))


def _harmony7(root: Path, spec: PlateSpec) -> Made:
    made = make_harmony7(root, spec)
    return Made(root, made.folder, made.entry, made.files, made.tiffs, (made.entry,))


def _yokogawa(root: Path, spec: PlateSpec) -> Made:
    made = make_yokogawa(root, spec)
    index = (made.entry, made.data, made.detail, made.settings)
    return Made(root, made.folder, made.entry, made.files, made.tiffs, index)


def _imagexpress(root: Path, spec: PlateSpec) -> Made:
    made = make_imagexpress(root, spec)
    return Made(root, made.folder, made.entry, made.files, made.tiffs, (made.entry,))


def _imagexpress_folders(root: Path, spec: PlateSpec) -> Made:
    made = make_imagexpress(root, spec, ImageXpressOptions(folders=True))
    return Made(root, made.folder, made.entry, made.files, made.tiffs, (made.entry,))


def _incell(root: Path, spec: PlateSpec) -> Made:
    made = make_incell(root, spec)
    return Made(root, made.folder, made.entry, made.files, made.tiffs, (made.entry,))


def _companion(root: Path, spec: PlateSpec) -> Made:
    made = make_ometiff(root, spec)
    return Made(root, made.folder, made.entry, made.files, made.tiffs, (made.entry,))


def _ometiffs(root: Path, spec: PlateSpec) -> Made:
    made = make_ometiff(root, spec, OmeTiffOptions(companion=False))
    return Made(root, made.folder, made.entry, made.files, made.tiffs, ())


def _omezarr(options: OmeZarrOptions) -> Callable[[Path, PlateSpec], Made]:
    def make(root: Path, spec: PlateSpec) -> Made:
        made = make_omezarr(root, spec, options)
        index = tuple(path for path in made.metadata if path.name in (".zattrs", ".zarray", "zarr.json"))
        return Made(root, made.folder, made.entry, made.files, made.tiffs, index)

    return make


KITS: Mapping[str, Kit] = {
    "harmony": Kit("harmony", _harmony, "fleet_stack.plates.harmony._write_tiffs"),
    "harmony 7": Kit("harmony", _harmony7, "fleet_stack.plates.harmony._write_tiffs"),
    "yokogawa": Kit("yokogawa", _yokogawa, "fleet_stack.plates.yokogawa._write_tiffs"),
    "imagexpress": Kit("imagexpress", _imagexpress, "fleet_stack.plates.imagexpress._write_tiffs", stacks=False),
    "imagexpress, folders": Kit("imagexpress", _imagexpress_folders, "fleet_stack.plates.imagexpress._write_tiffs"),
    "incell": Kit("incell", _incell, "fleet_stack.plates.incell._write_tiffs"),
    "ome-tiff, companion": Kit("ome-tiff", _companion, "fleet_stack.plates.ometiff._write_tiffs"),
    # Every TIFF of these holds the OME-XML of all: too much of it for a large plate.
    "ome-tiff": Kit("ome-tiff", _ometiffs, ""),
    # A large plate of this version has 14,000 files of metadata, twice as many as of the next.
    "ome-zarr 0.4": Kit("ome-zarr", _omezarr(OmeZarrOptions()), "", has_identity=False),
    "ome-zarr 0.5": Kit(
        "ome-zarr", _omezarr(OmeZarrOptions("0.5")), "fleet_stack.plates.omezarr._write_chunks", has_identity=False
    ),
}


def look(kit: Kit, folder: str, reader: Reader) -> Plate:
    """Read a plate from its folder as producer and worker do; no other format may take it."""
    found, entry = detect(PurePosixPath(folder), reader)
    assert found.name == kit.format
    return found.read(entry, reader)


def complete(kit: Kit, folder: str, there: Memory) -> bool:
    """Whether nothing is missed and the instrument does not say that it goes on; what cannot be read is not."""
    read_as = _loaded(kit.format)
    try:
        entry = read_as.find_entry(PurePosixPath(folder), there)
        if entry is None:
            return False
        plate = read_as.read(entry, there)
    except FleetError:
        return False
    return not problems(plate, there.sizes) and plate.end is not End.RUNNING


@cache
def _loaded(name: str) -> PlateFormat:
    """Asked for thousands of times."""
    return plate_format(name)

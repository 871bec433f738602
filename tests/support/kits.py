"""One kit per plate format: how to make a small plate of it, so that one test holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tifffile

from fleet_common.errors import FleetError
from fleet_common.plates import End, Plate, PlateFormat, Reader, detect, plate_format, problems
from fleet_stack.plates import PlaneKey, PlateSpec, make_plate
from fleet_stack.plates.harmony7 import make_harmony7
from fleet_stack.plates.imagexpress import Options as ImageXpressOptions
from fleet_stack.plates.imagexpress import make_imagexpress
from fleet_stack.plates.incell import make_incell
from fleet_stack.plates.ometiff import OmeTiffSet, make_ometiff, ome_xml
from fleet_stack.plates.ometiff import Options as OmeTiffOptions
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
        texts: Content of files that need not be on disk.
    """

    root: Path
    folder: Path
    entry: Path
    files: tuple[Path, ...]
    images: Mapping[PlaneKey, Path]
    index: tuple[Path, ...]
    texts: Mapping[Path, str] = field(default_factory=dict)

    def relative(self, path: Path) -> str:
        """As the share spells it."""
        return path.relative_to(self.root).as_posix()

    def memory(self, image: bytes | None = None) -> Memory:
        """All its files in memory; those that are not on disk are such images."""
        content = {path: text.encode() for path, text in self.texts.items()}
        missing = (path for path in self.files if path not in content)
        content |= {path: path.read_bytes() for path in missing if image is None or path.exists()}
        files = {self.relative(path): content.get(path, image or b"") for path in self.files}
        return Memory(files, self.relative(self.folder))


@dataclass(frozen=True)
class Kit:
    """A plate format and its maker.

    Attributes:
        format: Its name.
        make: Writes a plate of a spec below a folder.
        names_only: What to put in place of the maker's functions that write, by their names, where only names matter.
        has_identity: Whether its files have an id of the measurement.
        stacks: Whether it has planes and time points in the layout that is made.
    """

    format: str
    make: Callable[[Path, PlateSpec], Made]
    names_only: Mapping[str, Callable[..., None]]
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
        return Made(root, made.folder, made.entry, made.files, made.tiffs, index, made.metadata)

    return make


def _folders_only(*arguments: Any) -> None:
    """The last argument of a maker's function is the plate."""
    for folder in {path.parent for path in arguments[-1].tiffs.values()}:
        folder.mkdir(parents=True, exist_ok=True)


def _entry_only(spec: PlateSpec, options: OmeTiffOptions, made: OmeTiffSet) -> None:
    """Every TIFF of such a set holds the OME-XML of all, and one of them is read."""
    text = ome_xml(spec, options, made, made.entry).encode()
    tifffile.imwrite(made.entry, np.zeros((spec.size, spec.size), spec.dtype), metadata=None, description=text)


def _nothing(*_: Any) -> None:
    """All that is read is in memory."""


_ZARR: Mapping[str, Callable[..., None]] = {
    "fleet_stack.plates.omezarr._write_metadata": _nothing,
    "fleet_stack.plates.omezarr._write_chunks": _nothing,
}


def _folders(maker: str) -> Mapping[str, Callable[..., None]]:
    return {f"fleet_stack.plates.{maker}._write_tiffs": _folders_only}


KITS: Mapping[str, Kit] = {
    "harmony": Kit("harmony", _harmony, _folders("harmony")),
    "harmony 7": Kit("harmony", _harmony7, _folders("harmony")),
    "yokogawa": Kit("yokogawa", _yokogawa, _folders("yokogawa")),
    "imagexpress": Kit("imagexpress", _imagexpress, _folders("imagexpress"), stacks=False),
    "imagexpress, folders": Kit("imagexpress", _imagexpress_folders, _folders("imagexpress")),
    "incell": Kit("incell", _incell, _folders("incell")),
    "ome-tiff, companion": Kit("ome-tiff", _companion, _folders("ometiff")),
    "ome-tiff": Kit("ome-tiff", _ometiffs, {"fleet_stack.plates.ometiff._write_tiffs": _entry_only}),
    "ome-zarr 0.4": Kit("ome-zarr", _omezarr(OmeZarrOptions()), _ZARR, has_identity=False),
    "ome-zarr 0.5": Kit("ome-zarr", _omezarr(OmeZarrOptions("0.5")), _ZARR, has_identity=False),
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

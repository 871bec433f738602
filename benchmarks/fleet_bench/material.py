"""The files that are measured with: made once for all runs, the same for both sides.

Threading: one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tifffile

from fleet_stack.plates import PlateSpec, make_plate, tiff

HARMONY: Final = "loci.formats.in.OperettaReader"
_MANY_FILESETS: Final = 4
_MANY_FILES: Final = 100
_PLATE_PIXELS: Final = 222
"""In x and y, of 2 bytes each: a TIFF of 100 kB."""
_SINGLE_PIXELS: Final = 500
"""As above, of 0.5 MB."""
_BIG_PIXELS: Final = 2048
"""A plane of 8 MB: below the size from which OMERO makes pyramids and does not look at every pixel."""
_BIG_PLANES: Final = 250


@dataclass(frozen=True, slots=True)
class Fileset:
    """What becomes one fileset.

    Attributes:
        files: All of them, the entry first.
        reader: Bio-Formats' class for them; empty where OMERO needs to be told none.
    """

    files: tuple[Path, ...]
    reader: str = ""

    @property
    def entry(self) -> Path:
        """What both sides are given."""
        return self.files[0]

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.stat().st_size for file in self.files)


def many(share: Path, files: int = _MANY_FILES) -> list[Fileset]:
    """Four plates of one image each: an index and 100 planes of 8 kB.

    The shape of github.com/openmicroscopy/openmicroscopy/pull/5828: 4 filesets, 404 files, 4 images.
    """
    specs = (
        PlateSpec(f"many-{number}", wells=1, fields=1, channels=1, planes=files, size=64, seed=number, companions=False)
        for number in range(_MANY_FILESETS)
    )
    return [_plate(share, spec) for spec in specs]


def plate(share: Path, wells: int = 96) -> list[Fileset]:
    """One Harmony plate of 4 fields and 5 channels, 100 kB a file: 1,920 images and the index with 96 wells."""
    spec = PlateSpec(f"plate-{wells}", wells=wells, fields=4, channels=5, size=_PLATE_PIXELS, companions=False)
    return [_plate(share, spec)]


def singles(share: Path, count: int) -> list[Fileset]:
    """TIFFs of 0.5 MB, one image each, in one folder."""
    folder = share / f"singles-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / f"cell {number:03d}.tif" for number in range(count))
    return [Fileset((tiff(path, size=_SINGLE_PIXELS, seed=number),)) for number, path in enumerate(paths)]


def big(share: Path, planes: int = _BIG_PLANES) -> list[Fileset]:
    """One TIFF of 250 planes of 8 MB, 2.1 GB in all."""
    path = share / f"big-{planes}.tif"
    if not path.exists():
        pixels = np.random.default_rng(planes).integers(0, 4096, (_BIG_PIXELS, _BIG_PIXELS), dtype=np.uint16)
        with tifffile.TiffWriter(path) as file:
            for number in range(planes):
                file.write(np.roll(pixels, number), photometric="minisblack", metadata=None, contiguous=False)
    return [Fileset((path,))]


def _plate(share: Path, spec: PlateSpec) -> Fileset:
    return Fileset(make_plate(share, spec).files, HARMONY)

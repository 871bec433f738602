"""What a made plate is: its description, its planes and where their files are. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class PlaneKey(NamedTuple):
    """Which plane of a plate; all from 0, in the order in which Bio-Formats lists the files."""

    row: int
    column: int
    field: int
    t: int
    z: int
    c: int


@dataclass(frozen=True, slots=True)
class PlateSpec:
    """What to make.

    Attributes:
        name: Name and barcode of the plate.
        wells: How many wells; they fill a rectangle where the number allows it.
        fields: In each well.
        channels: In each field.
        planes: In each stack.
        timepoints: Of each field.
        size: Pixels in x and y.
        seed: Another seed gives other pixels and another measurement id.
        harmony: The version of the layout's namespace, 1 to 6.
        measurement_id: Empty to derive it from name and seed.
        positions: Row and column of each well from 0, instead of ``wells``.
        absent: Fields (row, column, field, all from 0) that were not measured and are not in the index.
        dtype: ``uint8`` or ``uint16``.
        companions: Whether there are files beside the images.
    """

    name: str = "demo"
    wells: int = 24
    fields: int = 4
    channels: int = 3
    planes: int = 1
    timepoints: int = 1
    size: int = 512
    seed: int = 0
    harmony: int = 5
    measurement_id: str = ""
    positions: tuple[tuple[int, int], ...] = ()
    absent: frozenset[tuple[int, int, int]] = field(default_factory=frozenset)
    dtype: str = "uint16"
    companions: bool = True


@dataclass(frozen=True, slots=True)
class MadePlate:
    """What was made.

    Attributes:
        spec: What was asked for.
        folder: The measurement's folder.
        entry: The index, which is what one imports.
        companions: Files that belong to the plate but are neither index nor image.
        tiffs: The file of each plane, in the order of Bio-Formats.
        measurement_id: As in the index.
        rows: Rows of the plate.
        columns: Columns of the plate.
    """

    spec: PlateSpec
    folder: Path
    entry: Path
    companions: tuple[Path, ...]
    tiffs: dict[PlaneKey, Path]
    measurement_id: str
    rows: int
    columns: int

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the fileset in the order of Bio-Formats, the entry first."""
        return (self.entry, *self.companions, *self.tiffs.values())

    @property
    def wells(self) -> tuple[tuple[int, int], ...]:
        """Row and column of every measured well, from 0."""
        return tuple(dict.fromkeys((key.row, key.column) for key in self.tiffs))


def file_name(key: PlaneKey) -> str:
    """The name that Harmony gives the file of a plane."""
    return (
        f"r{key.row + 1:02d}c{key.column + 1:02d}f{key.field + 1:02d}p{key.z + 1:02d}"
        f"-ch{key.c + 1}sk{key.t + 1}fk1fl1.tiff"
    )

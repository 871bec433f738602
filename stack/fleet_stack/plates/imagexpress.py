"""Makes ImageXpress plates: the layouts that MetaXpress writes, real TIFFs, any size.

``make_imagexpress`` writes one folder: ``<plate>.HTD``, the plan of the acquisition, and one TIFF per plane, either
beside it (as the database keeps them: names end with a GUID, and thumbnails lie among them) or in
``TimePoint_<t>/ZStep_<z>`` (as they are exported, with copies of the HTD and projections in ``ZStep_0``). The same spec
gives the same bytes. One call writes with two threads of its own and waits for them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tifffile

from fleet_stack.console import StackError
from fleet_stack.plates import pixels
from fleet_stack.plates.positions import arranged, keys_of, row_letters
from fleet_stack.plates.spec import PlaneKey, PlateSpec

SOFTWARE: Final = "MetaSeries"
"""The software tag of every TIFF, by which Bio-Formats knows its metadata."""

_WRITERS: Final = 2
_NAMESPACE: Final = uuid.UUID("0c6a1f0e-8a5e-4d57-9b61-2b8f4a7a3d10")
_WAVES: Final = ("DAPI", "FITC", "Texas Red", "Cy5", "Cy7")
_DESCRIPTION: Final = (
    '<MetaData>\n<prop id="ApplicationName" type="string" value="MetaMorph"/>\n<PlaneInfo>\n'
    '<prop id="acquisition-time-local" type="time" value="20260101 10:00:00.000"/>\n'
    '<prop id="_IllumSetting_" type="string" value="{wave}"/>\n</PlaneInfo>\n</MetaData>'
)


@dataclass(frozen=True, slots=True)
class Options:
    """What only this vendor has.

    Attributes:
        folders: Put the TIFFs into ``TimePoint_<t>`` and, where there are several planes, ``ZStep_<z>``.
        guids: Let every name end with a GUID and ``.tif``, as in the database; exports have neither.
        thumbs: Write a thumbnail of each plane beside it.
        projections: Write a projection of each stack into ``ZStep_0``.
        grid: Columns and rows of sites; None for the smallest square that has them. The first ones are selected.
        z_steps: What the HTD says of planes; None to say what is there. MetaXpress 6.7 says 0 for no stack.
        ending: Of lines of the HTD.
        encoding: Of the HTD; the description in it is not ASCII.
    """

    folders: bool = False
    guids: bool = False
    thumbs: bool = False
    projections: bool = False
    grid: tuple[int, int] | None = None
    z_steps: int | None = None
    ending: str = "\r\n"
    encoding: str = "cp1252"


@dataclass(frozen=True, slots=True)
class ImageXpressPlate:
    """What was made.

    Attributes:
        options: What was asked for.
        folder: Everything is in it.
        entry: The HTD, which is what one imports.
        tiffs: The file of each plane, in the order of wells, sites, time points, planes and waves.
        thumbs: Thumbnails, which Bio-Formats takes along where they lie beside the HTD.
        projections: In ``ZStep_0``, which Bio-Formats leaves out.
        plate_id: The id in the HTD.
        rows: Rows of the plate.
        columns: Columns of the plate.
    """

    options: Options
    folder: Path
    entry: Path
    tiffs: dict[PlaneKey, Path]
    thumbs: tuple[Path, ...]
    projections: tuple[Path, ...]
    plate_id: str
    rows: int
    columns: int

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the fileset in the order of Bio-Formats: the entry, wells, thumbnails beside the entry.

        In folders and with GUIDs it takes the files of a well as their names sort, else site by site.
        """
        keys = self.tiffs if self._is_plain else sorted(self.tiffs, key=self._place)
        thumbs = () if self.options.folders else sorted(self.thumbs)
        return (self.entry, *(self.tiffs[key] for key in keys), *thumbs)

    @property
    def _is_plain(self) -> bool:
        return not self.options.folders and not self.options.guids

    def _place(self, key: PlaneKey) -> tuple[int, int, int, int, str]:
        return key.row, key.column, key.t, key.z, self.tiffs[key].name


def make_imagexpress(root: Path, spec: PlateSpec, options: Options | None = None) -> ImageXpressPlate:
    """Write a plate below ``root``, over what is there of the same name.

    Args:
        root: Gets one folder with the plate's name.
        spec: What to make; its ``harmony`` and ``companions`` do not matter.
        options: What only this vendor has.

    Raises:
        StackError: The spec makes no plate; stacks and time points need folders.
    """
    chosen = options or Options()
    if not chosen.folders and spec.timepoints * spec.planes > 1:
        raise StackError("stacks and time points need folders")
    rows, columns, positions = arranged(spec)
    folder = root / spec.name
    tiffs = {key: folder / _place(spec, chosen, key) / _name(spec, chosen, key) for key in keys_of(spec, positions)}
    plate = ImageXpressPlate(
        options=chosen,
        folder=folder,
        entry=folder / f"{spec.name}.HTD",
        tiffs=tiffs,
        thumbs=tuple(_thumb(path, spec, chosen, key) for key, path in tiffs.items()) if chosen.thumbs else (),
        projections=tuple(_projections(folder, tiffs)) if chosen.projections else (),
        plate_id=spec.measurement_id or str(uuid.uuid5(_NAMESPACE, f"{spec.name}/{spec.seed}")),
        rows=rows,
        columns=columns,
    )
    _write_tiffs(spec, plate)
    _write_htds(spec, chosen, plate)
    return plate


def htd(spec: PlateSpec, options: Options, plate_id: str) -> str:
    """The text of the HTD."""
    return options.ending.join((*_lines(spec, options, plate_id), ""))


def _place(spec: PlateSpec, options: Options, key: PlaneKey) -> Path:
    if not options.folders:
        return Path()
    return Path(f"TimePoint_{key.t + 1}", *([f"ZStep_{key.z + 1}"] if spec.planes > 1 else []))


def _name(spec: PlateSpec, options: Options, key: PlaneKey, thumb: str = "") -> str:
    """The name that MetaXpress gives to the file of a plane, or to its thumbnail."""
    well = f"{row_letters(key.row)}{key.column + 1:02d}"
    site = f"_s{key.field + 1}" if spec.fields > 1 else ""
    wave = f"_w{key.c + 1}" if spec.channels > 1 else ""
    guid = str(uuid.uuid5(_NAMESPACE, f"{spec.seed}/{key}{thumb}")).upper() if options.guids else ""
    return f"{spec.name}_{well}{site}{wave}{thumb}{guid}{'.tif' if options.guids else '.TIF'}"


def _thumb(path: Path, spec: PlateSpec, options: Options, key: PlaneKey) -> Path:
    return path.with_name(_name(spec, options, key, "_thumb"))


def _projections(folder: Path, tiffs: dict[PlaneKey, Path]) -> Iterator[Path]:
    for key, path in tiffs.items():
        if key.z == 0:
            yield folder / f"TimePoint_{key.t + 1}" / "ZStep_0" / path.name


def _write_tiffs(spec: PlateSpec, plate: ImageXpressPlate) -> None:
    for folder in {path.parent for path in (*plate.tiffs.values(), *plate.projections)}:
        folder.mkdir(parents=True, exist_ok=True)

    def write(job: tuple[Path, int, tuple[int, ...], int]) -> None:
        path, size, seed, wave = job
        _write_tiff(path, size=size, seed=seed, dtype=spec.dtype, wave=wave)

    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in pool.map(write, _jobs(spec, plate)):
            pass


def _jobs(spec: PlateSpec, plate: ImageXpressPlate) -> Iterator[tuple[Path, int, tuple[int, ...], int]]:
    for key, path in plate.tiffs.items():
        yield path, spec.size, (spec.seed, *key), key.c
    for key, path in zip(plate.tiffs, plate.thumbs, strict=False):
        yield path, 8, (spec.seed, *key), key.c
    firsts = (key for key in plate.tiffs if key.z == 0)
    for key, path in zip(firsts, plate.projections, strict=False):
        yield path, spec.size, (spec.seed, *key, 1), key.c


def _write_tiff(path: Path, *, size: int, seed: Sequence[int], dtype: str, wave: int) -> None:
    tifffile.imwrite(
        path,
        pixels.plane(size, tuple(seed), dtype),
        photometric="minisblack",
        metadata=None,
        software=SOFTWARE,
        description=_DESCRIPTION.format(wave=_wave(wave)),
        # tifffile itself only writes the format that TIFF prescribes
        extratags=[(306, "s", 0, "20260101 10:00:00.000", True)],
    )


def _write_htds(spec: PlateSpec, options: Options, plate: ImageXpressPlate) -> None:
    """One beside the images' folders; an export has a copy in each of them."""
    plate.folder.mkdir(parents=True, exist_ok=True)
    content = htd(spec, options, plate.plate_id).encode(options.encoding)
    for folder in {plate.folder, *(path.parent for path in (*plate.tiffs.values(), *plate.projections))}:
        (folder / plate.entry.name).write_bytes(content)


def _lines(spec: PlateSpec, options: Options, plate_id: str) -> Iterator[str]:
    rows, columns, positions = arranged(spec)
    yield from (
        '"HTSInfoFile", Version 1.0',
        f'"Description", "{spec.channels} waves, 10 \N{MICRO SIGN}m, no cells"',
        '"PlateType", 2',
        f'"TimePoints", {spec.timepoints}',
        f'"ZSeries", {_flag(on=spec.planes > 1)}',
        f'"ZSteps", {spec.planes if options.z_steps is None else options.z_steps}',
        f'"ZProjection", {_flag(on=options.projections)}',
        f'"XWells", {columns}',
        f'"YWells", {rows}',
    )
    for row in range(rows):
        yield _selection(f"WellsSelection{row + 1}", ((row, column) in positions for column in range(columns)))
    yield from _site_lines(spec, options)
    yield f'"Waves", {_flag(on=spec.channels > 1)}'
    yield f'"NWavelengths", {spec.channels}'
    yield from (f'"WaveName{wave + 1}", "{_wave(wave)}"' for wave in range(spec.channels))
    yield from (f'"WaveCollect{wave + 1}", 1' for wave in range(spec.channels))
    yield f'"UniquePlateIdentifier", "{plate_id}"'
    yield '"EndFile"'


def _site_lines(spec: PlateSpec, options: Options) -> Iterator[str]:
    side = next(side for side in range(1, spec.fields + 1) if side * side >= spec.fields)
    columns, rows = options.grid or (side, side)
    yield f'"Sites", {_flag(on=spec.fields > 1)}'
    yield f'"XSites", {columns}'
    yield f'"YSites", {rows}'
    if spec.fields > 1:
        for row in range(rows):
            numbers = range(row * columns, (row + 1) * columns)
            yield _selection(f"SiteSelection{row + 1}", (number < spec.fields for number in numbers))


def _selection(key: str, chosen: Iterable[bool]) -> str:
    return f'"{key}", {", ".join(_flag(on=one) for one in chosen)}'


def _flag(*, on: bool) -> str:
    return "TRUE" if on else "FALSE"


def _wave(wave: int) -> str:
    return _WAVES[wave] if wave < len(_WAVES) else f"wave {wave + 1}"

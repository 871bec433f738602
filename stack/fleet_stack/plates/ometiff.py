"""Makes OME-TIFF sets: a companion and its TIFFs, or TIFFs that all hold the same OME-XML; plates or plain images.

``make_ometiff`` writes one folder. TIFFs hold a plane, a field or everything. The same spec gives the same bytes. One
call writes with two threads of its own and waits for them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np
import tifffile

from fleet_stack.plates import pixels
from fleet_stack.plates.positions import arranged, keys_of, row_letters
from fleet_stack.plates.spec import PlaneKey, PlateSpec

_WRITERS: Final = 2
_NAMESPACE: Final = uuid.UUID("b0cbd7c1-6b6a-4f0f-9a0e-6f0d7b6d2c11")
_SCHEMA: Final = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_CHANNELS: Final = ("DAPI", "FITC", "Cy3", "Cy5")
_ORDER: Final = "XYCZT"


@dataclass(frozen=True, slots=True)
class Options:
    """What only OME-TIFF has.

    Attributes:
        companion: Put the OME-XML into ``<name>.companion.ome``; else every TIFF holds it.
        each: What one TIFF holds.
        plate: Whether there is a plate; else only images.
        known: Whether the file with the OME-XML has a UUID of its own.
        counted: Whether each TiffData says how many planes it has; else it fills up.
        order: In which the planes are; pages of a TIFF follow it, too.
        ending: Of TIFFs.
    """

    companion: bool = True
    each: Literal["plane", "field", "plate"] = "plane"
    plate: bool = True
    known: bool = True
    counted: bool = True
    order: str = _ORDER
    ending: str = ".ome.tif"


@dataclass(frozen=True, slots=True)
class OmeTiffSet:
    """What was made.

    Attributes:
        folder: Everything is in it.
        entry: The companion, else the first TIFF.
        tiffs: The file of each plane, in the order of the planes.
    """

    folder: Path
    entry: Path
    tiffs: dict[PlaneKey, Path]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the fileset in the order of Bio-Formats, the entry first."""
        return tuple(dict.fromkeys((self.entry, *self.tiffs.values())))


def make_ometiff(root: Path, spec: PlateSpec, options: Options | None = None) -> OmeTiffSet:
    """Write a set below ``root``, over what is there of the same name.

    Args:
        root: Gets one folder with the plate's name.
        spec: What to make; its ``harmony`` and ``companions`` do not matter.
        options: What only OME-TIFF has.

    Raises:
        StackError: The spec makes no plate.
    """
    chosen = options or Options()
    _, _, positions = arranged(spec)
    folder = root / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    keys = sorted(keys_of(spec, positions), key=lambda key: (*key[:3], *_in_order(key, chosen)))
    tiffs = {key: folder / f"{_name(spec, chosen, key)}{chosen.ending}" for key in keys}
    entry = folder / f"{spec.name}.companion.ome" if chosen.companion else next(iter(tiffs.values()))
    made = OmeTiffSet(folder, entry, tiffs)
    if chosen.companion:
        entry.write_text(ome_xml(spec, chosen, made, entry), encoding="utf-8")
    _write_tiffs(spec, chosen, made)
    return made


def ome_xml(spec: PlateSpec, options: Options, made: OmeTiffSet, file: Path) -> str:
    """The OME-XML as one of the files holds it."""
    rows, columns, _ = arranged(spec)
    own = f" UUID={quoteattr(_uuid(spec, file))}" if options.known else ""
    fields = [(position, list(keys)) for position, keys in groupby(made.tiffs, key=lambda key: key[:3])]
    plate = _plate(spec, rows, columns, fields) if options.plate else ""
    where = _Where(spec, options, made.tiffs, _pages(made.tiffs))
    images = "".join(_image(where, number, keys) for number, (_, keys) in enumerate(fields))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<OME xmlns="{_SCHEMA}"{own}>\n{plate}'
        '<Instrument ID="Instrument:0"><Microscope Model="demo microscope"/></Instrument>\n'
        f"{images}</OME>\n"
    )


def _in_order(key: PlaneKey, options: Options) -> tuple[int, ...]:
    at = {"Z": key.z, "C": key.c, "T": key.t}
    return tuple(at[axis] for axis in reversed(options.order[2:]))


def _name(spec: PlateSpec, options: Options, key: PlaneKey) -> str:
    if options.each == "plate":
        return spec.name
    field = f"{spec.name}_{row_letters(key.row)}{key.column + 1:02d}_f{key.field + 1:02d}"
    return field if options.each == "field" else f"{field}_t{key.t + 1}_z{key.z + 1}_c{key.c + 1}"


def _uuid(spec: PlateSpec, file: Path) -> str:
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{spec.seed}/{file.name}')}"


def _plate(spec: PlateSpec, rows: int, columns: int, fields: list[tuple[tuple[int, ...], list[PlaneKey]]]) -> str:
    wells = ""
    numbered = enumerate(position for position, _ in fields)
    for number, ((row, column), samples) in enumerate(groupby(numbered, key=lambda sample: sample[1][:2])):
        inside = "".join(
            f'<WellSample ID="WellSample:0:{number}:{field[2]}" Index="{image}"><ImageRef ID="Image:{image}"/>'
            "</WellSample>"
            for image, field in samples
        )
        wells += f'<Well ID="Well:0:{number}" Row="{row}" Column="{column}">{inside}</Well>\n'
    return (
        f'<Plate ID="Plate:0" Name={quoteattr(spec.name)} ExternalIdentifier="BC-0007" Rows="{rows}" '
        f'Columns="{columns}">\n{wells}</Plate>\n'
    )


class _Where(NamedTuple):
    """The file and the page of every plane."""

    spec: PlateSpec
    options: Options
    tiffs: Mapping[PlaneKey, Path]
    pages: Mapping[PlaneKey, int]


def _image(where: _Where, number: int, keys: list[PlaneKey]) -> str:
    spec, options = where.spec, where.options
    channels = "".join(
        f'<Channel ID="Channel:{number}:{c}" Name="{_CHANNELS[c % len(_CHANNELS)]}" SamplesPerPixel="1"/>'
        for c in range(spec.channels)
    )
    return (
        f'<Image ID="Image:{number}" Name="image {number + 1}"><AcquisitionDate>2026-01-01T10:00:00</AcquisitionDate>'
        f'<Pixels ID="Pixels:{number}" DimensionOrder="{options.order}" Type="{spec.dtype}" BigEndian="false" '
        f'SizeX="{spec.size}" SizeY="{spec.size}" SizeZ="{spec.planes}" SizeC="{spec.channels}" '
        f'SizeT="{spec.timepoints}">{channels}{"".join(_data(where, keys))}</Pixels></Image>\n'
    )


def _data(where: _Where, keys: list[PlaneKey]) -> Iterator[str]:
    for path, group in groupby(keys, key=where.tiffs.__getitem__):
        planes = list(group)
        first = planes[0]
        count = f' PlaneCount="{len(planes)}"' if where.options.counted else ""
        yield (
            f'<TiffData FirstZ="{first.z}" FirstC="{first.c}" FirstT="{first.t}" IFD="{where.pages[first]}"{count}>'
            f"<UUID FileName={quoteattr(path.name)}>{_uuid(where.spec, path)}</UUID></TiffData>"
        )


def _pages(tiffs: Mapping[PlaneKey, Path]) -> dict[PlaneKey, int]:
    """Which page of its file each plane is."""
    used: dict[Path, int] = {}
    pages = {}
    for key, path in tiffs.items():
        pages[key] = used.get(path, 0)
        used[path] = pages[key] + 1
    return pages


def _write_tiffs(spec: PlateSpec, options: Options, made: OmeTiffSet) -> None:
    inside: dict[Path, list[PlaneKey]] = {}
    for key, path in made.tiffs.items():
        inside.setdefault(path, []).append(key)

    def write(path: Path) -> None:
        planes = np.stack([pixels.plane(spec.size, (spec.seed, *key), spec.dtype) for key in inside[path]])
        text = _pixels_only(spec, made, path) if options.companion else ome_xml(spec, options, made, path)
        tifffile.imwrite(path, planes, photometric="minisblack", metadata=None, description=text.encode())

    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in pool.map(write, inside):
            pass


def _pixels_only(spec: PlateSpec, made: OmeTiffSet, path: Path) -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{_SCHEMA}" UUID={quoteattr(_uuid(spec, path))}>'
        f"<BinaryOnly MetadataFile={quoteattr(made.entry.name)} UUID={quoteattr(_uuid(spec, made.entry))}/></OME>"
    )

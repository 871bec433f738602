"""Makes OME-Zarr plates: 0.4 on Zarr 2 and 0.5 on Zarr 3, with or without shards.

``make_omezarr`` writes one folder ``<name>.zarr`` with the metadata of groups and arrays, and chunks whose content is
not compressed. A chunk is one plane; in shards it is put into a file with its index (without a checksum), as the codec
``sharding_indexed`` prescribes. The same spec gives the same bytes. Used by one thread.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from fleet_stack.plates import pixels
from fleet_stack.plates.positions import arranged, keys_of, row_letters
from fleet_stack.plates.spec import PlaneKey, PlateSpec

_CHANNELS: Final = ("DAPI", "FITC", "Cy3", "Cy5")
_AXES: Final = "tczyx"


@dataclass(frozen=True, slots=True)
class Options:
    """What only OME-Zarr has.

    Attributes:
        version: Of OME-Zarr, ``0.4`` or ``0.5``.
        separator: Between the numbers in the names of chunks.
        shards: Put all chunks of a field's time point and plane into one file; 0.5 only.
        ended: Whether the acquisition has an end.
        levels: How many resolutions; each has half the pixels of the one before.
    """

    version: str = "0.4"
    separator: str = "/"
    shards: bool = False
    ended: bool = False
    levels: int = 1


@dataclass(frozen=True, slots=True)
class OmeZarrPlate:
    """What was made.

    Attributes:
        folder: The ``.zarr``.
        entry: The metadata at its top, which is what one imports.
        metadata: Every file of metadata, with the entry.
        tiffs: The chunk of each plane in full resolution; called as in the plates of other formats.
        smaller: Files of the other resolutions.
    """

    folder: Path
    entry: Path
    metadata: dict[Path, str]
    tiffs: dict[PlaneKey, Path]
    smaller: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the fileset, the entry first and then by their paths."""
        others = {*self.metadata, *self.tiffs.values(), *self.smaller} - {self.entry}
        return (self.entry, *sorted(others, key=lambda path: path.as_posix()))


def make_omezarr(root: Path, spec: PlateSpec, options: Options | None = None) -> OmeZarrPlate:
    """Write a plate below ``root``, over what is there of the same name.

    Args:
        root: Gets one folder with the plate's name and ``.zarr``.
        spec: What to make; its ``harmony``, ``companions`` and ``measurement_id`` do not matter.
        options: What only OME-Zarr has.

    Raises:
        StackError: The spec makes no plate.
    """
    chosen = options or Options()
    rows, columns, positions = arranged(spec)
    folder = root / f"{spec.name}.zarr"
    keys = list(keys_of(spec, positions))
    plate = OmeZarrPlate(
        folder=folder,
        entry=folder / (".zattrs" if chosen.version == "0.4" else "zarr.json"),
        metadata=dict(_metadata(folder, spec, chosen, _Extent(rows, columns, keys))),
        tiffs={key: folder / _chunk(chosen, key, 0) for key in keys},
        smaller=tuple(folder / _chunk(chosen, key, level) for level in range(1, chosen.levels) for key in keys),
    )
    _write_metadata(plate)
    _write_chunks(spec, chosen, plate)
    return plate


class _Extent(NamedTuple):
    """Of the plate, and its planes."""

    rows: int
    columns: int
    keys: list[PlaneKey]


def _metadata(folder: Path, spec: PlateSpec, options: Options, extent: _Extent) -> Iterator[tuple[Path, str]]:
    fields: dict[tuple[int, int], dict[int, None]] = {}
    for key in extent.keys:
        fields.setdefault(key[:2], {})[key.field] = None
    yield from _group(folder, options, {"plate": _plate(spec, options, extent, list(fields))})
    for row in dict.fromkeys(row for row, _ in fields):
        yield from _group(folder / row_letters(row), options, {})
    for well, numbers in fields.items():
        place = folder / _well(well)
        images = [{"path": str(number), "acquisition": 0} for number in numbers]
        yield from _group(place, options, {"well": {"images": images} | _version(options)})
        for number in numbers:
            yield from _group(place / str(number), options, _image(spec, options))
            for level in range(options.levels):
                yield _array(place / str(number) / str(level), spec, options, level)


def _version(options: Options) -> dict[str, str]:
    return {"version": options.version} if options.version == "0.4" else {}


def _group(folder: Path, options: Options, attributes: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    if options.version != "0.4":
        ome = {"ome": {"version": options.version} | attributes} if attributes else {}
        yield folder / "zarr.json", _json({"zarr_format": 3, "node_type": "group", "attributes": ome})
        return
    yield folder / ".zgroup", _json({"zarr_format": 2})
    if attributes:
        yield folder / ".zattrs", _json(attributes)


def _plate(spec: PlateSpec, options: Options, extent: _Extent, wells: list[tuple[int, int]]) -> dict[str, Any]:
    ended = {"endtime": 1767262800} if options.ended else {}
    return {
        "name": spec.name,
        "rows": [{"name": row_letters(row)} for row in range(extent.rows)],
        "columns": [{"name": str(column + 1)} for column in range(extent.columns)],
        "wells": [{"path": _well(well), "rowIndex": well[0], "columnIndex": well[1]} for well in wells],
        "acquisitions": [{"id": 0, "starttime": 1767258000} | ended],
        "field_count": spec.fields,
    } | _version(options)


def _well(well: tuple[int, int]) -> str:
    return f"{row_letters(well[0])}/{well[1] + 1}"


def _image(spec: PlateSpec, options: Options) -> dict[str, Any]:
    kinds = {"t": "time", "c": "channel"}
    levels = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1, 2**level, 2**level]}]}
        for level in range(options.levels)
    ]
    scale = {"axes": [{"name": axis, "type": kinds.get(axis, "space")} for axis in _AXES], "datasets": levels}
    channels = [{"label": _CHANNELS[c % len(_CHANNELS)], "color": "FFFFFF"} for c in range(spec.channels)]
    return {"multiscales": [scale | _version(options)], "omero": {"channels": channels}}


def _array(folder: Path, spec: PlateSpec, options: Options, level: int) -> tuple[Path, str]:
    size = max(1, spec.size >> level)
    shape, plane = [spec.timepoints, spec.channels, spec.planes, size, size], [1, 1, 1, size, size]
    if options.version == "0.4":
        array = {"zarr_format": 2, "shape": shape, "chunks": plane, "dtype": _dtype(spec), "compressor": None}
        return folder / ".zarray", _json(
            array | {"fill_value": 0, "order": "C", "filters": None, "dimension_separator": options.separator}
        )
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    index = {"index_codecs": [little], "index_location": "end"}
    inside = {"chunk_shape": plane, "codecs": [little], **index}
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": spec.dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [1, spec.channels, 1, size, size] if options.shards else plane},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": options.separator}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": inside}] if options.shards else [little],
        "attributes": {},
        "dimension_names": list(_AXES),
    }
    return folder / "zarr.json", _json(array)


def _dtype(spec: PlateSpec) -> str:
    return "|u1" if spec.dtype == "uint8" else "<u2"


def _chunk(options: Options, key: PlaneKey, level: int) -> str:
    place = (key.t, 0 if options.shards else key.c, key.z, 0, 0)
    numbers = options.separator.join(map(str, place))
    prefix = "" if options.version == "0.4" else f"c{options.separator}"
    return f"{_well(key[:2])}/{key.field}/{level}/{prefix}{numbers}"


def _write_metadata(plate: OmeZarrPlate) -> None:
    for path, text in plate.metadata.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _write_chunks(spec: PlateSpec, options: Options, plate: OmeZarrPlate) -> None:
    inside: dict[Path, list[PlaneKey]] = {}
    for level in range(options.levels):
        for key in plate.tiffs:
            inside.setdefault(plate.folder / _chunk(options, key, level), []).append(key)
    for path, keys in inside.items():
        level = int(path.relative_to(plate.folder).parts[3])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_content(spec, options, keys, level))


def _content(spec: PlateSpec, options: Options, keys: list[PlaneKey], level: int) -> bytes:
    step = 2**level
    planes = [pixels.plane(spec.size, (spec.seed, *key), spec.dtype)[::step, ::step].tobytes() for key in keys]
    if not options.shards:
        return planes[0]
    offsets = [sum(map(len, planes[:number])) for number in range(len(planes))]
    index = b"".join(struct.pack("<QQ", offset, len(plane)) for offset, plane in zip(offsets, planes, strict=True))
    return b"".join(planes) + index


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1)

"""Makes IN Cell plates: the layout of an IN Cell Analyzer 2000, real TIFFs, any size.

``make_incell`` writes one folder with ``<plate>.xdce`` and one TIFF per plane beside it. Elements, attributes and their
order are those of the instrument; where Bio-Formats does not look, they are constants or left out. The same spec gives
the same bytes. One call writes with two threads of its own and waits for them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from fleet_stack.plates import pixels
from fleet_stack.plates.positions import arranged, keys_of, row_letters
from fleet_stack.plates.spec import PlaneKey, PlateSpec

_WRITERS: Final = 2
_NAMESPACE: Final = uuid.UUID("9a4c1f52-3c37-4b0e-9d0c-6a1e5f1f2b77")
_WAVES: Final = (("DAPI", "DAPI", 455), ("FITC", "FITC", 525), ("Cy3", "dsRed", 605), ("Cy5", "Cy5", 705))
_HEAD: Final = """<?xml version="1.0" encoding="ISO-8859-1" standalone="no"?>
<ImageStack{barcode}>
  <UUID value="{uuid}"/>
  <Application name="IN Cell Analyzer 2000" software_version="3.0.0.5"/>
  <Creation date="2026-01-01" time="10:00:00"/>
  <Operator login="demo operator"/>
  <AutoLeadAcquisitionProtocol name="demo" version="99.9">
    <UserComment/>
{autofocus}    <Microscopy type="Fluorescence"/>
    <ObjectiveCalibration magnification="20.0" numerical_aperture="0.45" objective_name="Nikon 20X/0.45" \
pixel_height="0.3250" pixel_width="0.3250" refractive_index="1.0" unit="um"/>
    <Camera name="CoolSNAP"><Binning value="1 X 1"/><Size height="{size}" width="{size}"/></Camera>
    <Wavelengths>
{waves}    </Wavelengths>
    <Plate columns="{columns}" name="demo plate" rows="{rows}"/>
    <PlateMap>
      <NamingConvention columns="{columns}" rows="{rows}"/>
      <NamingRows begin="A"/>
      <NamingColumns begin="1"/>
{excluded}{offsets}      <ZDimensionParameters number_of_slices="{planes}" z_step="1.0"/>
      <TimeSchedule enabled="{scheduled}"><Times>
{times}      </Times></TimeSchedule>
    </PlateMap>
  </AutoLeadAcquisitionProtocol>
  <Images number="{number}">
"""
# Bio-Formats takes no XDCE of less than 2048 bytes for one, and no instrument writes so little.
_AUTOFOCUS: Final = (
    '    <AutoFocus enabled="true" focal_offset="0.0" laser_power="25.0" offset="1.5" unit="um"/>\n' * 20
)
_WAVE: Final = (
    '      <Wavelength fusion_wave="false" imaging_mode="{mode}" index="{index}">'
    '<ExcitationFilter name="{excitation}" wavelength="400"/><EmissionFilter name="{emission}" wavelength="{wave}"/>'
    "</Wavelength>\n"
)
_IMAGE: Final = (
    '    <Image acquisition_time_ms="0.0" filename={name} thumbnail={thumbnail}>'
    '<Well label="{well}"><Row number="{row}"/><Column number="{column}"/></Well>'
    '<FocusPosition z="1.0"/><Exposure time="100.0"/>'
    '<Identifier field_index="{field}" time_index="{t}" wave_index="{c}" z_index="{z}"/>'
    '<MinMaxMean max="2.0" mean="1.0" min="0.0"/></Image>\n'
)


@dataclass(frozen=True, slots=True)
class Options:
    """What only this vendor has.

    Attributes:
        thumbs: Write a thumbnail of each plane beside it.
        waves_by_time: How many channels each time point has; empty for all.
        schedule: Time points that are listed although the schedule is off; 0 where it is as the spec says.
        excluded: Wells (row, column, from 0) that the plate map marks as not acquired.
        number: What the XDCE says of the number of images, less those that it lists.
        barcode: Empty to write none, as older instruments.
    """

    thumbs: bool = False
    waves_by_time: tuple[int, ...] = ()
    schedule: tuple[int, ...] = ()
    excluded: tuple[tuple[int, int], ...] = ()
    number: int = 0
    barcode: str = "BC-4711"


@dataclass(frozen=True, slots=True)
class InCellPlate:
    """What was made.

    Attributes:
        folder: Everything is in it.
        entry: The XDCE, which is what one imports.
        tiffs: The file of each plane, in the order of wells, fields, time points, planes and channels.
        thumbs: The thumbnail of each plane that has one.
    """

    folder: Path
    entry: Path
    tiffs: dict[PlaneKey, Path]
    thumbs: dict[PlaneKey, Path]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the fileset in the order of Bio-Formats: in each field by time point, channel and plane."""
        keys = sorted(self.tiffs, key=lambda key: (*key[:4], key.c, key.z))
        images = ((self.tiffs[key], self.thumbs.get(key)) for key in keys)
        return (self.entry, *(path for pair in images for path in pair if path is not None))


def make_incell(root: Path, spec: PlateSpec, options: Options | None = None) -> InCellPlate:
    """Write a plate below ``root``, over what is there of the same name.

    Args:
        root: Gets one folder with the plate's name.
        spec: What to make; its ``harmony`` and ``companions`` do not matter.
        options: What only this vendor has.

    Raises:
        StackError: The spec makes no plate.
    """
    chosen = options or Options()
    rows, columns, positions = arranged(spec)
    folder = root / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    keys = [key for key in keys_of(spec, positions) if key.c < _waves_at(spec, chosen, key.t)]
    plate = InCellPlate(
        folder=folder,
        entry=folder / f"{spec.name}.xdce",
        tiffs={key: folder / f"{_name(spec, key)}.tif" for key in keys},
        thumbs={key: folder / f"{_name(spec, key)}_thumb.jpg" for key in keys if chosen.thumbs},
    )
    _write_tiffs(spec, plate)
    plate.entry.write_bytes("".join(_parts(spec, chosen, plate, rows, columns)).encode("latin-1", "xmlcharrefreplace"))
    return plate


def _waves_at(spec: PlateSpec, options: Options, t: int) -> int:
    return options.waves_by_time[t] if options.waves_by_time else spec.channels


def _name(spec: PlateSpec, key: PlaneKey) -> str:
    """The name that the instrument gives to the file of a plane, without its ending."""
    excitation, emission, _ = _WAVES[key.c % len(_WAVES)]
    z = f" z {key.z + 1}" if spec.planes > 1 else ""
    t = f" time {key.t + 1}" if spec.timepoints > 1 else ""
    again = f" {key.c + 1}" if key.c >= len(_WAVES) else ""
    return f"{_well(key)}(fld {key.field + 1} wv {excitation} - {emission}{again}{z}{t})"


def _well(key: PlaneKey) -> str:
    return f"{row_letters(key.row)} - {key.column + 1}"


def _write_tiffs(spec: PlateSpec, plate: InCellPlate) -> None:
    def write(key: PlaneKey) -> None:
        pixels.tiff(plate.tiffs[key], size=spec.size, seed=(spec.seed, *key), dtype=spec.dtype)

    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in pool.map(write, plate.tiffs):
            pass
    for path in plate.thumbs.values():
        path.write_bytes(b"a thumbnail")


def _parts(spec: PlateSpec, options: Options, plate: InCellPlate, rows: int, columns: int) -> Iterator[str]:
    waves = (_WAVES[c % len(_WAVES)] for c in range(spec.channels))
    mode = "3-D" if spec.planes > 1 else "2-D"
    yield _HEAD.format(
        barcode=f" PlateID={quoteattr(options.barcode)}" if options.barcode else "",
        uuid=spec.measurement_id or uuid.uuid5(_NAMESPACE, f"{spec.name}/{spec.seed}"),
        autofocus=_AUTOFOCUS,
        size=spec.size,
        rows=rows,
        columns=columns,
        planes=spec.planes,
        waves="".join(
            _WAVE.format(mode=mode, index=index, excitation=excitation, emission=emission, wave=wave)
            for index, (excitation, emission, wave) in enumerate(waves)
        ),
        excluded="".join(f'      <Exclude row="{row + 1}" col="{column + 1}"/>\n' for row, column in options.excluded),
        offsets="".join(f'      <offset_point index="{n}" x="{n}.0" y="0.0"/>\n' for n in range(spec.fields)),
        scheduled="false" if options.schedule or spec.timepoints == 1 else "true",
        times="".join(_times(spec, options)),
        number=len(plate.tiffs) + options.number,
    )
    yield from (_image(key, path, plate.thumbs.get(key)) for key, path in plate.tiffs.items())
    yield "  </Images>\n</ImageStack>\n"


def _times(spec: PlateSpec, options: Options) -> Iterator[str]:
    for t, many in enumerate(options.schedule or options.waves_by_time or (0,) * spec.timepoints):
        waves = "".join(f'<AcqWave index="{wave}"/>' for wave in range(many))
        yield f'        <TimePoint index="{t}">{waves}</TimePoint>\n'


def _image(key: PlaneKey, path: Path, thumb: Path | None) -> str:
    return _IMAGE.format(
        name=quoteattr(path.name),
        thumbnail=quoteattr(thumb.name if thumb else f"{path.stem}_thumb.jpg"),
        well=_well(key),
        row=key.row + 1,
        column=key.column + 1,
        field=key.field,
        t=key.t,
        c=key.c,
        z=key.z,
    )

"""Makes Yokogawa CV7000 and CV8000 measurements: the real layout, real TIFFs, any size.

``make_yokogawa`` writes one folder with everything in it: ``<plate>.wpi``, ``MeasurementData.mlf`` (one record per
plane, in the order of acquisition), ``MeasurementDetail.mrf``, the settings ``.mes``, the plate product ``.wpp``,
shading corrections, and one TIFF per plane. The same spec gives the same bytes. One call writes with two threads of
its own and waits for them. :mod:`btsxml` beside it writes the XML.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet_stack.plates import btsxml, pixels
from fleet_stack.plates.positions import arranged, keys_of
from fleet_stack.plates.spec import PlaneKey, PlateSpec

DATA: Final = "MeasurementData.mlf"
DETAIL: Final = "MeasurementDetail.mrf"

_WRITERS: Final = 2


@dataclass(frozen=True, slots=True)
class YokogawaPlate:
    """What was made.

    Attributes:
        folder: Everything is in it.
        entry: The ``.wpi``, which is what one imports.
        data: The ``.mlf``, one record per plane.
        detail: The ``.mrf`` with the begin and the end of the measurement.
        settings: The ``.mes`` with channels and actions.
        product: The ``.wpp``.
        shading: The TIFFs that correct the shading, one per channel.
        tiffs: The file of each plane, in the order of wells, fields, time points, planes and channels.
    """

    folder: Path
    entry: Path
    data: Path
    detail: Path
    settings: Path
    product: Path
    shading: tuple[Path, ...]
    tiffs: dict[PlaneKey, Path]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the fileset in the order of Bio-Formats: the entry, then all others by name."""
        others = (self.data, self.detail, self.settings, self.product, *self.shading, *self.tiffs.values())
        return (self.entry, *sorted(others, key=lambda path: path.name.encode("utf-16-be")))


def make_yokogawa(root: Path, spec: PlateSpec, options: btsxml.Options | None = None) -> YokogawaPlate:
    """Write a measurement below ``root``, over what is there of the same name.

    Args:
        root: Gets one folder with the plate's name.
        spec: What to make; its ``harmony`` and ``measurement_id`` do not matter.
        options: What only this vendor has.

    Raises:
        StackError: The spec makes no plate.
    """
    chosen = options or btsxml.Options()
    rows, columns, positions = arranged(spec)
    folder = root / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    plate = _named(folder, spec, {key: folder / _file_name(spec, chosen, key) for key in keys_of(spec, positions)})
    _write_tiffs(spec, plate)
    btsxml.write(btsxml.Measurement(spec, chosen, rows, columns, plate.tiffs), plate)
    return plate


def _named(folder: Path, spec: PlateSpec, tiffs: dict[PlaneKey, Path]) -> YokogawaPlate:
    shading = range(1, spec.channels + 1) if spec.companions else ()
    return YokogawaPlate(
        folder=folder,
        entry=folder / f"{spec.name}.wpi",
        data=folder / DATA,
        detail=folder / DETAIL,
        settings=folder / f"{spec.name}.mes",
        product=folder / "10_Greiner_μClear #655090.wpp",
        shading=tuple(folder / f"SC_40x_M10_CH{channel:02d}.tif" for channel in shading),
        tiffs=tiffs,
    )


def _file_name(spec: PlateSpec, options: btsxml.Options, key: PlaneKey) -> str:
    """The name that the instrument gives to the file of a plane."""
    well = f"{chr(ord('A') + key.row)}{key.column + 1:02d}"
    action = options.action_of(key.c) + 1
    place = f"T{key.t + 1:04d}F{key.field + 1:03d}L01A{action:02d}Z{key.z + 1:02d}C{options.number_of(key.c):02d}"
    return f"{spec.name}_{well}_{place}.tif"


def _write_tiffs(spec: PlateSpec, plate: YokogawaPlate) -> None:
    def write(key: PlaneKey) -> None:
        pixels.tiff(plate.tiffs[key], size=spec.size, seed=(spec.seed, *key), dtype=spec.dtype)

    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in pool.map(write, plate.tiffs):
            pass
    for number, path in enumerate(plate.shading):
        pixels.tiff(path, size=spec.size, seed=(spec.seed, number))

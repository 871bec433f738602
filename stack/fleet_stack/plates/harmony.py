"""Makes Harmony measurements: the real layout, real TIFFs, any size.

``make_plate`` writes what an Opera Phenix exports: a measurement folder with the index, one TIFF per plane, and the
small companion files that Bio-Formats takes along. Everything in it follows from the spec, so the same spec gives the
same bytes. One call writes with two threads of its own and waits for them. :mod:`index` beside it writes the XML.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from fleet_stack.console import StackError
from fleet_stack.plates import pixels
from fleet_stack.plates.index import write_index
from fleet_stack.plates.positions import PLATE_SIZES, keys_of
from fleet_stack.plates.spec import MadePlate, PlaneKey, PlateSpec, file_name

_WRITERS: Final = 2
_NAMESPACE_OF_IDS: Final = uuid.UUID("5f3f5a52-5a0b-4c7a-9c6e-2f9f0d3f8f11")


def make_plate(root: Path, spec: PlateSpec, write_images: Callable[[MadePlate], None] | None = None) -> MadePlate:
    """Write a measurement below ``root``, over what is there of the same name.

    Args:
        root: Where.
        spec: What.
        write_images: Writes the images; each is another one when it is left out.

    Raises:
        StackError: The spec makes no plate.
    """
    rows, columns, positions = _arranged(spec)
    folder = root / f"{spec.name}__2026-01-01T10_00_00-Measurement 1"
    images = folder / "Images"
    images.mkdir(parents=True, exist_ok=True)
    plate = MadePlate(
        spec=spec,
        folder=folder,
        entry=images / "Index.idx.xml",
        companions=_write_companions(folder, spec) if spec.companions else (),
        tiffs={key: images / file_name(key) for key in keys_of(spec, positions)},
        measurement_id=spec.measurement_id or str(uuid.uuid5(_NAMESPACE_OF_IDS, f"{spec.name}/{spec.seed}")),
        rows=rows,
        columns=columns,
    )
    (write_images or _write_tiffs)(plate)
    write_index(plate)
    return plate


def _arranged(spec: PlateSpec) -> tuple[int, int, tuple[tuple[int, int], ...]]:
    """Rows and columns of the smallest usual plate that has the wells, and where they are."""
    if not 1 <= spec.harmony <= 6 or min(spec.fields, spec.channels, spec.planes, spec.timepoints) < 1:  # noqa: PLR2004  HarmonyV6
        raise StackError("a plate needs harmony 1 to 6, and fields, channels, planes and timepoints of 1 or more")
    for rows, columns in PLATE_SIZES:
        positions = tuple(sorted(spec.positions)) or _rectangle(spec.wells, rows, columns)
        if positions and all(row < rows and column < columns for row, column in positions):
            return rows, columns, positions
    raise StackError(f"no plate has these wells: give 1 to {32 * 48}, or positions inside 32 x 48")


def _rectangle(wells: int, rows: int, columns: int) -> tuple[tuple[int, int], ...]:
    """Fill a full rectangle, as Bio-Formats adds blank wells to any other shape; else row by row."""
    if not 1 <= wells <= rows * columns:
        return ()
    fitting = (width for width in range(columns, 0, -1) if wells % width == 0 and wells // width <= rows)
    width = next(fitting, columns)
    return tuple(divmod(number, width) for number in range(wells))


def _write_tiffs(plate: MadePlate) -> None:
    spec = plate.spec

    def write(key: PlaneKey) -> None:
        pixels.tiff(plate.tiffs[key], size=spec.size, seed=(spec.seed, *key), dtype=spec.dtype)

    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in pool.map(write, plate.tiffs):
            pass


def _write_companions(folder: Path, spec: PlateSpec) -> tuple[Path, ...]:
    texts = {
        folder / "Assaylayout" / f"{spec.name}.xml": f"<AssayLayout><Name>{spec.name}</Name></AssayLayout>\n",
        folder / "FFC_Profile" / "FFC_Profile_Measurement 1.xml": "<FFCProfile/>\n",
    }
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tuple(texts)

"""Makes an image of two files, header and pixels, which no plate format knows and Bio-Formats groups."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SIDE: Final = 16
_HEADER: Final = (
    "\t",
    "ics_version\t1.0",
    "filename\t{name}",
    "layout\tparameters\t3",
    "layout\torder\tbits\tx\ty",
    f"layout\tsizes\t8\t{SIDE}\t{SIDE}",
    "layout\tcoordinates\tvideo",
    "layout\tsignificant_bits\t8",
    "representation\tformat\tinteger",
    "representation\tsign\tunsigned",
    "representation\tcompression\tuncompressed",
    "representation\tbyte_order\t1",
    "end",
)


def ics_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Write ``name.ics`` and ``name.ids``, an image of 16 x 16 pixels of 8 bits (ICS version 1.0)."""
    header, pixels = folder / f"{name}.ics", folder / f"{name}.ids"
    header.write_text("".join(f"{line.format(name=name)}\n" for line in _HEADER), encoding="ascii")
    pixels.write_bytes(bytes(range(SIDE * SIDE)))
    return header, pixels

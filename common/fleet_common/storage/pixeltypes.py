"""Types of pixels, called as OME calls them: ``uint16``, ``float``. Pure, no threads."""

from __future__ import annotations

from typing import Final

PIXEL_TYPES: Final = frozenset(("int8", "uint8", "int16", "uint16", "int32", "uint32", "float", "double"))

_SIGNED: Final = 2
_FLOAT: Final = 3
_WIDTHS: Final = (8, 16, 32)


def pixel_type(bits: int, sample_format: int) -> str:
    """The type that Bio-Formats makes of a TIFF, which rounds 12 bits up to 16 and 24 up to 32 (``IFD.getPixelType``).

    Args:
        bits: Of a sample (tag 258).
        sample_format: 1 unsigned, 2 signed, 3 float (tag 339).
    """
    width = next((width for width in _WIDTHS if bits <= width), 64)
    if sample_format == _FLOAT or width > _WIDTHS[-1]:
        return "float" if width <= _WIDTHS[-1] else "double"
    return f"int{width}" if sample_format == _SIGNED else f"uint{width}"

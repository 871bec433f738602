"""The files that are measured with: made once, the same for both sides.

Threading: one thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fleet_stack.plates import PlateSpec, make_plate

MANY_FILESETS: Final = 4
_MANY_FILES: Final = 100


def many(share: Path, *, filesets: int = MANY_FILESETS, files: int = _MANY_FILES) -> list[Path]:
    """Entry files of plates of one image each: an index and 100 planes of 8 kB, 101 files each.

    The shape of github.com/openmicroscopy/openmicroscopy/pull/5828: 4 filesets, 404 files, 4 images.
    """
    specs = [
        PlateSpec(
            name=f"many-{number}", wells=1, fields=1, channels=1, planes=files, size=64, seed=number, companions=False
        )
        for number in range(filesets)
    ]
    return [make_plate(share, spec).entry for spec in specs]

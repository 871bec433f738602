"""ImageXpress plates for tests: files in memory, and an HTD whose lines can be changed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import tifffile

from fleet_common.plates import Plate, detect, problems
from fleet_common.plates.imagexpress import ImageXpressFormat
from fleet_common.storage import Share, ShareReader, measure
from fleet_stack.plates import PlateSpec
from fleet_stack.plates.imagexpress import ImageXpressPlate, Options, htd
from support.memory import Memory

FORMAT = ImageXpressFormat()
FOLDER = PurePosixPath("hcs/P1")
ENTRY = FOLDER / "P1.HTD"
SPEC = PlateSpec(name="P1", wells=2, fields=2, channels=2, size=8)
PLATE_ID = "00400b39-31cb-40e4-8be6-a183fe9831ec"


def _tiff() -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((6, 8), "uint16"), metadata=None, software="MetaSeries")
    return stream.getvalue()


TIFF = _tiff()
"""An image of 8 x 6 pixels."""


def plan(*changes: tuple[str, str], spec: PlateSpec = SPEC, options: Options | None = None) -> bytes:
    """The HTD of two wells with two sites and two waves, with texts of it changed."""
    text = htd(spec, options or Options(), PLATE_ID)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text.encode()


def read(files: Mapping[str, bytes] | Iterable[str], content: bytes | None = None) -> Plate:
    """Read a plate of an HTD and of files in its folder, given by name; those without content are images."""
    there = dict(files) if isinstance(files, Mapping) else dict.fromkeys(files, TIFF)
    names = {"P1.HTD": plan() if content is None else content, **there}
    return FORMAT.read(ENTRY, Memory({str(FOLDER / name): data for name, data in names.items()}))


def look(made: ImageXpressPlate, folder: Path | None = None) -> tuple[Plate, list[str]]:
    """The plate and what is wrong with its files, from its folder as producer and worker read it."""
    there = folder or made.folder
    share = Share("hcs", there.parent)
    with ShareReader(share) as reader:
        found, entry = detect(PurePosixPath(there.name), reader)
        assert found.name == "imagexpress"
        plate = found.read(entry, reader)
    return plate, [str(problem) for problem in problems(plate, measure(share, plate.files))]


def relative(paths: Iterable[Path], root: Path) -> tuple[str, ...]:
    """Paths as a share spells them."""
    return tuple(path.relative_to(root).as_posix() for path in paths)

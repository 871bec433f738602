"""Makes measurements as HarmonyV7 lays them out: the index above the folder of the images, a folder for every well.

Made of what :func:`fleet_stack.plates.harmony.make_plate` writes. What is known of the layout is what was published of
it: ome/bioformats#4314 and glencoesoftware/bioformats2raw#277.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Final

from fleet_stack.plates.harmony import make_plate
from fleet_stack.plates.spec import MadePlate, PlaneKey, PlateSpec

_URL: Final = re.compile(r"<URL>(r[0-9]+c[0-9]+)f")
NAMESPACE: Final = "43B2A954-E3C3-47E1-B392-6635266B0DD3/HarmonyV7"


def make_harmony7(root: Path, spec: PlateSpec, separator: str = "/") -> MadePlate:
    """Write a measurement below ``root``, over what is there of the same name.

    Args:
        root: Gets one folder.
        spec: What to make; there are no companions.
        separator: Between folder and file in the index.

    Raises:
        StackError: The spec makes no plate.
    """
    older = make_plate(root, dataclasses.replace(spec, harmony=6, companions=False))
    images = older.folder / "images"
    tiffs = {key: images / _well(key) / path.name for key, path in older.tiffs.items()}
    for key, path in older.tiffs.items():
        tiffs[key].parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.rename(tiffs[key])
    text = older.entry.read_text(encoding="utf-8").replace("http://www.perkinelmer.com/PEHH/HarmonyV6", NAMESPACE)
    text = _URL.sub(lambda match: f"<URL>{match[1]}{separator}{match[0].removeprefix('<URL>')}", text)
    entry = older.folder / "index.idx.xml"
    entry.write_text(text, encoding="utf-8")
    older.entry.unlink()
    older.entry.parent.rmdir()
    return dataclasses.replace(older, entry=entry, tiffs=tiffs)


def _well(key: PlaneKey) -> str:
    return f"r{key.row + 1:02d}c{key.column + 1:02d}"

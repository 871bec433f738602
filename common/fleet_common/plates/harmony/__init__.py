"""Harmony: plates of Revvity (PerkinElmer) Operetta, Operetta CLS and Opera Phenix, layouts HarmonyV1 to HarmonyV7.

A measurement is a folder ``<name>__<date>-Measurement N`` with ``Images/Index.idx.xml`` (also ``Index.ref.xml`` and
``Index.xml``) and one TIFF per plane. Opened by ``loci.formats.in.OperettaReader``. Two kinds are read here that
Bio-Formats 6.7 refuses, so that a newer server can have them: ``Index.xml`` alone, and an index that gives the size of
the images only once per channel, in ``<Maps>`` ("No valid images found"). HarmonyV7 may put the index above the folders
of the images, which Bio-Formats finds from 8.3.0 on. :mod:`xml` reads the index, :mod:`index` keeps it, :mod:`nested`
finds images in folders below it, :mod:`layout` makes wells and planes, :mod:`companions` finds the files beside.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar, Final

from fleet_common.plates.harmony import nested
from fleet_common.plates.harmony.companions import companions
from fleet_common.plates.harmony.index import Index
from fleet_common.plates.harmony.layout import lay_out, uncertain
from fleet_common.plates.harmony.xml import parse
from fleet_common.plates.model import NO_READER_YET, Plate, Reader

READER: Final = "loci.formats.in.OperettaReader"

_SURE: Final = ("Index.idx.xml", "Index.ref.xml")
# Harmony 5.2 and newer write small letters.
_NEWER: Final = ("index.idx.xml", "index.ref.xml", "index.xml")
_AMBIGUOUS: Final = "Index.xml"
_IMAGES: Final = ("images", "Images")
_SNIFF_BYTES: Final = 1024


class HarmonyFormat:
    """The plate format ``harmony``."""

    name: ClassVar[str] = "harmony"

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """Take an index, the folder that holds it, or the measurement's folder."""
        if not reader.is_folder(path):
            return path if _is_index(path, reader) else None
        top = reader.names(path)
        folders = [path, *(path / name for name in _IMAGES if name in top.folders)]
        return next(filter(None, (_index_in(folder, reader) for folder in reversed(folders))), None)

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """See :class:`fleet_common.plates.PlateFormat`."""
        index = _index(entry, reader)
        needs = _needs(index)
        below = nested.find(index, reader)
        made = lay_out(index, _present(index, reader))
        tiffs = (plane.path for plane in made.planes if plane.path)
        return Plate(
            format=self.name,
            entry=str(entry),
            reader=READER,
            files=(str(entry), *(() if below else companions(entry, reader)), *tiffs),
            expected=made.expected,
            identity=index.plate_texts.get("MeasurementID", ""),
            started_at=index.plate_texts.get("MeasurementStartTime", ""),
            operator=index.root_texts.get("User", ""),
            instrument=index.root_texts.get("InstrumentType", ""),
            planes=made.planes,
            errors=made.errors,
            needs_bioformats=needs,
        )


def _index_in(folder: PurePosixPath, reader: Reader) -> PurePosixPath | None:
    names = set(reader.names(folder).files)
    found = (folder / name for name in (*_SURE, *_NEWER, _AMBIGUOUS) if name in names)
    return next((entry for entry in found if _is_index(entry, reader)), None)


def _is_index(path: PurePosixPath, reader: Reader) -> bool:
    if path.name.lower() == _AMBIGUOUS.lower():
        with reader.open(path) as stream:
            return b"Harmony" in (stream.read(_SNIFF_BYTES) or b"")
    return path.name in (*_SURE, *_NEWER)


def _index(entry: PurePosixPath, reader: Reader) -> Index:
    index = Index(str(entry))
    with reader.open(entry) as stream:
        parse(stream, str(entry), index)
    return index


def _needs(index: Index) -> tuple[int, ...]:
    if any("\\" in image.url for image in index.images):
        return NO_READER_YET  # ome/bioformats#4485
    newer = index.version >= nested.VERSION or PurePosixPath(index.path).name in _NEWER
    return nested.READ_FROM if newer else ()


def _present(index: Index, reader: Reader) -> frozenset[str]:
    asked = uncertain(index)
    listed = {folder: set(reader.names(folder).files) for folder in {path.parent for path in asked}}
    return frozenset(str(path) for path in asked if path.name in listed[path.parent])

"""Harmony: plates of Revvity (PerkinElmer) Operetta, Operetta CLS and Opera Phenix, layouts HarmonyV1 to HarmonyV6.

A measurement is a folder ``<name>__<date>-Measurement N`` with ``Images/Index.idx.xml`` (also ``Index.ref.xml`` and
``Index.xml``) and one TIFF per plane. Opened by ``loci.formats.in.OperettaReader``. Two kinds are read here that
Bio-Formats 6.7 refuses, so that a newer server can have them: ``Index.xml`` alone, and an index that gives the size of
the images only once per channel, in ``<Maps>`` ("No valid images found"). :mod:`xml` reads the index, :mod:`index`
keeps it, :mod:`layout` makes wells and planes of it, :mod:`companions` finds the files beside the images.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar, Final

from fleet_common.plates.harmony.companions import companions
from fleet_common.plates.harmony.index import Index
from fleet_common.plates.harmony.layout import lay_out, uncertain
from fleet_common.plates.harmony.xml import parse
from fleet_common.plates.model import Plate, Reader

READER: Final = "loci.formats.in.OperettaReader"

_SURE: Final = ("Index.idx.xml", "Index.ref.xml")
# Harmony 5.2 and newer: recognised, so that its own error says what to do.
_NEWER: Final = "index.idx.xml"
_AMBIGUOUS: Final = "Index.xml"
_SNIFF_BYTES: Final = 1024


class HarmonyFormat:
    """The plate format ``harmony``."""

    name: ClassVar[str] = "harmony"

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """Take an index, the folder that holds it, or the measurement's folder."""
        if not reader.is_folder(path):
            return path if _is_index(path, reader) else None
        folder = path / "Images" if "Images" in reader.names(path).folders else path
        names = set(reader.names(folder).files)
        found = [folder / name for name in (*_SURE, _NEWER, _AMBIGUOUS) if name in names]
        return next((entry for entry in found if _is_index(entry, reader)), None)

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """See :class:`fleet_common.plates.PlateFormat`."""
        index = _index(entry, reader)
        made = lay_out(index, _present(index, reader))
        tiffs = (plane.path for plane in made.planes if plane.path)
        return Plate(
            format=self.name,
            entry=str(entry),
            reader=READER,
            files=(str(entry), *companions(entry, reader), *tiffs),
            expected=made.expected,
            identity=index.plate_texts.get("MeasurementID", ""),
            started_at=index.plate_texts.get("MeasurementStartTime", ""),
            operator=index.root_texts.get("User", ""),
            instrument=index.root_texts.get("InstrumentType", ""),
            planes=made.planes,
            errors=made.errors,
        )


def _is_index(path: PurePosixPath, reader: Reader) -> bool:
    if path.name == _AMBIGUOUS:
        with reader.open(path) as stream:
            return b"Harmony" in (stream.read(_SNIFF_BYTES) or b"")
    return path.name in (*_SURE, _NEWER)


def _index(entry: PurePosixPath, reader: Reader) -> Index:
    index = Index(str(entry))
    with reader.open(entry) as stream:
        parse(stream, str(entry), index)
    return index


def _present(index: Index, reader: Reader) -> frozenset[str]:
    asked = uncertain(index)
    listed = {folder: set(reader.names(folder).files) for folder in {path.parent for path in asked}}
    return frozenset(str(path) for path in asked if path.name in listed[path.parent])

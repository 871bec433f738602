"""Plate formats: one parser per vendor behind one protocol.

A format is given a :class:`Reader` over safe storage and yields a :class:`Plate`: the files that belong to it, and what
OMERO must hold afterwards. The producer checks the files, the worker derives the same list again on its own mount.
"""

from fleet_common.plates.completeness import FileProblem, Problem, damages, describe, odd_sizes, present, problems
from fleet_common.plates.model import (
    Bytes,
    End,
    Expected,
    FieldPosition,
    InstrumentError,
    Names,
    Plane,
    Plate,
    PlateFormat,
    Reader,
    Sizes,
    WellPosition,
    well_name,
)
from fleet_common.plates.registry import detect, format_names, plate_format

__all__ = [
    "Bytes",
    "End",
    "Expected",
    "FieldPosition",
    "FileProblem",
    "InstrumentError",
    "Names",
    "Plane",
    "Plate",
    "PlateFormat",
    "Problem",
    "Reader",
    "Sizes",
    "WellPosition",
    "damages",
    "describe",
    "detect",
    "format_names",
    "odd_sizes",
    "plate_format",
    "present",
    "problems",
    "well_name",
]

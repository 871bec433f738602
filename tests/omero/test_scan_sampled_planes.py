"""A real plate with a blank plane and a copied one, imported: the sample of planes names both."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import tifffile

from fleet_common.plates import Plate
from fleet_common.storage import Share
from fleet_stack.plates import MadePlate, PlateSpec, make_plate
from fleet_worker.omero.facts import ImportedFacts
from fleet_worker.omero.session import OwnerSession
from fleet_worker.sampling import Look, choose, look
from omero_imports import HARMONY_READER, nobody, run, spec_of
from support.bioformats import read

pytestmark = pytest.mark.timeout(900)
SPEC = PlateSpec(name="p1", wells=2, fields=1, channels=2, planes=3, size=32)


def imported(session: OwnerSession, share: Path, made: MadePlate) -> tuple[Plate, ImportedFacts]:
    """The plate as its format reads it, and as OMERO holds it."""
    plate = read(Share(share.name, share), made.entry, "harmony")
    files = [share / path for path in plate.files]
    done = run(session, spec_of(share, files, reader_class=HARMONY_READER), files)
    return plate, session.verify(done.fileset_id)


def seen(session: OwnerSession, plate: Plate, facts: ImportedFacts, count: int = 100) -> Look:
    """What a sample shows; by default every plane."""
    samples = choose(plate, plate.files, facts, count)
    return look(session, samples, check=lambda: nobody(None), monotonic=time.monotonic)


def named(made: MadePlate, *places: tuple[int, int, int]) -> Sequence[Path]:
    """The files of planes of the first field, given by well (0, 0) and channel, plane and time point."""
    return [
        next(p for key, p in made.tiffs.items() if (key.row, key.column, key.c, key.z, key.t) == (0, 0, *place))
        for place in places
    ]


def test_blank_planes_and_copies_are_named_though_all_files_are_there(alice: OwnerSession, share: Path) -> None:
    """Given a plane of zeros and one that is its neighbour's copy, when imported, then the sample names just these."""
    made = make_plate(share, SPEC)
    blank, original, copy = named(made, (0, 2, 0), (1, 0, 0), (1, 1, 0))
    tifffile.imwrite(blank, tifffile.imread(blank) * 0)
    shutil.copy(original, copy)
    found = seen(alice, *imported(alice, share, made))
    assert found.seen == len(made.tiffs)
    assert found.blank == ("well A01, field 1, channel 1, plane 3, time point 1",)
    # Of the first plane the neighbour is the second, so a pair of copies is named from both sides.
    assert found.repeated == tuple(f"well A01, field 1, channel 2, plane {z}, time point 1" for z in (1, 2))
    assert found.unreadable == ()


def test_an_intact_plate_has_no_warning(alice: OwnerSession, share: Path) -> None:
    """The usual sample of eight planes is read in seconds."""
    found = seen(alice, *imported(alice, share, make_plate(share, SPEC)), count=8)
    assert (found.seen, found.warnings) == (8, ())

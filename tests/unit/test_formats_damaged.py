"""What holds for the plates of every format: intact, damaged in every way that was seen, growing, and large."""

from __future__ import annotations

import dataclasses
import io
import time
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fleet_common.errors import FleetError, Reason, RequestError
from fleet_common.plates import End, Plate, damages, plate_format, problems, well_name
from fleet_common.storage import Share, ShareReader, measure
from fleet_common.wholeness import judge_all
from fleet_stack.plates import PlaneKey, PlateSpec
from support.kits import KITS, Kit, Made, complete, look
from support.memory import Memory, Vanishing

SMALL = PlateSpec(name="P1", wells=3, fields=2, channels=2, size=8, companions=False)
SCREENING = dataclasses.replace(SMALL, wells=384, fields=9, channels=5)
SCREENING_CPU_SECONDS = 15.0
TIFFS = [name for name in KITS if "zarr" not in name]
BY_TIME = ("yokogawa",)
"""Formats that tell measurements apart by their begin, which is the same in all made plates."""


@pytest.fixture(scope="module", params=KITS)
def kit(request: pytest.FixtureRequest) -> Kit:
    """Every format."""
    return KITS[request.param]


@pytest.fixture
def made(kit: Kit, tmp_path: Path) -> Made:
    """A plate of 3 wells, 2 fields and 2 channels."""
    return kit.make(tmp_path / "hcs", SMALL)


def missed(kit: Kit, made: Made, folder: Path | None = None) -> tuple[Plate, list[str]]:
    """The plate and what is wrong with its files, from its folder on disk."""
    share = Share("hcs", made.root)
    with ShareReader(share) as reader:
        plate = look(kit, made.relative(folder or made.folder), reader)
    return plate, [str(problem) for problem in problems(plate, measure(share, plate.files))]


def damaged(made: Made, plate: Plate) -> list[str]:
    """What is wrong with its files that are there, as far as a look into them tells, without how that was seen."""
    share = Share("hcs", made.root)
    found = damages(plate, judge_all(share, measure(share, plate.files)))
    return [str(problem).removesuffix(f": {problem.detail}") for problem in found]


def refusal(kit: Kit, made: Made) -> RequestError:
    """The error of a plate that cannot be read."""
    with ShareReader(Share("hcs", made.root)) as reader, pytest.raises(RequestError) as caught:
        look(kit, made.relative(made.folder), reader)
    return caught.value


def places(plate: Plate) -> dict[PlaneKey, str | None]:
    """The file of each plane."""
    return {PlaneKey(*plane[:6]): plane.path for plane in plate.planes}


def test_an_intact_plate_is_read_as_it_was_made(kit: Kit, made: Made) -> None:
    """Maker and format agree on files, planes, wells and sizes."""
    plate, wrong = missed(kit, made)
    assert wrong == []
    assert plate.files == tuple(map(made.relative, made.files))
    assert plate.entry == made.relative(made.entry)
    assert places(plate) == {key: made.relative(path) for key, path in made.images.items()}
    assert plate.expected is not None
    assert plate.expected.wells == plate.measured_wells == {(key.row, key.column) for key in made.images}
    assert (plate.expected.fields_per_well, plate.expected.sizes) == (2, (8, 8, 1, 2, 1))
    assert plate.end is not End.RUNNING
    assert bool(plate.identity) == kit.has_identity


def test_every_missing_and_empty_image_is_named_by_well_and_field(kit: Kit, made: Made) -> None:
    """In words for the people at the microscope, each as what it is."""
    wells = sorted({(key.row, key.column) for key in made.images})
    lost, empty = PlaneKey(*wells[1], 1, 0, 0, 1), PlaneKey(*wells[2], 0, 0, 0, 0)
    made.images[lost].unlink()
    made.images[empty].write_bytes(b"")
    _, wrong = missed(kit, made)
    assert wrong == [
        f"{made.relative(made.images[key])} is {word} (well {well_name(*key[:2])}, field {key.field + 1}, "
        f"channel {key.c + 1}, plane 1, time point 1)"
        for key, word in ((lost, "missing"), (empty, "empty"))
    ]


def test_a_missing_well_is_missed_and_an_empty_well_is_not(kit: Kit, made: Made) -> None:
    """Given a well whose files were lost, and wells that nobody acquired; then only the first is missed."""
    lost = sorted({(key.row, key.column) for key in made.images})[1]
    for key, path in made.images.items():
        if key[:2] == lost:
            path.unlink()
    plate, wrong = missed(kit, made)
    assert len(wrong) == 4
    assert all(f"(well {well_name(*lost)}," in words for words in wrong)
    assert plate.expected is not None
    assert lost in plate.expected.wells
    assert (7, 11) not in plate.expected.wells


def test_a_plate_is_one_before_its_first_image(kit: Kit, made: Made) -> None:
    """Whether anything can be expected of it or not, it goes into a Screen."""
    for path in set(made.images.values()) - {made.entry}:
        path.unlink()
    plate, wrong = missed(kit, made)
    assert len(wrong) == len(set(made.images.values()) - {made.entry})
    assert plate.is_plate


def test_without_its_entry_a_folder_is_no_plate(kit: Kit, made: Made) -> None:
    """The entry itself is missed by its name, and may come yet."""
    made.entry.unlink()
    assert refusal(kit, made).reason in (Reason.UNKNOWN_FORMAT, Reason.MANIFEST_DIFFERS)
    with ShareReader(Share("hcs", made.root)) as reader, pytest.raises(FleetError) as caught:
        plate_format(kit.format).read(PurePosixPath(made.relative(made.entry)), reader)
    assert isinstance(caught.value, RequestError)
    assert caught.value.reason is Reason.MANIFEST_DIFFERS


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.99])
def test_a_cut_index_is_never_a_plate(kit: Kit, made: Made, share: float) -> None:
    """As long as it is being written, it is none: it is refused by its name, or the plate goes on."""
    for path in made.index:
        content = path.read_bytes().rstrip()
        path.write_bytes(content[: int(len(content) * share)])
        error = refusal(kit, made)
        assert error.reason in (Reason.FORMAT_BROKEN, Reason.MANIFEST_DIFFERS, Reason.UNKNOWN_FORMAT), error
        path.write_bytes(content + b"\n")


def test_an_empty_index_is_a_plate_that_was_just_begun(kit: Kit, made: Made) -> None:
    """It must not be taken for a file for itself, nor for a plate without images."""
    made.entry.write_bytes(b"")
    assert refusal(kit, made).reason in (Reason.FILE_EMPTY, Reason.UNKNOWN_FORMAT)


@pytest.mark.parametrize("kit", TIFFS, indirect=True)
def test_a_cut_image_and_one_of_32_bits_are_named_by_well_and_field(kit: Kit, made: Made) -> None:
    """Nothing is missing, so only a look into the files finds them; each is told as what it is."""
    assert damaged(made, missed(kit, made)[0]) == []
    cut, float32 = list(made.images)[2:4]
    made.images[cut].write_bytes(made.images[cut].read_bytes()[:40])
    tifffile.imwrite(made.images[float32], np.zeros((8, 8), "float32"))
    plate, wrong = missed(kit, made)
    assert wrong == []
    assert sorted(damaged(made, plate)) == sorted(
        f"{made.relative(made.images[key])} is {word} (well {well_name(*key[:2])}, field {key.field + 1}, "
        f"channel {key.c + 1}, plane 1, time point 1)"
        for key, word in ((cut, "cut"), (float32, "of another pixel type"))
    )


@pytest.mark.parametrize("kit", TIFFS, indirect=True)
def test_what_is_no_tiff_at_all_is_named_by_well_and_field(kit: Kit, made: Made) -> None:
    """Storage that was full leaves zeros of the right length."""
    zeros = list(made.images)[-1]
    made.images[zeros].write_bytes(bytes(made.images[zeros].stat().st_size))
    (told,) = damaged(made, missed(kit, made)[0])
    assert told.startswith(f"{made.relative(made.images[zeros])} is not a TIFF (well {well_name(*zeros[:2])}, field ")


def test_a_renamed_folder_is_the_same_measurement(kit: Kit, made: Made) -> None:
    """Identity and files do not depend on where it lies."""
    before, _ = missed(kit, made)
    moved = made.folder.rename(made.folder.with_name("other"))
    after, wrong = missed(kit, made, moved)
    assert wrong == []
    assert after.identity == before.identity
    old, new = f"{made.relative(made.folder)}/", f"{made.relative(moved)}/"
    assert [name.removeprefix(new) for name in after.files] == [name.removeprefix(old) for name in before.files]


@pytest.mark.parametrize("kit", [name for name in KITS if name not in BY_TIME], indirect=True)
def test_the_same_barcode_measured_again_is_another_measurement(kit: Kit, tmp_path: Path) -> None:
    """Where the files have an id of the measurement, it tells them apart."""
    one, two = (
        missed(kit, kit.make(tmp_path / str(seed), dataclasses.replace(SMALL, seed=seed)))[0] for seed in (0, 1)
    )
    assert one.expected is not None
    assert two.expected is not None
    assert one.expected.barcode == two.expected.barcode
    assert (one.identity != two.identity) == kit.has_identity


@pytest.mark.parametrize("name", ["Plätte 1 #2", "板 (7)"])
def test_names_of_any_language_are_kept(kit: Kit, tmp_path: Path, name: str) -> None:
    """Folder, files and what the index says of them."""
    made = kit.make(tmp_path, dataclasses.replace(SMALL, name=name))
    plate, wrong = missed(kit, made)
    assert wrong == []
    assert any(name in file for file in plate.files)


def test_paths_of_more_than_300_characters_are_read(kit: Kit, tmp_path: Path) -> None:
    """Deep folders are the rule on shares of facilities."""
    folder = tmp_path.joinpath(*["a folder with a long name that goes on and on"] * 6)
    made = kit.make(folder, SMALL)
    plate, wrong = missed(kit, dataclasses.replace(made, root=tmp_path))
    assert len(plate.entry) > 250
    assert wrong == []
    assert len(plate.planes) == 12


def test_a_share_that_vanishes_is_no_verdict_on_the_plate(kit: Kit, made: Made) -> None:
    """Whichever call it is that fails, the error of the share gets through."""
    there = made.memory()
    outcomes = (_outcome(kit, made, Vanishing(there, calls)) for calls in range(200))
    until_read = list(takewhile(lambda outcome: outcome != "read", outcomes))
    assert 2 < len(until_read) < 200
    assert set(until_read) == {"share-unavailable"}


def _outcome(kit: Kit, made: Made, reader: Any) -> str:
    try:
        look(kit, made.relative(made.folder), reader)
    except RequestError as error:
        return error.reason
    return "read"


def _small(kit: Kit, root: Path) -> Made:
    stacks = 2 if kit.stacks else 1
    return kit.make(root, dataclasses.replace(SMALL, wells=2, fields=1, timepoints=stacks, planes=stacks))


@pytest.fixture(scope="module")
def growing(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A plate with several planes and time points, where the layout has them."""
    return _small(kit, tmp_path_factory.mktemp("growing"))


@pytest.fixture(scope="module")
def whole(growing: Made) -> dict[str, bytes]:
    """Its files."""
    return growing.memory().files


@given(choice=st.data())
@examples(max_examples=40, deadline=None)
def test_no_subset_of_the_files_is_complete(
    kit: Kit, growing: Made, whole: dict[str, bytes], choice: st.DataObject
) -> None:
    """Whatever has arrived so far, some of it empty, some of it without a manifest: only all of it is complete."""
    lost = choice.draw(st.sets(st.sampled_from(sorted(whole))))
    empty = choice.draw(st.sets(st.sampled_from(sorted(whole)), max_size=1))
    folder = growing.relative(growing.folder)
    there = Memory({name: b"" if name in empty else whole[name] for name in whole if name not in lost}, folder)
    assert complete(kit, folder, there) == (not lost and not empty)


@given(order=st.data())
@examples(max_examples=10, deadline=None)
def test_a_growing_plate_is_complete_with_its_last_file(
    kit: Kit, growing: Made, whole: dict[str, bytes], order: st.DataObject
) -> None:
    """Files arrive in any order, the manifest first, last or in between, some of it cut on the way."""
    index = set(map(growing.relative, growing.index))
    folder = growing.relative(growing.folder)
    there = Memory({}, folder)
    for name in order.draw(st.permutations(sorted(whole))):
        assert not complete(kit, folder, there)
        if name in index:
            body = whole[name].rstrip()
            there.put(name, body[: order.draw(st.integers(0, len(body) - 1))])
            assert not complete(kit, folder, there)
        there.put(name, whole[name])
    assert complete(kit, folder, there)


@pytest.mark.parametrize("first", ["index", "images"])
def test_the_index_may_come_first_or_last(kit: Kit, growing: Made, whole: dict[str, bytes], first: str) -> None:
    """The two orders in which copying tools really copy; the pauses of a time-lapse end nothing."""
    folder = growing.relative(growing.folder)
    index = [name for name in whole if name in set(map(growing.relative, growing.index))]
    images = [name for name in whole if name not in index]
    there = Memory({}, folder)
    for name in [*index, *images] if first == "index" else [*images, *index]:
        assert not complete(kit, folder, there)
        there.put(name, whole[name])
    assert complete(kit, folder, there)


@pytest.mark.parametrize("kit", [name for name, kit in KITS.items() if kit.stacks], indirect=True)
def test_a_time_lapse_that_pauses_lacks_its_later_time_points(kit: Kit, growing: Made) -> None:
    """Given an index that lists all of them and the files of the first; however long it is quiet."""
    there = growing.memory()
    for key, path in growing.images.items():
        if key.t:
            there.remove(growing.relative(path))
    plate = look(kit, growing.relative(growing.folder), there)
    missing = problems(plate, there.sizes)
    assert len(missing) == 8
    assert all(problem.where.endswith("time point 2") for problem in missing)


def test_a_screening_plate_is_read_by_its_names(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """384 wells, 9 fields, 5 channels: 17,280 images that are only names, within seconds of one core."""
    for name, instead in kit.names_only.items():
        monkeypatch.setattr(name, instead)
    made = kit.make(tmp_path, SCREENING)
    there = made.memory(image=_tiff())
    begun = time.process_time()
    plate = look(kit, made.relative(made.folder), there)
    wrong = problems(plate, there.sizes)
    assert time.process_time() - begun < SCREENING_CPU_SECONDS
    assert wrong == ()
    assert len(plate.planes) == 17_280
    assert places(plate) == {key: made.relative(path) for key, path in made.images.items()}
    assert plate.expected is not None
    assert (plate.expected.images, plate.expected.planes) == (3456, 17_280)
    assert (plate.expected.rows, plate.expected.columns) == (16, 24)

    gone = list(made.images)[12_345]
    sizes = there.sizes
    del sizes[made.relative(made.images[gone])]
    (problem,) = problems(plate, sizes)
    assert problem.where.startswith(f"well {well_name(*gone[:2])}, field {gone.field + 1}, channel {gone.c + 1}")


def _tiff() -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((8, 8), "uint16"), metadata=None)
    return stream.getvalue()

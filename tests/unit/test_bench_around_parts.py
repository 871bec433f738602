"""What the benchmarks around an import make and run without a server: requests, images, and the process of a plate."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import tifffile

from fleet_bench.around import hugeplate, hugeworker, resting
from fleet_bench.around.images import singles, stacks, words
from fleet_bench.around.spooling import requests
from fleet_bench.stage import SHARE
from fleet_common import logs
from fleet_common.messages import decode, encode
from fleet_stack.plates import PlateSpec, make_plate

SPEC = PlateSpec(name="small", wells=4, fields=2, channels=2, size=8)
FILES = 4 * 2 * 2 + 3


def test_requests_are_valid_and_each_is_another_one() -> None:
    made = requests(5)
    assert len({one.request_id for one in made}) == 5
    assert [decode(encode(one)) for one in made] == made


def test_images_are_written_once(tmp_path: Path) -> None:
    first = singles(tmp_path, 2)
    before = [file.stat().st_mtime_ns for file in first]
    assert [file.stat().st_mtime_ns for file in singles(tmp_path, 3)[:2]] == before
    assert len({file.read_bytes() for file in singles(tmp_path, 3)}) == 3


def test_stacks_are_of_thirty_planes_and_written_once(tmp_path: Path) -> None:
    first, second = stacks(tmp_path, 2)
    with tifffile.TiffFile(first) as file:
        assert [len(file.pages), *file.pages[0].shape] == [30, 500, 500]
    assert first.read_bytes() != second.read_bytes()
    before = first.stat().st_mtime_ns
    assert stacks(tmp_path, 1)[0].stat().st_mtime_ns == before


def test_images_may_be_submitted_again() -> None:
    """The same files are measured with several times."""
    said = words([Path("a.tif")], 7, "--skip", "all")
    assert "--again" in said
    assert said[:2] == ("submit", "a.tif")
    assert said[-2:] == ("--skip", "all")


def test_a_process_that_does_nothing_takes_next_to_nothing() -> None:
    rest = resting.watch(os.getpid(), 0.05)
    assert 0 <= rest.cpu_share < 1
    assert rest.memory_bytes > 1_000_000


def test_a_plate_of_equal_images_is_transferred_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the process that is measured: the request is decoded, the plate read, and every file hashed."""
    monkeypatch.setattr(logs, "configure", lambda _settings: None)
    plate = make_plate(tmp_path / "share/huge", SPEC, write_images=hugeplate.same_images)
    (tmp_path / "request.json").write_bytes(hugeplate.request_for(plate.folder, tmp_path / "share"))
    hugeworker.main(str(tmp_path / "request.json"), str(tmp_path / "share"))
    told = hugeplate.Transfer(**json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert told.files == FILES
    assert told.memory_bytes > 1_000_000
    assert min(told.listing_seconds, told.transfer_seconds) > 0
    assert decode((tmp_path / "request.json").read_bytes()).source.share == SHARE

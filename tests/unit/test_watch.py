"""A watch over folders: what is complete is published once, and nothing before it is."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from fleet_common import render
from fleet_common.events import Kind
from fleet_common.plates import InstrumentError, Plate, Reader
from fleet_common.plates.harmony import HarmonyFormat
from fleet_common.watching import PlateRule
from fleet_producer.completeness import State
from fleet_producer.watch.folder import Folder
from fleet_stack.plates import PlateSpec, tiff
from support.watching import DEADLINE_SECONDS, SETTLE_SECONDS, SMALL, Bench, Instrument


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def specs(count: int) -> list[PlateSpec]:
    return [replace(SMALL, name=f"P{number:03}", seed=number) for number in range(count)]


def killed(*_: object) -> None:
    """Die."""
    raise KeyboardInterrupt


class TestOnePlate:
    """From the first file to the request."""

    def test_a_complete_plate_is_published_after_the_settle_time(self, bench: Bench) -> None:
        """Given a plate that is there, then its request is published once nothing has changed for the settle time."""
        made = bench.plate()
        bench.watch(SETTLE_SECONDS - 1)
        assert bench.published == []
        assert bench.only.state is State.SETTLING
        bench.settle()
        (request,) = bench.broker.requests
        assert request.source.path == made.entry.relative_to(bench.root).as_posix()
        assert (request.owner.user, request.target, request.lane) == ("alice", "Screen:+name:All", "phenix1")
        last = bench.only
        assert (last.state, last.request_id) == (State.PUBLISHED, str(request.request_id))

    def test_what_the_instrument_recorded_is_told_of_a_published_plate(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = HarmonyFormat.read

        def failed(plate_format: HarmonyFormat, entry: PurePosixPath, reader: Reader) -> Plate:
            return replace(read(plate_format, entry, reader), errors=(InstrumentError("well A01", "no focus"),))

        monkeypatch.setattr(HarmonyFormat, "read", failed)
        bench.plate()
        bench.settle()
        assert bench.only.state is State.PUBLISHED
        assert bench.only.why.endswith("; the instrument recorded 1 errors")

    def test_it_is_the_request_that_submit_would_make(self, bench: Bench, tmp_path: Path) -> None:
        """So that a person who submits the same plate by hand gets the same request id."""
        bench.plate()
        bench.settle()
        other = Bench(tmp_path, host="acquisition-2")
        other.settle()
        assert other.published == bench.published

    def test_nothing_is_published_while_files_arrive(self, bench: Bench) -> None:
        """Given the index first and then a file now and then, then the plate is acquiring with n of N files."""
        instrument = Instrument.of(bench, replace(SMALL, companions=False))
        instrument.write([instrument.index])
        for number, file in enumerate(instrument.images, start=1):
            bench.watch(30)
            assert bench.only.state is State.ACQUIRING
            assert (bench.only.done, bench.only.of) == (number, len(instrument.files))
            instrument.write([file])
        assert bench.published == []
        bench.settle()
        assert len(bench.published) == 1

    def test_it_says_how_long_it_will_take(self, bench: Bench) -> None:
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(30)
        instrument.write(instrument.images[:3])
        bench.watch(30)
        assert bench.only.eta_seconds is not None
        assert 5 < bench.only.eta_seconds < 120

    def test_images_before_the_index_are_discovered(self, bench: Bench) -> None:
        instrument = Instrument.of(bench)
        instrument.write(instrument.images)
        bench.settle()
        assert bench.only.state is State.DISCOVERED
        assert bench.published == []
        instrument.write([instrument.index])
        bench.settle()
        assert len(bench.published) == 1

    def test_a_cut_index_is_not_read(self, bench: Bench) -> None:
        instrument = Instrument.of(bench)
        instrument.write(instrument.images)
        instrument.write([instrument.index], part=0.5)
        bench.settle()
        assert bench.only.state is State.DISCOVERED
        assert "format-broken" in bench.only.why

    def test_a_cut_image_keeps_a_plate_from_being_published(self, bench: Bench) -> None:
        """Given the last TIFF with a third of its bytes, then it is named, until it is whole."""
        instrument = Instrument.of(bench)
        instrument.finish()
        instrument.write(instrument.images[-1:], part=0.7)
        bench.settle()
        assert bench.published == []
        assert bench.only.state is State.ACQUIRING
        assert "is cut" in bench.only.problems[0]
        instrument.write(instrument.images[-1:])
        bench.settle()
        assert len(bench.published) == 1

    def test_a_temporary_name_keeps_it_back(self, bench: Bench) -> None:
        made = bench.plate()
        (made.folder / "Images/next.tiff.part").write_bytes(b"x")
        bench.settle()
        assert bench.only.state is State.SETTLING
        assert "next.tiff.part" in bench.only.why
        (made.folder / "Images/next.tiff.part").unlink()
        bench.settle()
        assert len(bench.published) == 1

    @pytest.mark.parametrize("sentinel", ["IMPORT_READY", "{folder}.ready"])
    def test_a_sentinel_is_waited_for(self, bench: Bench, sentinel: str) -> None:
        """In the folder of the plate, or beside it."""
        bench.watched["sentinel"] = sentinel
        made = bench.plate()
        name = sentinel.replace("{folder}", made.folder.name)
        bench.settle()
        assert f"the file {name} is not there" in bench.only.why
        assert bench.published == []
        folder = made.folder if name == sentinel else made.folder.parent
        (folder / name).write_text("yes")
        bench.watch(400)
        assert len(bench.published) == 1

    def test_what_stays_incomplete_is_told_with_its_wells(self, bench: Bench) -> None:
        """Given a plate that lacks an image, when its deadline is over, then people are told; once."""
        instrument = Instrument.of(bench)
        instrument.write([file for file in instrument.files if not file.name.startswith("r01c02")])
        bench.watch(DEADLINE_SECONDS + 400)
        assert bench.only.state is State.INCOMPLETE
        assert any("well A02" in problem for problem in bench.only.problems)
        assert "submit --partial" in bench.only.next_action
        (event,) = bench.broker.events
        assert (event.kind, event.source) == (Kind.INCOMPLETE, bench.only.key)
        assert "submit --partial" in render.detail(event)
        assert event.message is not None
        assert "well A02" in event.message

    def test_what_is_completed_after_all_is_withdrawn_from_people(self, bench: Bench) -> None:
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        instrument.finish()
        bench.watch(600)
        told, withdrawn = bench.broker.events[0], bench.broker.events[1]
        assert (withdrawn.kind, withdrawn.request_id) == (Kind.WITHDRAWN, told.request_id)
        assert len(bench.published) == 1

    def test_a_plate_that_is_deleted_is_forgotten(self, bench: Bench) -> None:
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(30)
        (instrument.folder / instrument.index).unlink()
        (instrument.folder / "Images").rmdir()
        instrument.folder.rmdir()
        bench.watch(30)
        assert bench.watcher.records == []

    def test_people_learn_that_a_plate_of_which_they_were_told_is_gone(self, bench: Bench) -> None:
        """Given a plate that stays incomplete and is deleted while no broker is there, then it is withdrawn once."""
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        bench.broker.connected = False
        shutil.rmtree(instrument.folder)
        bench.watch(30)
        bench.restart()
        bench.watch(30)
        bench.broker.connected = True
        bench.watch(60)
        told, withdrawn = bench.broker.events
        assert (withdrawn.kind, withdrawn.request_id) == (Kind.WITHDRAWN, told.request_id)
        assert withdrawn.message == "it is not there any more"
        assert bench.kept() == []

    def test_what_comes_back_before_that_is_the_plate_of_which_they_know(self, bench: Bench) -> None:
        """Given a plate that is moved away and back while no broker is there, then nobody hears of it again."""
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        bench.broker.connected = False
        instrument.folder.rename(bench.folder / "away")
        bench.watch(30)
        (bench.folder / "away").rename(instrument.folder)
        bench.watch(30)
        bench.broker.connected = True
        bench.watch(400)
        assert [event.kind for event in bench.broker.events] == [Kind.INCOMPLETE]

    def test_a_kill_after_telling_tells_the_same_again(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a process that dies before it notes that people were told, then they are told under the same id."""
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        with monkeypatch.context() as patched:
            patched.setattr(Folder, "mark", killed)
            with pytest.raises(KeyboardInterrupt):
                bench.watch(DEADLINE_SECONDS + 400)
        bench.restart()
        bench.watch(400)
        first, second = bench.broker.events
        assert first.request_id == second.request_id


class TestMany:
    """Batches, instruments, folders, images."""

    def test_each_of_many_is_published_once(self, bench: Bench) -> None:
        for spec in specs(12):
            bench.plate(spec)
        bench.settle()
        bench.watch(4000)
        assert len(bench.published) == len(set(bench.published)) == 12

    def test_several_folders_are_watched(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, folders=("phenix1", "cv8000"))
        bench.plate(replace(SMALL, name="A", seed=1), "phenix1")
        bench.plate(replace(SMALL, name="B", seed=2), "cv8000")
        bench.settle()
        assert [path.split("/")[0] for path in bench.sources] == ["cv8000", "phenix1"]

    def test_plates_may_lie_deeper(self, bench: Bench) -> None:
        bench.watched["depth"] = 2
        bench.plate(folder="phenix1/alice")
        bench.settle()
        assert len(bench.published) == 1

    def test_single_images_are_published_by_their_names(self, bench: Bench) -> None:
        bench.watched["files"] = ("*.TIF",)
        tiff(bench.top / "cell.tif")
        (bench.top / "notes.txt").write_text("x")
        bench.settle()
        assert bench.sources == ["phenix1/cell.tif"]
        assert bench.broker.requests[0].target == "Dataset:+name:All"

    def test_a_folder_of_unknown_formats_is_left_alone_unless_it_may_be_scanned(self, bench: Bench) -> None:
        (bench.top / "day1").mkdir()
        (bench.top / "day1/a.dv").write_bytes(b"cells")
        bench.settle()
        assert bench.only.state is State.DISCOVERED
        assert bench.published == []

    def test_a_folder_of_unknown_formats_is_one_scan(self, bench: Bench) -> None:
        """Given a folder that may be scanned, then a worker is asked once for all that is in it, also after a move."""
        bench.watched["scan"] = True
        bench.rules = (PlateRule(user="alice", group="screening", target="Dataset:+name:{plate}"),)
        for name in ("a.dv", "b.dv"):
            (bench.top / "day1/deep").mkdir(parents=True, exist_ok=True)
            (bench.top / "day1/deep" / name).write_bytes(name.encode())
        bench.settle()
        (request,) = bench.broker.requests
        assert (request.source.format, request.source.path) == ("scan", "phenix1/day1")
        assert (request.source.manifest.files, request.target) == (2, "Dataset:+name:day1")
        (bench.top / "day1").rename(bench.top / "monday")
        bench.watch(4000)
        assert len(bench.published) == 1

    def test_all_of_one_day_are_one_batch(self, bench: Bench) -> None:
        for spec in specs(3):
            bench.plate(spec)
        bench.settle()
        assert {request.batch.name for request in bench.broker.requests} == {"Phenix 1 2026-01-31"}
        assert len({request.batch.id for request in bench.broker.requests}) == 1

    def test_desktop_files_and_snapshots_are_passed_over(self, bench: Bench) -> None:
        for name in (".snapshot", "@eaDir", "$RECYCLE.BIN"):
            (bench.top / name).mkdir()
        bench.watch(10)
        assert bench.watcher.records == []

    def test_a_plate_that_cannot_be_read_does_not_stop_the_others(self, bench: Bench) -> None:
        """Given a link where a folder should be, and another plate."""
        (bench.top / "broken/Images").mkdir(parents=True)
        (bench.top / "broken/Images/Index.idx.xml").symlink_to("/etc/hostname")
        bench.plate()
        bench.settle()
        assert len(bench.published) == 1
        assert "not-a-regular-file" in bench.records["hcs/phenix1/broken"].why

    def test_a_format_that_fails_does_not_stop_the_others(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Given a facility's own format with a defect, then its plates say so, and all others are published."""
        bench.plate(specs(2)[0])
        bench.plate(specs(2)[1])
        read = HarmonyFormat.read

        def defective(plate_format: HarmonyFormat, entry: PurePosixPath, reader: Reader) -> Plate:
            if "P000" in str(entry):
                raise ZeroDivisionError("no wells")
            return read(plate_format, entry, reader)

        monkeypatch.setattr(HarmonyFormat, "read", defective)
        bench.settle()
        assert len(bench.published) == 1
        (failed,) = [record for record in bench.watcher.records if "P000" in record.key]
        assert "internal-error: ZeroDivisionError: no wells" in failed.why
        assert bench.watcher._metrics.internal_errors._value.get() > 0
        assert "ZeroDivisionError" in capsys.readouterr().out

    def test_sizes_that_differ_and_tiffs_can_be_left_alone(self, bench: Bench) -> None:
        """Given a TIFF that is longer than its like, then it keeps the plate back only when that is asked for."""
        bench.watched |= {"same_sizes": True, "check_tiffs": False}
        made = bench.plate()
        odd = next(iter(made.tiffs.values()))
        content = odd.read_bytes()
        odd.write_bytes(content + b"more")
        bench.settle()
        assert "of another size" in bench.only.problems[0]
        assert bench.published == []
        odd.write_bytes(content)
        bench.watch(400)
        assert len(bench.published) == 1

    def test_an_image_that_is_replaced_while_it_settles_is_quiet_anew(self, bench: Bench) -> None:
        """Given storage that shows the old time of a file that was written again."""
        made = bench.plate(replace(SMALL, companions=False))
        bench.watch(SETTLE_SECONDS - 5)
        status = made.entry.stat()
        text = made.entry.read_bytes()
        made.entry.write_bytes(text.replace(b"P1", b"P2"))
        os.utime(made.entry, ns=(status.st_atime_ns, status.st_mtime_ns))
        bench.watch(15)
        assert bench.published == []
        bench.watch(SETTLE_SECONDS + 30)
        assert len(bench.published) == 1

"""A watch over folders: what is complete is published once, and nothing before it is."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from fleet_common import render, wholeness
from fleet_common.assembling import Order
from fleet_common.broker import PublishRefused, PublishTimeout
from fleet_common.errors import UsageError
from fleet_common.events import Kind
from fleet_common.heartbeats import Settle
from fleet_common.messages import Options, Owner, Priority, SubmittedBy
from fleet_common.plates import InstrumentError, Plate, Reader
from fleet_common.plates.harmony import HarmonyFormat
from fleet_common.storage import Judgement, OpenFiles, Share, Shares, judge
from fleet_common.watching import PlateRule
from fleet_producer.completeness import State
from fleet_producer.prepare import prepare
from fleet_producer.watch import finding, looking, tree
from fleet_producer.watch.finding import Candidate
from fleet_producer.watch.folder import Folder
from fleet_producer.watch.lock import Lock
from fleet_producer.watch.looking import Observer, View
from fleet_stack.plates import PlateSpec, tiff
from support.builders import BATCH, a_request
from support.watching import DEADLINE_SECONDS, RULE, SETTLE_SECONDS, SMALL, Bench, Instrument


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def specs(count: int) -> list[PlateSpec]:
    return [replace(SMALL, name=f"P{number:03}", seed=number) for number in range(count)]


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

    def test_what_a_person_submits_as_partial_is_left_to_that_person(self, bench: Bench) -> None:
        """Given a plate that stays incomplete, when it is submitted with --partial, then nobody is asked any more."""
        instrument = Instrument.of(bench)
        instrument.write([file for file in instrument.files if not file.name.startswith("r01c02")])
        bench.watch(DEADLINE_SECONDS + 400)
        order = Order(
            owner=Owner(user="alice", group="screening"),
            target="Screen:+name:All",
            lane="phenix1",
            priority=Priority.NORMAL,
            batch=BATCH,
            submitted_by=SubmittedBy(host="acquisition-1"),
            options=Options(),
            partial_by="alice",
        )
        shares = Shares([Share("hcs", bench.root)])
        bench.spool.add([prepare(instrument.folder, shares, order, bench.time.clock).request])
        bench.watch(400)
        (request,) = bench.broker.requests
        last = bench.only
        assert (last.state, last.request_id) == (State.PUBLISHED, str(request.request_id))
        assert Kind.WITHDRAWN in {event.kind for event in bench.broker.events}
        bench.watch(8000)
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


class TestShare:
    """What a share does to a watch."""

    def test_a_share_that_goes_away_forgets_nothing(self, bench: Bench) -> None:
        """Given a plate that settles, when the share is away and back, then the settle time begins anew."""
        bench.plate()
        bench.watch(SETTLE_SECONDS - 5)
        bench.root.rename(bench.folder / "away")
        bench.watch(120)
        assert bench.watcher.troubles
        assert bench.watcher.unseen() is not None
        (bench.folder / "away").rename(bench.root)
        bench.watch(SETTLE_SECONDS - 5)
        assert bench.published == []
        bench.watch(400)
        assert len(bench.published) == 1
        assert bench.watcher.unseen() is None

    def test_an_empty_mount_point_is_no_deletion(self, bench: Bench) -> None:
        bench.plate()
        bench.settle()
        bench.root.rename(bench.folder / "away")
        bench.root.mkdir()
        bench.watch(60)
        assert bench.watcher.troubles
        assert len(bench.watcher.records) == 1
        bench.root.rmdir()
        (bench.folder / "away").rename(bench.root)
        bench.watch(4000)
        assert len(bench.published) == 1

    def test_a_folder_that_may_not_be_read_stops_no_other(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given one user's folder that is closed for a while, then others are seen, and nothing is forgotten."""
        bench.watched["depth"] = 2
        bench.plate(specs(2)[0], "phenix1/alice")
        bench.watch(10)
        entries_in = tree.entries_in

        def closed(files: OpenFiles, components: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
            if components[-1] == "alice":
                raise PermissionError("permission denied")
            yield from entries_in(files, components)

        with monkeypatch.context() as patched:
            patched.setattr(finding, "entries_in", closed)
            bench.plate(specs(2)[1], "phenix1/bob")
            bench.settle()
            assert [source.split("/")[1] for source in bench.sources] == ["bob"]
            assert bench.watcher.troubles == {"hcs/phenix1/alice": "permission denied"}
            assert not bench.watcher._folders[0].unsettled
            bench.restart()
            bench.watch(20)
            assert len(bench.kept()) == 2
        bench.settle()
        assert len(bench.published) == 2
        assert bench.watcher.unseen() is None

    def test_tries_become_rare_while_it_is_away(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.root.rename(bench.folder / "away")
        bench.watch(10)
        tries: list[float] = []
        folder = bench.watcher._folders[0]
        failed = folder._failed

        def noted(error: Exception) -> None:
            tries.append(bench.time.seconds)
            failed(error)

        monkeypatch.setattr(folder, "_failed", noted)
        bench.watch(3000)
        assert tries[-1] - tries[-2] == pytest.approx(300, abs=5)
        assert tries[1] - tries[0] < 60

    def test_the_clock_of_the_host_does_not_matter(self, bench: Bench) -> None:
        """Given times of files that lie years away, and a clock that jumps."""
        made = bench.plate()
        for file in made.files:
            os.utime(file, (4_000_000_000, 4_000_000_000))
        bench.watch(30)
        bench.time.wall = bench.time.wall.replace(year=1999)
        bench.settle()
        assert len(bench.published) == 1


class TestRestart:
    """Reboots, updates, kills."""

    def test_what_arrived_while_it_was_off_is_found(self, bench: Bench) -> None:
        bench.plate(specs(2)[0])
        bench.settle()
        bench.restart()
        bench.plate(specs(2)[1])
        bench.settle()
        assert len(bench.published) == len(set(bench.published)) == 2

    def test_a_reboot_in_the_middle_of_a_plate_begins_the_settle_time_anew(self, bench: Bench) -> None:
        bench.plate()
        bench.watch(SETTLE_SECONDS - 5)
        bench.restart()
        bench.watch(SETTLE_SECONDS - 5)
        assert bench.published == []
        bench.settle()
        assert len(bench.published) == 1

    def test_reboots_do_not_move_the_deadline(self, bench: Bench) -> None:
        """Given a host that is rebooted again and again, then a plate that stands still is told all the same."""
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        for _ in range(12):
            bench.watch(DEADLINE_SECONDS / 4)
            bench.restart()
        bench.watch(20)
        assert bench.only.state is State.INCOMPLETE

    def test_nothing_is_published_again(self, bench: Bench) -> None:
        for spec in specs(3):
            bench.plate(spec)
        bench.settle()
        for _ in range(3):
            bench.restart()
            bench.watch(4000)
        assert len(bench.published) == 3

    def test_folders_inside_each_other_keep_what_they_know(self, tmp_path: Path) -> None:
        """Given a watched folder in a watched folder, then a restart forgets the plates of neither."""
        bench = Bench(tmp_path, folders=("phenix1/alice", "phenix1"), watched={"deadline_seconds": 1e6})
        bench.plate(specs(2)[0], "phenix1/alice")
        bench.plate(specs(2)[1], "phenix1")
        bench.settle()
        for _ in range(2):
            bench.restart()
            bench.watch(30)
        known = {record.key.rpartition("/")[0] for record in bench.kept() if record.state is State.PUBLISHED}
        assert known == {"hcs/phenix1", "hcs/phenix1/alice"}

    def test_people_are_not_told_again(self, bench: Bench) -> None:
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        bench.restart()
        bench.watch(400)
        assert len(bench.broker.events) == 1

    def test_a_second_watch_is_refused(self, bench: Bench) -> None:
        with Lock(bench.state), pytest.raises(UsageError, match="another omero-fleet watch"), Lock(bench.state):
            pass

    def test_a_lock_is_free_again_afterwards(self, bench: Bench) -> None:
        with Lock(bench.state):
            pass
        with Lock(bench.state):
            pass

    def test_a_lock_needs_a_folder(self, bench: Bench) -> None:
        (bench.folder / "file").touch()
        with pytest.raises(UsageError, match="cannot be used"), Lock(bench.folder / "file"):
            pass


class TestBroker:
    """RabbitMQ away, refusing, back."""

    def test_a_broker_that_is_away_costs_nothing(self, bench: Bench) -> None:
        """Given no broker for a weekend, then everything is in the spool, and is published when it is back."""
        bench.broker.connected = False
        for spec in specs(3):
            bench.plate(spec)
        bench.watch(2000)
        assert len(bench.spool.entries()) == 3
        assert all(record.state is State.PUBLISHED for record in bench.watcher.records)
        bench.broker.connected = True
        bench.watch(10)
        assert len(bench.published) == len(set(bench.published)) == 3

    def test_news_is_told_when_it_is_back(self, bench: Bench) -> None:
        bench.broker.connected = False
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        assert bench.broker.events == []
        bench.broker.connected = True
        bench.watch(20)
        assert [event.kind for event in bench.broker.events] == [Kind.INCOMPLETE]

    def test_an_unconfirmed_request_stays_and_goes_again(self, bench: Bench) -> None:
        bench.broker.fails = PublishTimeout("no confirm")
        bench.plate()
        bench.settle()
        assert bench.spool.entries()[0].slip.sent_at is None
        bench.broker.fails = None
        bench.watch(20)
        assert len(bench.published) == 1

    def test_a_refused_request_is_held_back_for_a_while(self, bench: Bench) -> None:
        bench.broker.fails = PublishRefused("full")
        bench.plate()
        bench.settle()
        bench.broker.fails = None
        bench.watch(90)
        assert len(bench.published) == 1

    def test_it_says_that_it_is_alive(self, bench: Bench) -> None:
        bench.plate()
        bench.settle()
        last = bench.broker.heartbeats[-1]
        assert (last.lane, last.host) == ("phenix1", "acquisition-1")
        assert len(bench.broker.heartbeats) == pytest.approx(bench.time.seconds // 60 - 16, abs=2)
        bench.watch(61)
        last = bench.broker.heartbeats[-1]
        assert last.acquisitions[Settle.PUBLISHED] == 1
        assert last.spool_requests == 1
        assert last.seconds_since_scan < 20


class TestRules:
    """Rules in a watch; what they are in themselves is in test_rules.py."""

    def test_a_plate_without_a_rule_is_parked(self, bench: Bench) -> None:
        bench.rules = ()
        bench.plate()
        bench.settle()
        assert bench.only.state is State.COMPLETE
        assert "no rule matches" in bench.only.why
        assert "watch.rules" in bench.only.next_action
        assert bench.spool.entries() == []

    def test_it_is_published_once_there_is_one(self, bench: Bench) -> None:
        rules, bench.rules = bench.rules, ()
        bench.plate()
        bench.settle()
        bench.restart()
        bench.rules = rules
        bench.settle()
        assert len(bench.published) == 1

    def test_a_rule_can_ignore(self, bench: Bench) -> None:
        bench.rules = (PlateRule(barcode="P1", ignore=True),)
        bench.plate()
        bench.settle()
        bench.watch(4000)
        assert bench.only.state is State.IGNORED
        assert bench.published == []

    def test_a_rule_ignores_a_folder_that_is_no_plate(self, bench: Bench) -> None:
        """Given a folder of notes in which no index ever comes, then nobody is told of it."""
        bench.rules = (PlateRule(folder="hcs/phenix1/notes", ignore=True, name="notes"), RULE)
        (bench.top / "notes").mkdir()
        (bench.top / "notes/monday.txt").write_text("x")
        bench.watch(DEADLINE_SECONDS + 400)
        assert (bench.only.state, bench.only.why) == (State.IGNORED, "the rule notes ignores it")
        assert bench.only.next_action == ""
        assert bench.broker.events == []

    def test_a_rule_ignores_what_stays_incomplete(self, bench: Bench) -> None:
        bench.rules = (PlateRule(barcode="P1", ignore=True), RULE)
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        assert bench.only.state is State.IGNORED
        assert bench.broker.events == []

    def test_no_rule_ignores_what_another_may_import(self, bench: Bench) -> None:
        """Given a rule for all that is left, then a plate with a damaged index is told: its barcode is not known."""
        bench.rules = (PlateRule(barcode="P.*", user="a", group="g", target="Screen:id:1"), PlateRule(ignore=True))
        instrument = Instrument.of(bench)
        instrument.write([instrument.index], part=0.5)
        bench.watch(DEADLINE_SECONDS + 400)
        assert bench.only.state is State.INCOMPLETE
        assert "Export the plate again" in bench.only.next_action

    def test_an_ignored_plate_is_looked_into_once(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a plate that a rule ignores, then nobody opens it again for hours, nor lists it."""
        bench.rules = (PlateRule(barcode="P1", ignore=True),)
        looks: list[Candidate] = []
        look_into = Observer.look_into

        def noted(observer: Observer, candidate: Candidate) -> View:
            looks.append(candidate)
            return look_into(observer, candidate)

        monkeypatch.setattr(Observer, "look_into", noted)
        bench.plate()
        bench.settle()
        monkeypatch.setattr(Observer, "look", None)
        bench.watch(4 * 3600)
        assert bench.only.state is State.IGNORED
        assert len(looks) == 1

    def test_an_ignored_plate_that_becomes_another_is_looked_at(self, bench: Bench) -> None:
        bench.rules = (PlateRule(barcode="P1", ignore=True), RULE)
        made = bench.plate(replace(SMALL, companions=False))
        bench.settle()
        made.entry.write_bytes(made.entry.read_bytes().replace(b"P1", b"Q22"))
        bench.watch(4000)
        assert len(bench.published) == 1

    def test_what_was_ignored_is_published_when_the_rule_is_taken_away(self, bench: Bench) -> None:
        """Given other rules and a restart, then what the old ones ignored is looked at again."""
        bench.rules = (PlateRule(barcode="P1", ignore=True), RULE)
        bench.plate()
        bench.settle()
        bench.restart()
        bench.rules = (RULE,)
        bench.settle()
        assert len(bench.published) == 1

    def test_a_rule_that_makes_no_request_parks(self, bench: Bench) -> None:
        bench.rules = (PlateRule(user="alice", group="g", target="Screen:id:1", lane="No Lane"),)
        bench.plate()
        bench.settle()
        assert bench.only.state is State.COMPLETE
        assert "lane" in bench.only.why

    def test_a_plate_that_does_not_fit_its_target_is_parked(self, bench: Bench) -> None:
        bench.rules = (PlateRule(user="alice", group="g", target="Dataset:id:1"),)
        bench.plate()
        bench.settle()
        assert "target-mismatch" in bench.only.why
        assert bench.only.next_action

    def test_a_full_spool_parks_and_goes_on(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a quota that is used up, then the plate stays complete, and is published once there is room."""
        bench.plate()
        with monkeypatch.context() as patched:
            patched.setattr(bench.watcher._folders[0]._parts.keeper.spool, "_quota_bytes", 10)
            bench.settle()
            assert "may not hold" in bench.only.why
        bench.watch(400)
        assert len(bench.published) == 1


def killed(*_: object) -> None:
    """Die."""
    raise KeyboardInterrupt


def rested(bench: Bench, seconds: float) -> float:
    """How long it rests after so much work."""
    before = bench.time.seconds
    with bench.watcher._folders[0]._parts.breath.work():
        bench.time.pass_by(seconds)
    return bench.time.seconds - before - seconds


class TestAdaptive:
    """How often it looks."""

    def test_work_is_no_more_than_its_share(self, bench: Bench) -> None:
        """Given work that takes a second, then nine are waited for a share of a tenth."""
        bench.how["busy_percent"] = 10
        assert rested(bench, 1.0) == pytest.approx(9.0, abs=0.1)

    def test_long_work_is_rested_for_in_parts(self, bench: Bench) -> None:
        """Given half an hour of work, then no rest is longer than the longest pause, and none is forgotten."""
        bench.how["busy_percent"] = 10
        rests = [rested(bench, 1800.0), *(rested(bench, 0.0) for _ in range(60))]
        assert max(rests) == pytest.approx(300.0, abs=0.1)
        assert sum(rests) == pytest.approx(9 * 1800.0, abs=2.0)

    def test_a_long_look_rests_between_two_files(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given TIFFs that take 20 s each, then each is rested for before the next one is opened."""
        bench.how["busy_percent"] = 10
        bench.plate()
        began: list[float] = []

        def slowly(*arguments: Any) -> Judgement:
            began.append(bench.time.seconds)
            bench.time.pass_by(20)
            return judge(*arguments)

        monkeypatch.setattr(wholeness, "judge", slowly)
        bench.watch(2000)
        assert len(began) == 4
        assert [later - before for before, later in itertools.pairwise(began)] == pytest.approx([200.0] * 3, abs=1.0)

    def test_a_look_rests_between_two_folders(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.plate()
        beats: list[str] = []
        bench.watcher.tick()
        monkeypatch.setattr(bench.watcher._folders[0]._observer, "_pulse", lambda: beats.append("beat"))
        bench.watch(10)
        assert len(beats) >= 2

    def test_published_plates_rest(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given plates that are published, then nobody lists or opens them any more."""
        for spec in specs(5):
            bench.plate(spec)
        bench.settle()
        observer = bench.watcher._folders[0]._observer
        monkeypatch.setattr(observer, "look", None)
        bench.watch(4000)
        assert (observer._known, observer._whole) == ({}, {})

    def test_lists_of_files_are_kept_of_a_few_plates_only(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given more plates than lists are kept of, then all are published, each read once more than otherwise."""
        monkeypatch.setattr(looking, "MAX_KEPT_FILES", 10)
        for spec in specs(6):
            bench.plate(spec)
        rules, bench.rules = bench.rules, ()
        bench.settle()
        observer = bench.watcher._folders[0]._observer
        assert len(observer._whole) == 1
        assert len(observer._known) == 6
        assert all("no rule matches" in record.why for record in bench.watcher.records)
        bench.restart()
        bench.rules = rules
        bench.settle()
        assert len(set(bench.published)) == 6

    def test_a_plate_that_lacks_thousands_of_files_is_told_in_short(self, bench: Bench) -> None:
        instrument = Instrument.of(bench, replace(SMALL, wells=24, fields=3, channels=2))
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        assert "and 44 more files" in bench.only.why
        assert (bench.only.done, bench.only.of) == (1, 1 + 24 * 3 * 2)
        assert len(bench.only.problems) == 100

    def test_a_stop_ends_it_at_the_next_pause(self, bench: Bench) -> None:
        bench.time.at_wait = bench.watcher.stop
        bench.watcher.run()
        assert bench.time.waits == 1

    def test_once_ends_when_nothing_settles(self, bench: Bench) -> None:
        bench.plate()
        bench.watcher.run_once()
        assert len(bench.published) == 1

    def test_once_waits_for_no_share(self, bench: Bench) -> None:
        """Given a share that goes away while a plate settles, then it ends all the same, and says so."""
        bench.plate()
        bench.watch(10)
        bench.root.rename(bench.folder / "away")
        bench.time.pass_by(100)
        bench.watcher.run_once()
        assert bench.watcher.troubles
        assert bench.published == []

    def test_a_share_that_hangs_is_told(self, bench: Bench) -> None:
        bench.watcher.tick()
        assert bench.watcher.stands_still() is None
        bench.time.pass_by(1000)
        assert "nothing was looked at for" in (bench.watcher.stands_still() or "")

    def test_a_plate_of_many_files_is_no_hanging_share(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a look into TIFFs that takes hours, then heartbeats are told and requests go out meanwhile."""
        bench.plate()
        bench.watch(SETTLE_SECONDS - 15)
        stood_still: list[str | None] = []
        judge_one = wholeness._judge_one

        def slowly(*arguments: Any) -> Judgement:
            bench.time.pass_by(600)
            stood_still.append(bench.watcher.stands_still())
            return judge_one(*arguments)

        monkeypatch.setattr(wholeness, "_judge_one", slowly)
        before = len(bench.broker.heartbeats)
        bench.spool.add([a_request()])
        bench.broker.at_heartbeat = lambda: stood_still.append(f"{len(bench.broker.messages)} sent")
        bench.settle()
        assert len(stood_still) > 4
        assert not any(told and "nothing" in told for told in stood_still)
        assert len(bench.broker.heartbeats) - before >= 4
        assert "1 sent" in stood_still

    def test_a_stop_ends_it_in_the_middle_of_a_round(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given many plates to look at, when it is stopped at the first, then the others are for the next start."""
        for spec in specs(5):
            bench.plate(spec)
        looks: list[Candidate] = []
        look = Observer.look

        def noted(observer: Observer, candidate: Candidate) -> View:
            looks.append(candidate)
            bench.watcher.stop()
            return look(observer, candidate)

        monkeypatch.setattr(Observer, "look", noted)
        bench.watcher.run()
        assert len(looks) == 1

    def test_a_stop_ends_it_in_the_middle_of_a_plate(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.plate()
        bench.watch(SETTLE_SECONDS - 15)
        opened: list[str] = []
        judge_one = wholeness._judge_one

        def noted(files: OpenFiles, path: str, *others: Any) -> Judgement:
            opened.append(path)
            bench.watcher.stop()
            return judge_one(files, path, *others)

        monkeypatch.setattr(wholeness, "_judge_one", noted)
        bench.watcher.run()
        assert len(opened) == 1
        assert bench.published == []
        assert bench.watcher._metrics.internal_errors._value.get() == 0

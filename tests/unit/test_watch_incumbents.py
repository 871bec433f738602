"""What is documented to go wrong with OMERO.dropbox and other folder importers, one test each, named after it.

The first group is from https://omero.readthedocs.io/en/stable/sysadmins/dropbox.html, "Limitations" and "How it works".
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_common.events import Kind
from fleet_common.watching import PlateRule
from fleet_producer.completeness import State
from fleet_producer.watch.store import FILE, Store
from fleet_stack.plates import PlateSpec
from support.watching import DEADLINE_SECONDS, SMALL, Bench, Instrument


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def specs(count: int) -> list[PlateSpec]:
    return [replace(SMALL, name=f"P{number:03}", seed=number, companions=False) for number in range(count)]


class TestDropbox:
    """OMERO.dropbox."""

    def test_nas_not_supported(self, bench: Bench) -> None:
        """Given a share from which no file event comes, then names, sizes and times in listings are enough."""
        elsewhere = bench.folder / "other-host"
        instrument = Instrument.of(bench)
        bench.watch(30)
        instrument.folder = elsewhere / instrument.folder.name
        instrument.finish()
        instrument.folder.rename(bench.top / instrument.folder.name)
        bench.settle()
        assert len(bench.published) == 1

    def test_copying_many_files_en_masse(self, bench: Bench) -> None:
        """Given twenty plates that are copied at the same time, a file of each in turn, then each is published once."""
        instruments = [Instrument.of(bench, spec) for spec in specs(20)]
        for number in range(len(instruments[0].files)):
            for instrument in instruments:
                instrument.write(instrument.files[number : number + 1])
            bench.watch(15)
            assert bench.published == []
        bench.settle()
        assert len(bench.published) == len(set(bench.published)) == 20

    def test_events_while_off_are_lost(self, bench: Bench) -> None:
        """Given plates that arrive, change and finish while nobody watches, then they are found at the next start."""
        half = Instrument.of(bench, specs(2)[0])
        half.write(half.files[:3])
        bench.watch(30)
        bench.restart()
        half.finish()
        bench.plate(specs(2)[1])
        bench.settle()
        assert len(bench.published) == 2

    def test_permission_change_imports_again(self, bench: Bench) -> None:
        made = bench.plate()
        bench.settle()
        for path in [made.folder, *made.folder.rglob("*")]:
            path.chmod(0o750)
        bench.watch(4000)
        bench.restart()
        bench.watch(4000)
        assert len(bench.published) == 1

    def test_rename_imports_again(self, bench: Bench) -> None:
        made = bench.plate()
        bench.settle()
        made.folder.rename(made.folder.with_name("renamed"))
        bench.watch(4000)
        record = bench.records["hcs/phenix1/renamed"]
        assert len(bench.published) == 1
        assert record.state is State.PUBLISHED
        assert f"it was published from hcs/phenix1/{made.folder.name}" in record.why

    def test_move_to_another_watched_folder_imports_again(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, folders=("phenix1", "archive"))
        made = bench.plate()
        bench.settle()
        made.folder.rename(bench.root / "archive" / made.folder.name)
        bench.watch(4000)
        assert len(bench.published) == 1

    def test_move_away_and_back_imports_again(self, bench: Bench) -> None:
        made = bench.plate()
        bench.settle()
        made.folder.rename(bench.folder / "away")
        bench.watch(60)
        (bench.folder / "away").rename(made.folder)
        bench.watch(4000)
        assert len(bench.published) == 1

    def test_rename_of_a_single_image_imports_again(self, bench: Bench) -> None:
        bench.watched["files"] = ("*.img",)
        (bench.top / "a.img").write_bytes(b"cells" * 100)
        bench.settle()
        (bench.top / "a.img").rename(bench.top / "b.img")
        bench.watch(4000)
        assert bench.sources == ["phenix1/a.img"]

    def test_writing_a_file_again_imports_again(self, bench: Bench) -> None:
        """Given a plate whose index is written again, the same or another, then a person decides, not the watch."""
        made = bench.plate()
        bench.settle()
        os.utime(made.entry, (1, 1))
        bench.watch(8000)
        assert "changed" not in bench.only.why
        made.entry.write_bytes(made.entry.read_bytes() + b"<!-- again -->")
        bench.watch(8000)
        assert len(bench.published) == 1
        assert "has changed since" in bench.only.why
        assert "--again" in bench.only.next_action

    @pytest.mark.parametrize(
        "name",
        [
            "Zellwände",
            "\uff46\uff55\uff4c\uff4c",
            "Größe #1 [x]",
            "плашка",
            unicodedata.normalize("NFD", "Zellwände"),
            "🧫",
        ],
    )
    def test_unicode_names(self, bench: Bench, name: str) -> None:
        bench.plate(folder=f"phenix1/{name}")
        bench.watched["depth"] = 2
        bench.settle()
        assert [path.split("/")[1] for path in bench.sources] == [name]

    def test_default_group_only(self, bench: Bench) -> None:
        """Given a rule, then owner and group are those of the plate, whoever runs the watch."""
        bench.rules = (
            PlateRule(folder="hcs/phenix1/(?P<group>[^/]+)/.*", user="carol", group="{group}", target="Screen:id:7"),
        )
        bench.watched["depth"] = 2
        bench.plate(folder="phenix1/oncology")
        bench.settle()
        (request,) = bench.broker.requests
        assert (request.owner.user, request.owner.group) == ("carol", "oncology")

    def test_failures_only_in_logs(self, bench: Bench) -> None:
        """Given a plate that stays incomplete, then an event tells it, with what is missing and what to do."""
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        (event,) = bench.broker.events
        assert event.kind is Kind.INCOMPLETE
        assert event.message
        assert event.next_action

    def test_a_quiet_period_that_every_new_file_begins_anew(self, bench: Bench) -> None:
        """Here a plate waits for its own files only, however many others arrive in the same folder."""
        bench.plate(specs(1)[0])
        for number in range(6):
            (bench.top / f"other{number}").mkdir()
            bench.watch(20)
        assert len(bench.published) == 1


class TestOthers:
    """Folder importers of facilities, and the watchdog library."""

    def test_half_written_plates_import_successfully(self, bench: Bench) -> None:
        """ome/bioformats#2827: a missing file is shown as a blank plane."""
        instrument = Instrument.of(bench)
        instrument.finish()
        (instrument.folder / instrument.images[-1]).unlink()
        bench.settle()
        assert bench.published == []

    def test_polling_dies_silently_when_a_share_blips(self, bench: Bench) -> None:
        """gorakhargosh/watchdog#1065."""
        bench.root.rename(bench.folder / "away")
        bench.watch(20)
        (bench.folder / "away").rename(bench.root)
        bench.plate()
        bench.watch(400)
        assert len(bench.published) == 1

    def test_time_lapse_looks_finished_between_cycles(self, bench: Bench) -> None:
        """Given a settle time above the pause of the acquisition, then it is one plate, published at its end."""
        bench.watched["settle_seconds"] = 1800.0
        bench.watched["deadline_seconds"] = 90_000.0
        instrument = Instrument.of(bench, replace(SMALL, timepoints=3))
        instrument.write([instrument.index])
        for number in range(1, 4):
            cycle = [file for file in instrument.images if f"sk{number}" in file.name]
            instrument.write(cycle)
            bench.watch(1700)
            assert bench.published == []
        instrument.finish()
        bench.watch(4000)
        assert len(bench.published) == 1

    def test_a_copy_of_a_plate_is_imported_again(self, bench: Bench) -> None:
        """Given the same measurement in a second folder, then it is known by its id."""
        made = bench.plate()
        bench.settle()
        shutil.copytree(made.folder, bench.top / "copy")
        bench.watch(4000)
        assert len(bench.published) == 1
        assert bench.records["hcs/phenix1/copy"].state is State.PUBLISHED

    def test_images_of_equal_content_are_lost(self, bench: Bench) -> None:
        """Given two blank images without an id of their own, then each is published: they are two."""
        bench.watched["files"] = ("*.img",)
        for name in ("a.img", "b.img"):
            (bench.top / name).write_bytes(bytes(5000))
        bench.settle()
        assert bench.sources == ["phenix1/a.img", "phenix1/b.img"]

    def test_a_second_measurement_in_the_same_folder_is_passed_over(self, bench: Bench) -> None:
        made = bench.plate()
        bench.settle()
        shutil.rmtree(made.folder)
        bench.watch(30)
        bench.plate(replace(SMALL, seed=9))
        bench.watch(400)
        assert len(set(bench.published)) == 2

    def test_deleting_what_was_imported_raises_alarms(self, bench: Bench) -> None:
        """Given files of a published plate that are cleaned up, then nobody is told and nothing is published."""
        made = bench.plate()
        bench.settle()
        for path in made.tiffs.values():
            path.unlink()
        made.entry.unlink()
        bench.watch(3 * DEADLINE_SECONDS + 8000)
        assert bench.only.state is State.PUBLISHED
        assert {event.kind for event in bench.broker.events} == {Kind.ACCEPTED}


class TestState:
    """The state that an importer keeps for itself."""

    def test_state_file_deleted(self, bench: Bench) -> None:
        """Given a state that is lost, then each plate gets the request id that it had: OMERO holds it once."""
        for spec in specs(3):
            bench.plate(spec)
        bench.settle()
        before = set(bench.published)
        bench.restart()
        shutil.rmtree(bench.state)
        bench.settle()
        assert set(bench.published) == before
        assert len(bench.spool.entries()) == 3

    @pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 50, b""])
    def test_state_file_damaged(self, bench: Bench, content: bytes) -> None:
        bench.plate()
        bench.settle()
        before = set(bench.published)
        bench.restart()
        (bench.state / FILE).write_bytes(content)
        bench.settle()
        assert set(bench.published) == before
        assert bool(list(bench.state.glob("*.damaged-*"))) == bool(content)

    def test_a_clock_that_is_set_back_does_not_mix_up_what_was_published(self, bench: Bench) -> None:
        """Given two measurements in one folder, the second in 1999, then the second is known as the last one."""
        made = bench.plate()
        bench.settle()
        shutil.rmtree(made.folder)
        bench.watch(30)
        bench.time.wall = bench.time.wall.replace(year=1999)
        bench.plate(replace(SMALL, seed=9))
        bench.watch(400)
        last = bench.published[-1]
        assert bench._store is not None
        known = bench._store.published_from(bench.only.key)
        assert known is not None
        assert known.request_id == last

    def test_two_watchers_on_one_share(self, bench: Bench, tmp_path: Path) -> None:
        """Given two hosts with a state each, then both publish the same request id."""
        other = Bench(tmp_path, host="acquisition-2")
        for spec in specs(3):
            bench.plate(spec)
        bench.settle()
        other.settle()
        assert sorted(other.published) == sorted(bench.published)

    def test_a_record_of_another_version_is_looked_at_anew(self, bench: Bench) -> None:
        bench.plate()
        bench.settle()
        bench.restart()
        with Store(bench.state) as store:
            store._database.execute('UPDATE plates SET record = \'{"key": 7, "new": true}\'')
            store._database.commit()
        bench.settle()
        assert bench.only.state is State.PUBLISHED
        assert len(bench.published) == 1

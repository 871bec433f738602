"""What a watch makes of complete plates by its rules, and how often it looks."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_common import wholeness
from fleet_common.storage import Judgement, OpenFiles, judge
from fleet_common.watching import PlateRule
from fleet_producer.completeness import State
from fleet_producer.watch import looking
from fleet_producer.watch.finding import Candidate
from fleet_producer.watch.looking import Observer
from fleet_producer.watch.views import View
from fleet_stack.plates import PlateSpec
from support.builders import a_request
from support.watching import DEADLINE_SECONDS, RULE, SETTLE_SECONDS, SMALL, Bench, Instrument


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def specs(count: int) -> list[PlateSpec]:
    return [replace(SMALL, name=f"P{number:03}", seed=number) for number in range(count)]


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

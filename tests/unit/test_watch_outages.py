"""A watch whose share, process or broker goes away: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_common.broker import PublishRefused, PublishTimeout
from fleet_common.errors import UsageError
from fleet_common.events import Kind
from fleet_common.heartbeats import Settle
from fleet_common.storage import OpenFiles
from fleet_producer.completeness import State
from fleet_producer.slips import Entry
from fleet_producer.spool import Spool
from fleet_producer.watch import finding, looking, tree
from fleet_producer.watch.folder import _CHECK
from fleet_producer.watch.lock import Lock
from fleet_stack.plates import PlateSpec
from support.builders import a_request
from support.watching import DEADLINE_SECONDS, SETTLE_SECONDS, SMALL, Bench, Instrument


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def specs(count: int) -> list[PlateSpec]:
    return [replace(SMALL, name=f"P{number:03}", seed=number) for number in range(count)]


def failing(*_: object) -> tree.Listing:
    """A disk that fails."""
    raise OSError(errno.EIO, "Input/output error")


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

    def test_storage_that_fails_at_one_plate_moves_no_deadline(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Given a plate of which people were told, when one look at it fails, then nobody hears of it again."""
        instrument = Instrument.of(bench)
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        with monkeypatch.context() as patched:
            patched.setattr(looking, "list_plate", failing)
            bench.watch(400)
            assert (bench.only.state, bench.only.next_action) == (State.INCOMPLETE, _CHECK)
            assert "Input/output error" in bench.only.why
        bench.watch(400)
        assert bench.only.state is State.INCOMPLETE
        assert [event.kind for event in bench.broker.events] == [Kind.INCOMPLETE]

    def test_storage_that_fails_at_one_plate_proves_no_quiet(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.plate()
        bench.watch(SETTLE_SECONDS - 5)
        with monkeypatch.context() as patched:
            patched.setattr(looking, "list_plate", failing)
            bench.watch(SETTLE_SECONDS / 2)
        bench.watch(SETTLE_SECONDS - 20)
        assert bench.published == []
        bench.settle()
        assert len(bench.published) == 1

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

    def test_a_request_that_was_refused_and_confirmed_after_all_holds_nothing_back(self, bench: Bench) -> None:
        bench.broker.fails = PublishRefused("full")
        bench.plate()
        bench.settle()
        bench.broker.fails = None
        bench.watch(90)
        assert bench.watcher._outbox._held_back == {}

    def test_what_is_held_back_is_not_read_again_and_again(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a lane that is full, then its requests are read once a minute, and those of others go at once."""
        bench.how["heartbeat_seconds"] = 1e6
        bench.broker.fails = PublishRefused("full")
        bench.plate()
        bench.settle()
        looked: list[float] = []
        pending = Spool.pending

        def noted(spool: Spool) -> list[Entry]:
            looked.append(bench.time.seconds)
            return pending(spool)

        monkeypatch.setattr(Spool, "pending", noted)
        bench.watch(300)
        assert 4 <= len(looked) <= 6
        bench.broker.fails = None
        bench.spool.add([a_request(lane="other")])
        bench.watch(6)
        assert "other" in {request.lane for request in bench.broker.requests}
        bench.watch(60)
        assert len(bench.published) == 2

    def test_it_says_what_needs_a_person(self, bench: Bench) -> None:
        """Given a plate without a rule, a folder that is away and a damaged spool, then the heartbeat tells of each."""
        bench.rules = ()
        bench.plate()
        bench.settle()
        (kept,) = bench.spool.add([a_request()])
        (bench.spool.folder / kept.slip.name).write_bytes(b"{")
        bench.root.rename(bench.folder / "away")
        bench.watch(130)
        last = bench.broker.heartbeats[-1]
        assert (last.parked, last.folders_away, last.set_aside) == (1, 1, 1)

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


def test_a_signal_that_another_thread_received_is_heard_soon(bench: Bench) -> None:
    """Given a host with nothing to do, then the main thread, where Python runs handlers, comes round all the time."""
    waits: list[float] = []

    def noted() -> None:
        waits.append(bench.time.seconds)
        if len(waits) == 20:
            bench.watcher.stop()

    bench.time.at_wait = noted
    began = bench.time.seconds
    bench.watcher.run()
    pauses = [after - before for before, after in itertools.pairwise([began, *waits])]
    assert max(pauses) < 1.0

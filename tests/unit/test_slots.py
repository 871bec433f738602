"""Slots of the OMERO server, and the count in the database before an import starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_common.errors import LeaseLost, Reason, RequestError
from fleet_common.settings import OmeroSettings
from fleet_worker.slots import leave_to_start, slot, slot_count
from support.workers import FakeWorker, a_worker

GATE = "import.lock.gate.omero"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[FakeWorker]:
    """A worker on stand-ins."""
    with a_worker(tmp_path) as made:
        yield made


def go_on() -> None:
    """Nothing stops the attempt."""


@pytest.mark.parametrize(("kind", "count"), [("create", 2), ("import", 3), ("staged", 6), ("upload", 16)])
def test_the_settings_say_how_many_slots_there_are(kind: str, count: int) -> None:
    """Twice as many filesets may be in work as the server imports: the next ones are uploaded meanwhile."""
    assert slot_count(OmeroSettings(create_slots=2, import_slots=3, upload_slots=16), kind) == count


def test_a_slot_is_held_measured_and_released(worker: FakeWorker) -> None:
    """Whatever happens inside."""
    held: list[float] = []
    worker.journal.does["inside"] = lambda: held.append(worker.metric("slots_held", kind="import"))
    worker.journal.fails["inside"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError), slot(worker.parts, "import", go_on):
        worker.journal.write("inside")
    assert held == [1]
    assert worker.journal.steps == ["take import.slot.omero.import.0", "inside", "release import.slot.omero.import.0"]
    assert worker.metric("slots_held", kind="import") == 0
    assert worker.metric("slot_wait_seconds_count", kind="import") == 1


def test_who_waits_for_a_slot_or_the_gate_hears_that_it_was_given_back(worker: FakeWorker) -> None:
    """After it was, and only once."""
    with slot(worker.parts, "import", go_on), leave_to_start(worker.parts, go_on, 19):
        assert worker.publisher.freed == []
    assert worker.publisher.freed == [GATE, "import.slot.omero.import.0"]


def test_the_gate_is_left_while_the_server_is_full(worker: FakeWorker) -> None:
    """Others ask too; each counts for itself."""
    worker.omero.running = [4, 7]
    with leave_to_start(worker.parts, go_on, 19):
        worker.journal.write("inside")
    turn = [f"take {GATE}", "count", f"release {GATE}", "pause 1"]
    assert worker.journal.steps == [*turn, *turn, f"take {GATE}", "count", "inside", f"release {GATE}"]


def test_an_import_that_counts_already_does_not_stand_in_its_own_way(worker: FakeWorker) -> None:
    """Given one that was refused after it was written on it that it is about to start."""
    with leave_to_start(worker.parts, go_on, 19):
        assert worker.omero.not_counted == [19]


def test_a_failure_inside_leaves_the_gate(worker: FakeWorker) -> None:
    """Or nobody could start anything for as long as this worker lives."""
    with pytest.raises(ZeroDivisionError), leave_to_start(worker.parts, go_on, 19):
        raise ZeroDivisionError
    assert worker.journal.steps == [f"take {GATE}", "count", f"release {GATE}"]


def test_whoever_waits_at_the_gate_stops_when_its_lock_is_lost(worker: FakeWorker) -> None:
    """Given a server that stays full."""
    worker.omero.running = [4] * 100
    lost: list[LeaseLost] = []
    worker.journal.does["pause 1"] = lambda: lost.append(LeaseLost("gone"))

    def check() -> None:
        if lost:
            raise lost[0]

    with pytest.raises(LeaseLost), leave_to_start(worker.parts, check, 19):
        pytest.fail("nobody may start")
    assert worker.journal.steps.count("count") == 1


def test_a_server_that_never_has_room_is_busy(worker: FakeWorker) -> None:
    """After as long as an import may take; it costs no attempt."""
    worker.omero.running = [4] * 10_000
    days = iter(range(0, 86_400 * 100, 86_400))
    worker.parts = replace(worker.parts, monotonic=lambda: float(next(days)))
    with pytest.raises(RequestError, match="runs 4 imports of the fleet, and none of them ends") as caught:
        leave_to_start(worker.parts, go_on, 19).__enter__()
    assert caught.value.reason is Reason.OMERO_BUSY

"""One worker sweeps, the others wait to take over; no failure ends the sweeping."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from fleet_common.errors import Reason, Transient
from fleet_worker import sweeper as module
from fleet_worker.sweep import SweepParts, SweepReport
from fleet_worker.sweeper import Sweeper
from support.sweeping import Bench

LOCK = "import.lock.sweep.omero"
DEADLINE_SECONDS = 10.0


class Sweeps:
    """Stands in for the sweep: counts, and does what a test wants.

    Attributes:
        does: Called with the sweep's ``stop``.
    """

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.does: Callable[[Callable[[], bool]], object] = lambda _: None

    def __call__(self, parts: SweepParts, *, stop: Callable[[], bool]) -> SweepReport:
        """One sweep."""
        assert isinstance(parts, Bench)
        self.begun.release()
        self.does(stop)
        return SweepReport()

    def wait(self, times: int = 1) -> None:
        """Until so many more have begun."""
        for _ in range(times):
            assert self.begun.acquire(timeout=DEADLINE_SECONDS)


@pytest.fixture
def bench() -> Bench:
    """An OMERO without debris."""
    return Bench()


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> Sweeps:
    """No real sweep."""
    stand_in = Sweeps()
    monkeypatch.setattr(module, "sweep", stand_in)
    return stand_in


def sweeper(bench: Bench, *, interval_seconds: float = 0.01, ready: Callable[[], bool] = lambda: True) -> Sweeper:
    """Of a worker."""
    return Sweeper(bench, LOCK, interval_seconds=interval_seconds, ready=ready)


@pytest.fixture
def running(bench: Bench, sweeps: Sweeps) -> Iterator[Sweeper]:  # noqa: ARG001  put in place first
    """Started, and stopped at the end."""
    started = sweeper(bench)
    started.start()
    yield started
    started.stop()


class TestRound:
    """One round."""

    def test_the_lock_is_taken_once_and_kept(self, bench: Bench, sweeps: Sweeps) -> None:
        """For as long as the worker lives."""
        one = sweeper(bench)
        assert one.round() == SweepReport()
        assert one.round() == SweepReport()
        assert bench.journal.steps == [f"take {LOCK}"]
        sweeps.wait(2)

    def test_without_the_lock_nothing_is_swept(self, bench: Bench, sweeps: Sweeps) -> None:
        """Another worker has it; once that one is dead, this one sweeps."""
        bench.locked.held_by_others = {LOCK}
        one = sweeper(bench)
        assert one.round() is None
        assert not sweeps.begun.acquire(blocking=False)
        bench.locked.held_by_others = set()
        assert one.round() == SweepReport()

    def test_a_lost_lock_is_tried_again(self, bench: Bench, sweeps: Sweeps) -> None:
        """Given a partition, after which another worker has it, then none."""
        one = sweeper(bench)
        one.round()
        bench.locked.leases[0].lost = True
        bench.locked.held_by_others = {LOCK}
        assert one.round() is None
        bench.locked.held_by_others = set()
        assert one.round() == SweepReport()
        assert bench.journal.steps == [f"take {LOCK}", f"release {LOCK}", f"take {LOCK}"]
        sweeps.wait(2)

    def test_a_sweep_ends_when_its_lock_is_lost(self, bench: Bench, sweeps: Sweeps) -> None:
        """Between two pieces."""
        answers: list[bool] = []

        def lose(stop: Callable[[], bool]) -> None:
            answers.append(stop())
            bench.locked.leases[0].lost = True
            answers.append(stop())

        sweeps.does = lose
        sweeper(bench).round()
        assert answers == [False, True]

    def test_an_omero_that_is_not_ready_is_not_asked(self, bench: Bench, sweeps: Sweeps) -> None:
        """A refused login must not be tried again every ten minutes."""
        assert sweeper(bench, ready=lambda: False).round() is None
        assert not sweeps.begun.acquire(blocking=False)
        assert bench.journal.steps == []


class TestThread:
    """Round after round."""

    def test_it_sweeps_again_and_again_and_gives_the_lock_back(
        self, bench: Bench, sweeps: Sweeps, running: Sweeper
    ) -> None:
        """Until it is stopped."""
        sweeps.wait(3)
        running.stop()
        assert bench.journal.steps == [f"take {LOCK}", f"release {LOCK}"]
        running.stop()

    @pytest.mark.parametrize("error", [Transient(Reason.OMERO_UNAVAILABLE, "away"), KeyError("a defect")])
    def test_no_failure_ends_the_sweeping(self, sweeps: Sweeps, running: Sweeper, error: Exception) -> None:
        """Neither an outage nor a defect."""

        def fail(_: object) -> None:
            raise error

        sweeps.does = fail
        sweeps.wait(3)
        assert running is not None

    def test_a_sweep_that_is_under_way_is_told_to_stop(self, sweeps: Sweeps, running: Sweeper) -> None:
        """A worker that drains does not wait for thousands of folders."""
        told = threading.Event()

        def until_told(stop: Callable[[], bool]) -> None:
            while not stop():
                threading.Event().wait(0.001)
            told.set()

        sweeps.does = until_told
        sweeps.wait()
        running.stop()
        assert told.is_set()

    def test_zero_seconds_means_never(self, bench: Bench, sweeps: Sweeps) -> None:
        """A facility may leave it to ``omero-fleet doctor --sweep``."""
        idle = sweeper(bench, interval_seconds=0)
        idle.start()
        idle.stop()
        assert not sweeps.begun.acquire(blocking=False)

"""Debris of dead attempts is removed under the lock of its request, piece by piece, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet_common.errors import NeedsOperator, Reason, RequestError, Transient, failure
from fleet_worker.omero.serverfacts import LostFolder
from fleet_worker.omero.state import FilesetState, State
from fleet_worker.sweep import Fate, SweepReport, Swept, sweep
from support.builders import ALICE, DIGEST, REQUEST_ID, a_fileset
from support.sweeping import Bench

LOCK = f"import.lock.{REQUEST_ID}"
FOLDER = LostFolder(8, "alice_52/2026-01/31/10-00-00.000/", 52, "alice", 53, "screening", 0.0)


def debris(number: int, **changes: object) -> FilesetState:
    """An unfinished fileset of the usual request, whose session is closed."""
    annotation = {"digest": DIGEST, "request_id": str(REQUEST_ID)}
    return a_fileset(number, State.UPLOAD_UNFINISHED, **({"annotation": annotation} | changes))  # type: ignore[arg-type]


def told(report: SweepReport) -> list[tuple[str, Fate]]:
    """What became of what."""
    return [(one.what, one.fate) for one in (*report.filesets, *report.folders)]


@pytest.fixture
def bench() -> Bench:
    """Nothing is left behind yet."""
    return Bench()


class TestFilesets:
    """Unfinished filesets."""

    def test_one_is_deleted_as_its_owner_under_the_lock_of_its_request(self, bench: Bench) -> None:
        """In this order: lock, another look, the owner's session, deletion; and the lock is given back."""
        bench.leave(debris(12))
        assert sweep(bench).filesets == (Swept("Fileset:12", "alice", "screening", Fate.DELETED),)
        assert bench.journal.steps == [
            "unfinished",
            f"take {LOCK}",
            "find",
            "sudo alice screening",
            "delete 12",
            "session closed",
            f"release {LOCK}",
            "lost folders",
        ]
        assert bench.counted("swept_filesets") == 1.0

    def test_one_whose_request_is_in_work_is_left_alone(self, bench: Bench) -> None:
        """Whoever holds the lock cleans up itself."""
        bench.leave(debris(12))
        bench.locked.held_by_others = {LOCK}
        (swept,) = sweep(bench).filesets
        assert (swept.fate, swept.detail) == (Fate.SKIPPED, "its request is in work")
        assert bench.counted("swept_filesets") == 0.0

    @pytest.mark.parametrize(
        "now",
        [
            [],
            [a_fileset(12, State.COMPLETE)],
            [a_fileset(12, State.QUEUED_OR_RUNNING, session_closed=False)],
            [a_fileset(12, State.UPLOAD_UNFINISHED, session_closed=False)],
            [debris(13)],
        ],
        ids=["gone", "complete", "running", "somebody sends", "another one"],
    )
    def test_one_that_changed_since_it_was_found_is_left_alone(self, bench: Bench, now: list[FilesetState]) -> None:
        """Between the first look and the lock an attempt may have adopted or removed it."""
        bench.leave(debris(12))
        bench.omero.filesets = now
        assert told(sweep(bench)) == [("Fileset:12", Fate.SKIPPED)]
        assert bench.omero.filesets == now

    @pytest.mark.parametrize("request_id", ["", "x", "..", "import.gate", str(REQUEST_ID).upper()])
    def test_one_without_a_request_is_left_to_a_person(self, bench: Bench, request_id: str) -> None:
        """Anybody can write an annotation: nothing but a request id may name a lock."""
        bench.leave(debris(12, annotation={"request_id": request_id}))
        assert told(sweep(bench)) == [("Fileset:12", Fate.SKIPPED)]
        assert bench.locked.leases == []

    @pytest.mark.parametrize(
        "error",
        [
            Transient(Reason.OMERO_BUSY, "an import is at work"),
            NeedsOperator(Reason.OMERO_LOGIN_REFUSED, "no"),
            failure(Reason.OWNER_NOT_IN_GROUP, "alice has left"),
        ],
    )
    def test_a_failure_does_not_keep_the_rest(self, bench: Bench, error: RequestError) -> None:
        """Two filesets and a folder: the first cannot be deleted."""
        bench.leave(debris(12), debris(13))
        bench.omero.folders = [FOLDER]
        bench.journal.fails = {"delete 12": error}
        report = sweep(bench)
        assert told(report) == [
            ("Fileset:12", Fate.FAILED),
            ("Fileset:13", Fate.DELETED),
            (FOLDER.path, Fate.DELETED),
        ]
        assert str(error) in report.failed[0].detail
        assert bench.journal.steps.count(f"release {LOCK}") == 2

    def test_a_defect_is_not_taken_for_debris_that_cannot_be_deleted(self, bench: Bench) -> None:
        """It must come to light; the lock is given back all the same."""
        bench.leave(debris(12))
        bench.journal.fails = {"delete 12": KeyError("x")}
        with pytest.raises(KeyError):
            sweep(bench)
        assert bench.journal.steps[-1] == f"release {LOCK}"


class TestFolders:
    """Folders that no fileset names."""

    def test_one_is_deleted_as_its_owner(self, bench: Bench) -> None:
        """In the group in which the import was made."""
        bench.omero.folders = [FOLDER]
        assert told(sweep(bench)) == [(FOLDER.path, Fate.DELETED)]
        assert bench.journal.steps[-3:] == ["sudo alice screening", f"delete {FOLDER.path}", "session closed"]
        assert bench.counted("swept_directories") == 1.0

    @pytest.mark.parametrize(("chosen", "asked_seconds"), [({}, 3600.0), ({"lost_after_seconds": 0.0}, 0.0)])
    def test_only_old_ones_are_asked_for(self, bench: Bench, chosen: dict[str, float], asked_seconds: float) -> None:
        """An hour, unless a person knows that nobody imports."""
        sweep(bench, **chosen)  # type: ignore[arg-type]
        assert bench.omero.asked_age_seconds == asked_seconds

    def test_one_that_a_fileset_uses_by_now_is_left_alone(self, bench: Bench) -> None:
        """Asked right before it would be deleted."""
        bench.omero.folders = [FOLDER]
        bench.omero.used = {FOLDER.path}
        assert told(sweep(bench)) == [(FOLDER.path, Fate.SKIPPED)]
        assert bench.counted("swept_directories") == 0.0


class TestManner:
    """What holds for a whole sweep."""

    def test_a_dry_run_touches_nothing(self, bench: Bench) -> None:
        """No lock, no session, no deletion, no count."""
        bench.leave(debris(12))
        bench.omero.folders = [FOLDER]
        assert told(sweep(bench, dry_run=True)) == [
            ("Fileset:12", Fate.WOULD_DELETE),
            (FOLDER.path, Fate.WOULD_DELETE),
        ]
        assert bench.journal.steps == ["unfinished", "lost folders"]
        assert (bench.counted("swept_filesets"), bench.counted("swept_directories")) == (0.0, 0.0)

    @pytest.mark.parametrize(("pieces", "expected"), [(0, []), (1, ["Fileset:12"]), (2, ["Fileset:12", "Fileset:13"])])
    def test_a_sweep_that_must_stop_ends_between_two_pieces(
        self, bench: Bench, pieces: int, expected: list[str]
    ) -> None:
        """A worker that is told to stop, or whose lock is lost."""
        bench.leave(debris(12), debris(13))
        bench.omero.folders = [FOLDER]
        report = sweep(bench, stop=after(pieces))
        assert [one.what for one in report.filesets] == expected
        assert report.folders == ()

    def test_an_omero_that_is_away_ends_the_sweep(self, bench: Bench) -> None:
        """The next one comes in ten minutes."""
        bench.journal.fails = {"unfinished": Transient(Reason.OMERO_UNAVAILABLE, "away")}
        with pytest.raises(Transient):
            sweep(bench)

    def test_nothing_is_left_behind(self, bench: Bench) -> None:
        """The usual case."""
        assert sweep(bench) == SweepReport()
        assert sweep(bench).as_json() == {"filesets": (), "folders": ()}


def after(pieces: int) -> Callable[[], bool]:
    """A ``stop`` that says yes once so many pieces were let through."""
    left = [pieces]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


def test_the_owner_of_the_usual_request_is_alice() -> None:
    """The figures above are hers."""
    assert (FOLDER.owner_id, FOLDER.owner, FOLDER.group_id) == (ALICE.user_id, ALICE.user, ALICE.group_id)

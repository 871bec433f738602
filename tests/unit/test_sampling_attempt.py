"""What a sample of planes shows reaches the outcome event and the fileset's annotation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleet_common.errors import LeaseLost, Reason, RequestError, failure
from fleet_common.events import Kind
from fleet_common.messages import ImportRequest
from fleet_common.plates import InstrumentError, Plane, Plate
from fleet_common.storage import Shares
from fleet_worker.annotations import WARNINGS, plate_warnings, result_from
from fleet_worker.attempt import Attempt
from fleet_worker.checks import Checks
from fleet_worker.files import FilesHere, ReadGroup, find_files
from fleet_worker.job import Job, Outcome
from fleet_worker.omero.facts import PlateFacts, WellFacts
from fleet_worker.omero.state import State
from fleet_worker.reporting import Reporter
from support.builders import a_fileset
from support.fakes import facts_of
from support.workers import PATH, FakeWorker, a_real_request, a_worker

BLANK = "1 of 1 sampled planes are blank, although their files are there"


@dataclass
class Lock:
    """A request's lock."""

    lost: bool = False


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWorker]:
    """A worker that finds its request imported by another, who died before it was verified: a plate of one plane."""

    def find_plate(request: ImportRequest, shares: Shares, read_group: ReadGroup) -> FilesHere:
        found = find_files(request, shares, read_group)
        return replace(found, plate=replace(found.plate, planes=(Plane(0, 0, 0, 0, 0, 0, PATH),)))

    monkeypatch.setattr("fleet_worker.attempt.find_files", find_plate)
    with a_worker(tmp_path) as made:
        digest = a_real_request().source.manifest.digest
        made.omero.filesets = [a_fileset(19, State.COMPLETE, annotation={"digest": digest})]
        made.omero.facts = replace(
            facts_of("cell.tif", 5), plates=(PlateFacts(51, "P1", 8, 12, (WellFacts(1, 0, 0, (101,)),), (5,)),)
        )
        yield made


def attempt(worker: FakeWorker, lock: Lock | None = None, orders: list[str] | None = None) -> Outcome:
    """Try once."""
    request, parts = a_real_request(), worker.parts
    reporter = Reporter(
        request,
        1,
        "w1",
        tell=worker.publisher.events.append,
        metrics=worker.metrics,
        clock=parts.clock,
        monotonic=parts.monotonic,
    )
    check = Checks(lock or Lock(), threading.Event(), lambda: next(iter(orders or []), None))
    return Attempt(parts, Job(request, "phenix1", 1), reporter, check).run()


def test_a_blank_plane_is_a_warning_of_the_outcome_and_stays_with_the_fileset(worker: FakeWorker) -> None:
    """Imported all the same: only a person can say whether the well was empty."""
    worker.omero.pixels = bytes(48)
    outcome = attempt(worker)
    assert outcome.kind is Kind.ALREADY_IMPORTED
    (told,) = outcome.result.warnings
    assert told.startswith(BLANK)
    ((_, written, _),) = worker.omero.annotations
    assert (written["result"], written[WARNINGS]) == ("verified", told)


def test_an_outcome_that_is_rebuilt_has_the_warning_too(worker: FakeWorker) -> None:
    """From what stays with the fileset."""
    worker.omero.pixels = bytes(48)
    outcome = attempt(worker)
    ((_, written, _),) = worker.omero.annotations
    assert result_from(written, worker.omero.facts).warnings == outcome.result.warnings


def test_what_format_and_instrument_say_of_a_plate_reaches_its_outcome(
    worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a plate that is whole, with planes that the instrument recorded as failed."""

    def find_failed(request: ImportRequest, shares: Shares, read_group: ReadGroup) -> FilesHere:
        found = find_files(request, shares, read_group)
        planes = (Plane(0, 0, 0, 0, 0, 0, PATH),)
        errors = (InstrumentError("well A01, field 1", "no focus"), InstrumentError("well A02, field 1", "no light"))
        return replace(found, plate=replace(found.plate, planes=planes, warnings=("chunks are absent",), errors=errors))

    monkeypatch.setattr("fleet_worker.attempt.find_files", find_failed)
    worker.omero.pixels = bytes(48)
    outcome = attempt(worker)
    said, failed, sampled = outcome.result.warnings
    assert said == "chunks are absent"
    assert failed == "the instrument recorded 2 planes as failed, the first at well A01, field 1: no focus"
    assert sampled.startswith(BLANK)
    ((_, written, _),) = worker.omero.annotations
    assert failed in written[WARNINGS]


def test_of_many_warnings_the_first_are_told_and_the_others_counted() -> None:
    """An event is no report."""
    plate = Plate("f", "a", "", ("a",), warnings=tuple(f"warning {number}" for number in range(25)))
    assert plate_warnings(plate)[-2:] == ("warning 9", "and 15 more warnings of this kind")


def test_a_plane_with_texture_is_no_warning(worker: FakeWorker) -> None:
    """And nothing is written of it."""
    assert attempt(worker).result.warnings == ()
    ((_, written, _),) = worker.omero.annotations
    assert WARNINGS not in written


def test_the_sample_is_read_once_the_files_are_verified(worker: FakeWorker) -> None:
    """What failed its verification is not looked at."""
    attempt(worker)
    steps = worker.journal.steps
    assert steps.index("read back 19") < steps.index("read planes of 101") < steps.index("annotate 19")
    worker.omero.facts = replace(worker.omero.facts, images=())
    worker.journal.steps.clear()
    with pytest.raises(RequestError):
        attempt(worker)
    assert "read planes of 101" not in worker.journal.steps


def test_no_sample_is_read_where_the_settings_want_none(worker: FakeWorker) -> None:
    """A server may be too slow for it."""
    settings = worker.parts.settings
    none = settings.model_copy(update={"worker": settings.worker.model_copy(update={"sampled_planes": 0})})
    worker.parts = replace(worker.parts, settings=none)
    attempt(worker)
    assert "read planes of 101" not in worker.journal.steps


def test_a_lost_lock_is_noticed_before_the_sample(worker: FakeWorker) -> None:
    """Nothing is written on a fileset that is somebody else's."""
    lock = Lock()
    worker.journal.does["read back 19"] = lambda: setattr(lock, "lost", True)
    with pytest.raises(LeaseLost):
        attempt(worker, lock)
    assert "annotate 19" not in worker.journal.steps


def test_a_cancel_comes_too_late_for_it(worker: FakeWorker) -> None:
    """The import is there."""
    orders: list[str] = []
    worker.journal.does["read back 19"] = lambda: orders.append("cancelled by olga")
    assert attempt(worker, orders=orders).kind is Kind.ALREADY_IMPORTED


def test_a_server_that_goes_away_leaves_it_to_the_next_attempt(worker: FakeWorker) -> None:
    """Which looks again; the fileset stays."""
    worker.journal.fails["read planes of 101"] = failure(Reason.OMERO_UNAVAILABLE, "gone")
    with pytest.raises(RequestError) as caught:
        attempt(worker)
    assert caught.value.reason is Reason.OMERO_UNAVAILABLE
    assert not any(step.startswith(("annotate", "delete")) for step in worker.journal.steps)
    worker.journal.fails.clear()
    assert attempt(worker).kind is Kind.ALREADY_IMPORTED

"""One attempt at one request, from the allow-list to the last election, against stand-ins for OMERO and the broker."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fleet_common.errors import Cancelled, LeaseLost, NeedsOperator, Permanent, Reason, RequestError, Transient, failure
from fleet_common.events import Kind, Phase
from fleet_common.instruments import fleet_version
from fleet_common.messages import ChecksumAlgorithm, ImportRequest, Manifest, Options, Owner, Skip
from fleet_common.storage import ManifestEntry, Shares, summarise
from fleet_common.targets import parse_target
from fleet_worker.adoption import POLL_SECONDS
from fleet_worker.attempt import Attempt
from fleet_worker.checks import Checks
from fleet_worker.files import FilesHere, ReadGroup, find_files
from fleet_worker.job import Job, Outcome
from fleet_worker.omero.facts import SpecFile
from fleet_worker.omero.state import State
from fleet_worker.reporting import Reporter
from support.builders import BATCH, DIGEST, NOW, REQUEST_ID, a_fileset, a_source
from support.fakes import DATASET, OWN_FILESET, facts_of
from support.workers import CONTENT, LATER, PATH, FakeWorker, a_real_request, a_worker

SLOT = "import.slot.omero"
GATE = "import.lock.gate.omero"
WHOLE_LIFE = [
    "check owner",
    "find",
    "sudo alice screening",
    "find target",
    "session closed",
    f"take {SLOT}.staged.0",
    "sudo alice screening",
    f"take {SLOT}.create.0",
    "register",
    f"release {SLOT}.create.0",
    "find",
    "upload 0",
    f"take {SLOT}.import.0",
    f"take {GATE}",
    "count",
    "start",
    f"release {GATE}",
    "wait",
    "running closed",
    f"release {SLOT}.import.0",
    f"release {SLOT}.staged.0",
    "read back 19",
    "annotate 19",
    "find",
    "session closed",
]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[FakeWorker]:
    """A worker on stand-ins."""
    with a_worker(tmp_path) as made:
        yield made


def attempt(
    worker: FakeWorker,
    request: ImportRequest | None = None,
    *,
    check: Checks | None = None,
    number: int = 1,
) -> Outcome:
    """Try once; by default nothing stops it."""
    request = request or a_real_request()
    reporter = Reporter(
        request,
        number,
        "w1",
        tell=worker.publisher.events.append,
        metrics=worker.metrics,
        clock=worker.parts.clock,
        monotonic=worker.parts.monotonic,
    )
    return Attempt(worker.parts, Job(request, "phenix1", number), reporter, check or checks()).run()


@dataclass
class Lock:
    """A request's lock; lost when a test says so."""

    lost: bool = False


def checks(lock: Lock | None = None, orders: list[str] | None = None) -> Checks:
    """The checks of an attempt with this lock; an operator has cancelled it as soon as there is an order."""
    return Checks(lock or Lock(), threading.Event(), lambda: next(iter(orders or []), None))


def refused(worker: FakeWorker, request: ImportRequest | None = None, **how: Any) -> RequestError:
    """Try once, and fail."""
    with pytest.raises(RequestError) as caught:
        attempt(worker, request, **how)
    return caught.value


def assert_nothing_is_held(worker: FakeWorker) -> None:
    """Every slot and lock that was taken was released, and every session closed."""
    steps = worker.journal.steps
    taken = [step.removeprefix("take ") for step in steps if step.startswith("take ")]
    released = [step.removeprefix("release ") for step in steps if step.startswith("release ")]
    assert sorted(taken) == sorted(released)
    assert sum(step.startswith("sudo") for step in steps) == steps.count("session closed")
    assert worker.metric("omero_sessions") == 0
    assert {worker.metric("slots_held", kind=kind) for kind in ("create", "staged", "import")} == {0}


# --- the whole line -----------------------------------------------------------------------------------------------


def test_a_request_is_imported_step_by_step(worker: FakeWorker) -> None:
    """In the order of the design, and nothing else happens."""
    outcome = attempt(worker)
    assert worker.journal.steps == WHOLE_LIFE
    assert outcome.kind is Kind.IMPORTED
    assert (outcome.result.fileset_id, outcome.result.image_ids, outcome.result.target) == (19, (101,), "Dataset:5")
    assert (outcome.result.files, outcome.result.bytes, outcome.result.images, outcome.result.planes) == (1, 5, 1, 1)


def test_the_server_is_told_everything_about_the_request(worker: FakeWorker) -> None:
    """The key by which later attempts find the fileset, and the files as every worker names them."""
    request = a_real_request()
    attempt(worker, request, number=3)
    (spec,) = worker.omero.specs
    assert (spec.request_id, spec.digest, spec.attempt) == (str(REQUEST_ID), request.source.manifest.digest, 3)
    assert (spec.source, spec.format, spec.files) == (f"hcs/{PATH}", "file", (SpecFile(f"hcs/{PATH}", len(CONTENT)),))
    assert (spec.target, spec.reader_class, spec.fleet_version) == (DATASET, None, fleet_version())


def test_without_options_the_official_importers_defaults_hold(worker: FakeWorker) -> None:
    """Name from the file, SHA-1, nothing left out."""
    attempt(worker)
    (spec,) = worker.omero.specs
    assert (spec.name, spec.description, spec.algorithm, spec.skip) == (None, None, ChecksumAlgorithm.SHA1_160, ())


def test_the_options_are_handed_on(worker: FakeWorker) -> None:
    """A field that is not honoured would be a lie."""
    options = Options(
        name="N",
        description="D",
        checksum_algorithm=ChecksumAlgorithm.MD5_128,
        skip=(Skip.THUMBNAILS,),
        parallel_upload=1,
    )
    attempt(worker, a_real_request(options=options))
    (spec,) = worker.omero.specs
    assert (spec.name, spec.description, spec.algorithm, spec.skip) == (
        "N",
        "D",
        ChecksumAlgorithm.MD5_128,
        (Skip.THUMBNAILS,),
    )


def test_the_hashes_of_what_was_sent_are_what_the_server_compares(worker: FakeWorker) -> None:
    """In the order of the files."""
    attempt(worker)
    assert worker.omero.started_with == [(CONTENT.hex(),)]


def test_what_stays_with_the_fileset_says_where_it_came_from(worker: FakeWorker) -> None:
    """Provenance, and the phases that omero fs importtime reads."""
    attempt(worker, number=2)
    ((fileset, told, phases),) = worker.omero.annotations
    assert fileset == OWN_FILESET
    assert told == {
        "result": "verified",
        "verified_at": LATER.isoformat(),
        "fleet_version": fleet_version(),
        "attempt": "2",
        "source": f"hcs/{PATH}",
        "format": "file",
        "batch": "tuesday",
        "batch_id": str(BATCH.id),
        "lane": "phenix1",
        "target": "Dataset:5",
        "submitted_at": NOW.isoformat(),
        "submitted_by_host": "acquisition-1",
        "files": "1",
        "bytes": "5",
        "images": "1",
        "planes": "1",
    }
    assert phases == {Phase.METADATA: 0.5, Phase.PIXELDATA: 0.4, Phase.UPLOAD: pytest.approx(phases[Phase.UPLOAD])}
    assert phases[Phase.UPLOAD] > 0


def test_the_phases_are_told_in_order(worker: FakeWorker) -> None:
    """What a person sees who waits."""
    attempt(worker)
    told = [event.progress.phase for event in worker.publisher.events if event.progress]
    assert list(dict.fromkeys(told)) == [
        Phase.CHECK,
        Phase.TARGET,
        # For a place among the filesets in work, and again for an import slot.
        Phase.QUEUED,
        Phase.REGISTER,
        Phase.UPLOAD,
        Phase.PIXELDATA,
        Phase.THUMBNAILS,
        Phase.VERIFY,
        Phase.ANNOTATE,
    ]


def test_the_slots_are_those_of_the_settings(worker: FakeWorker) -> None:
    """One create slot, four import slots and eight filesets between both, shared by all workers of this server."""
    attempt(worker)
    (staged, _), (create, _), (imports, _), (gate, _) = worker.locks.asked
    assert staged == tuple(f"{SLOT}.staged.{index}" for index in range(8))
    assert (create, gate) == ((f"{SLOT}.create.0",), (GATE,))
    assert imports == tuple(f"{SLOT}.import.{index}" for index in range(4))
    assert worker.metric("slot_wait_seconds_count", kind="import") == 1


# --- refused before anything is sent --------------------------------------------------------------------------------

OTHER_MANIFEST = Manifest(files=1, bytes=5, digest=DIGEST)
BEFORE_ANYTHING_IS_SENT: list[tuple[str, dict[str, Any], type[RequestError], Reason]] = [
    ("another user", {"owner": Owner(user="bob", group="screening")}, Permanent, Reason.NOT_ALLOWED),
    ("another path", {"source": a_source(path="phenix10/cell.tif")}, Permanent, Reason.NOT_ALLOWED),
    ("another lane", {"lane": "cv8000"}, Permanent, Reason.NOT_ALLOWED),
    ("a missing file", {"source": a_source(path="phenix1/gone.tif")}, Transient, Reason.MANIFEST_DIFFERS),
    ("another digest", {"source": a_source(path=PATH, manifest=OTHER_MANIFEST)}, Transient, Reason.MANIFEST_DIFFERS),
    ("a format of another worker", {"source": a_source(path=PATH, format="columbus")}, Permanent, Reason.UNSUPPORTED),
    ("an image for a Screen", {"target": "Screen:id:5"}, Permanent, Reason.TARGET_MISMATCH),
    ("a name that OMERO refuses", {"source": a_source(path="phenix1/a:b.tif")}, Permanent, Reason.NAME_REFUSED),
]


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [row[1:] for row in BEFORE_ANYTHING_IS_SENT],
    ids=[row[0] for row in BEFORE_ANYTHING_IS_SENT],
)
def test_what_is_not_fit_is_refused_before_a_session_is_opened(
    worker: FakeWorker, changes: dict[str, Any], kind: type[RequestError], reason: Reason
) -> None:
    """The owner's session is for imports only."""
    error = refused(worker, a_real_request(**changes))
    assert (type(error), error.reason) == (kind, reason)
    assert not any(step.startswith(("sudo", "register")) for step in worker.journal.steps)


def test_what_is_not_allowed_is_refused_before_omero_is_called(worker: FakeWorker) -> None:
    """Nothing in OMERO can be found out through a lane that may not ask."""
    refused(worker, a_real_request(owner=Owner(user="bob", group="screening")))
    assert worker.journal.steps == []


def test_a_share_that_is_not_mounted_here_is_no_missing_file(worker: FakeWorker) -> None:
    """It costs no attempt."""
    (worker.root / PATH).unlink()
    (worker.root / PATH).parent.rmdir()
    assert refused(worker).reason is Reason.SHARE_UNAVAILABLE


def test_an_empty_file_may_be_one_that_is_not_visible_yet(worker: FakeWorker) -> None:
    """The manifest says that it is not empty: the mount lags behind."""
    (worker.root / PATH).write_bytes(b"")
    error = refused(worker)
    assert (type(error), error.reason) == (Transient, Reason.MANIFEST_DIFFERS)


def test_a_file_that_is_empty_in_the_manifest_is_for_good(worker: FakeWorker) -> None:
    """It will not grow by waiting: the instrument's copy failed."""
    (worker.root / PATH).write_bytes(b"")
    manifest = Manifest(files=1, bytes=0, digest=summarise([ManifestEntry(PATH, 0)]).digest)
    error = refused(worker, a_real_request(source=a_source(path=PATH, manifest=manifest)))
    assert (type(error), error.reason) == (Permanent, Reason.FILE_EMPTY)


@pytest.mark.parametrize(
    "step", ["check owner", "find", "sudo alice screening", "find target", "register"], ids=lambda one: one.split()[0]
)
def test_a_failure_before_there_is_a_fileset_deletes_nothing(worker: FakeWorker, step: str) -> None:
    """And gives everything back."""
    worker.journal.fails[step] = failure(Reason.OMERO_REFUSED, "no")
    assert refused(worker) is worker.journal.fails[step]
    assert not any(one.startswith(("delete", "upload")) for one in worker.journal.steps)
    assert worker.metric("omero_sessions") == 0
    if step != "sudo alice screening":
        assert_nothing_is_held(worker)


# --- a reader that is too old ---------------------------------------------------------------------------------------


@pytest.fixture
def needs_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is a plate that only a newer Bio-Formats reads."""

    def find_newer(request: ImportRequest, shares: Shares, read_group: ReadGroup) -> FilesHere:
        found = find_files(request, shares, read_group)
        return replace(found, plate=replace(found.plate, needs_bioformats=(7, 3, 1)))

    monkeypatch.setattr("fleet_worker.attempt.find_files", find_newer)


@pytest.mark.usefixtures("needs_newer")
def test_a_plate_that_needs_a_newer_reader_is_refused_before_a_session_is_opened(worker: FakeWorker) -> None:
    """The newest fileset of the server says which Bio-Formats it has."""
    worker.omero.newest_reader = (6, 7, 0)
    error = refused(worker)
    assert (type(error), error.reason) == (Permanent, Reason.SERVER_READER_TOO_OLD)
    assert worker.journal.steps == ["check owner", "find", "reader"]


@pytest.mark.usefixtures("needs_newer")
def test_the_first_fileset_of_a_server_is_refused_before_a_byte_is_sent(worker: FakeWorker) -> None:
    """Nothing told the version before it, and it tells it itself; it is deleted."""
    worker.omero.own_reader = (6, 7, 0)
    assert refused(worker).reason is Reason.SERVER_READER_TOO_OLD
    assert worker.journal.steps[-5:] == [
        f"release {SLOT}.create.0",
        "reader of 19",
        "delete 19",
        "session closed",
        f"release {SLOT}.staged.0",
    ]
    assert_nothing_is_held(worker)


@pytest.mark.usefixtures("needs_newer")
def test_a_server_that_is_new_enough_imports_it(worker: FakeWorker) -> None:
    """Whoever tells."""
    worker.omero.newest_reader = worker.omero.own_reader = (8, 0, 0)
    assert attempt(worker).kind is Kind.IMPORTED


@pytest.mark.usefixtures("needs_newer")
def test_what_was_imported_before_is_not_judged_by_its_reader(worker: FakeWorker) -> None:
    """Its verification does that."""
    worker.omero.newest_reader = (6, 7, 0)
    request = a_real_request()
    worker.omero.filesets = [a_fileset(7, State.COMPLETE, annotation={"digest": request.source.manifest.digest})]
    assert attempt(worker, request).kind is Kind.ALREADY_IMPORTED


# --- what earlier attempts left -----------------------------------------------------------------------------------


def test_a_complete_fileset_is_adopted_verified_and_annotated(worker: FakeWorker) -> None:
    """Nothing is sent a second time."""
    request = a_real_request()
    worker.omero.filesets = [
        a_fileset(7, State.COMPLETE, annotation={"digest": request.source.manifest.digest}),
    ]
    outcome = attempt(worker, request)
    assert outcome.kind is Kind.ALREADY_IMPORTED
    assert worker.journal.steps == [
        "check owner",
        "find",
        "sudo alice screening",
        "read back 7",
        "annotate 7",
        "session closed",
    ]


def test_an_adopted_fileset_that_differs_is_for_a_person(worker: FakeWorker) -> None:
    """Each time the same answer, and nothing is deleted."""
    request = a_real_request()
    worker.omero.filesets = [a_fileset(7, State.COMPLETE, annotation={"digest": request.source.manifest.digest})]
    worker.omero.facts = facts_of("cell.tif", 4)
    for _ in range(2):
        assert refused(worker, request).reason is Reason.VERIFICATION_FAILED
    assert not any(step.startswith("delete") for step in worker.journal.steps)
    assert [told["result"] for _, told, _ in worker.omero.annotations] == ["verification-failed"] * 2


def test_what_was_verified_once_needs_no_files_any_more(worker: FakeWorker) -> None:
    """A duplicate may wait until the instrument's disk is empty."""
    request = a_real_request()
    told = {"digest": request.source.manifest.digest, "result": "verified"}
    worker.omero.filesets = [a_fileset(7, State.COMPLETE, annotation=told)]
    (worker.root / request.source.path).unlink()
    outcome = attempt(worker, request)
    assert (outcome.kind, outcome.result.images) == (Kind.ALREADY_IMPORTED, 1)
    assert worker.journal.steps == ["check owner", "find", "sudo alice screening", "read back 7", "session closed"]


def test_a_verification_that_failed_once_gives_the_same_answer_without_looking_again(worker: FakeWorker) -> None:
    """With the difference that was found, from the fileset's own annotation."""
    request = a_real_request()
    told = {"digest": request.source.manifest.digest, "result": "verification-failed", "difference": "well B03 is gone"}
    worker.omero.filesets = [a_fileset(7, State.COMPLETE, annotation=told)]
    error = refused(worker, request)
    assert (error.reason, str(error)) == (Reason.VERIFICATION_FAILED, "Fileset:7: well B03 is gone")
    assert worker.journal.steps == ["check owner", "find"]


def test_debris_is_deleted_before_a_new_fileset_is_made(worker: FakeWorker) -> None:
    """All of it."""
    worker.omero.filesets = [a_fileset(7, State.BROKEN), a_fileset(8, State.UPLOAD_UNFINISHED)]
    assert attempt(worker).kind is Kind.IMPORTED
    steps = worker.journal.steps
    assert steps.index("delete 7") < steps.index("delete 8") < steps.index("register")


def test_debris_of_somebody_else_is_left_alone(worker: FakeWorker) -> None:
    """Another user put the request id on a fileset of his own: the import happens all the same."""
    worker.omero.filesets = [a_fileset(7, State.COMPLETE, owner_id=99), a_fileset(8, State.BROKEN, owner_id=99)]
    assert attempt(worker).kind is Kind.IMPORTED
    assert worker.journal.steps == WHOLE_LIFE


def ends_as(worker: FakeWorker, state: State, after_looks: int) -> None:
    """A dead worker's fileset 7 that the server is at, and what it is from the given look on."""
    request = a_real_request()
    digest = {"digest": request.source.manifest.digest}
    worker.omero.filesets = [a_fileset(7, State.QUEUED_OR_RUNNING, session_closed=False, annotation=digest)]
    looks = itertools.count(1)

    def look() -> None:
        if next(looks) == after_looks:
            worker.omero.filesets = [a_fileset(7, state, annotation=digest)]

    worker.journal.does["find"] = look


def test_an_import_of_a_dead_worker_is_waited_for_and_adopted(worker: FakeWorker) -> None:
    """Given an import that goes on in the server, when it ends well, then it is verified, annotated and the result."""
    ends_as(worker, State.COMPLETE, after_looks=4)
    outcome = attempt(worker)
    assert outcome.kind is Kind.ALREADY_IMPORTED
    wait = ["find", f"pause {POLL_SECONDS:g}"]
    assert worker.journal.steps == [
        "check owner",
        *["find", *wait, *wait, "find"],
        *["sudo alice screening", "read back 7", "annotate 7", "session closed"],
    ]


def test_an_import_of_a_dead_worker_that_ends_badly_is_made_anew(worker: FakeWorker) -> None:
    """In the same attempt: its debris is deleted, and nothing is waited for any more."""
    ends_as(worker, State.BROKEN, after_looks=3)
    assert attempt(worker).kind is Kind.IMPORTED
    steps = worker.journal.steps
    assert steps.index("delete 7") < steps.index("register")
    assert_nothing_is_held(worker)


def test_while_a_dead_workers_import_is_waited_for_its_phase_is_told(worker: FakeWorker) -> None:
    """As far as the database shows it."""
    ends_as(worker, State.COMPLETE, after_looks=3)
    attempt(worker)
    told = [event.progress.phase for event in worker.publisher.events if event.progress]
    assert Phase.METADATA in told


def test_a_lost_lock_ends_the_wait_for_a_dead_workers_import(worker: FakeWorker) -> None:
    """Nothing is touched: somebody else waits for it now."""
    lock = Lock()
    ends_as(worker, State.COMPLETE, after_looks=100)
    worker.journal.does[f"pause {POLL_SECONDS:g}"] = lambda: setattr(lock, "lost", True)
    assert isinstance(refused(worker, check=checks(lock)), LeaseLost)
    assert not any(step.startswith(("sudo", "delete")) for step in worker.journal.steps)


def test_an_import_that_never_ends_is_given_back(worker: FakeWorker) -> None:
    """After as long as an import may take; it costs no attempt."""
    ends_as(worker, State.COMPLETE, after_looks=1_000_000)
    hour = itertools.count(step=86400)
    worker.parts = replace(worker.parts, monotonic=lambda: float(next(hour)))
    error = refused(worker)
    assert (error.reason, "Fileset:7" in str(error)) == (Reason.STILL_RUNNING, True)


def test_a_dead_workers_upload_is_deleted_although_its_session_lives(worker: FakeWorker) -> None:
    """Whoever has the lock knows that nobody sends any more: nobody waits ten minutes for a session to end."""
    worker.omero.filesets = [a_fileset(7, State.UPLOAD_UNFINISHED, session_closed=False)]
    assert attempt(worker).kind is Kind.IMPORTED
    assert worker.journal.steps[:4] == ["check owner", "find", "sudo alice screening", "delete 7"]


def test_debris_is_deleted_even_where_nothing_can_be_imported(worker: FakeWorker) -> None:
    """The files are gone: the request waits for them, and OMERO is clean meanwhile."""
    worker.omero.filesets = [a_fileset(7, State.BROKEN)]
    (worker.root / PATH).unlink()
    assert refused(worker).reason is Reason.MANIFEST_DIFFERS
    assert worker.omero.filesets == []
    assert_nothing_is_held(worker)


# --- slots and the count in the database ----------------------------------------------------------------------------


def test_while_the_server_runs_as_many_as_it_may_nothing_is_started(worker: FakeWorker) -> None:
    """Given imports of dead workers, whose slots are free, then they are counted in the database all the same."""
    worker.omero.running = [5, 4, 3]
    attempt(worker)
    steps = worker.journal.steps
    first = steps.index(f"take {GATE}")
    turn = [f"take {GATE}", "count", f"release {GATE}", "pause 1"]
    assert steps[first : first + 11] == [*turn, *turn, f"take {GATE}", "count", "start"]
    assert_nothing_is_held(worker)


def test_the_gate_is_kept_until_the_own_import_counts(worker: FakeWorker) -> None:
    """Another worker must not count between our count and our start."""
    attempt(worker)
    steps = worker.journal.steps
    assert steps.index("count") < steps.index("start") < steps.index(f"release {GATE}") < steps.index("wait")


# --- cancelled ------------------------------------------------------------------------------------------------------

ORDER = "cancelled by dave@desk: wrong plate"


@pytest.mark.parametrize(
    ("at", "never", "deleted"),
    [
        ("check owner", "sudo alice screening", False),
        ("find target", "register", False),
        ("register", "upload 0", True),
        ("upload 0", "start", True),
        (f"take {SLOT}.import.0", "start", True),
        (f"take {GATE}", "start", True),
    ],
)
def test_a_cancelled_attempt_stops_at_its_next_step(worker: FakeWorker, at: str, never: str, *, deleted: bool) -> None:
    """And leaves nothing behind."""
    orders: list[str] = []
    worker.journal.does[at] = lambda: orders.append(ORDER)
    error = refused(worker, check=checks(orders=orders))
    assert (type(error), error.reason, str(error)) == (Cancelled, Reason.CANCELLED, ORDER)
    assert never not in worker.journal.steps
    assert ("delete 19" in worker.journal.steps) is deleted
    assert_nothing_is_held(worker)


def test_an_import_in_the_server_is_cancelled_there(worker: FakeWorker) -> None:
    """Given a server that stops, then what it had made is deleted."""
    orders: list[str] = []
    worker.journal.does["wait"] = lambda: orders.append(ORDER)
    worker.journal.does["cancel"] = lambda: worker.journal.fails.update(
        wait=failure(Reason.IMPORT_INTERRUPTED, "cancelled")
    )
    assert isinstance(refused(worker, check=checks(orders=orders)), Cancelled)
    steps = worker.journal.steps
    assert steps.index("cancel") < steps.index("running closed") < steps.index("delete 19")
    assert_nothing_is_held(worker)


def test_an_import_that_was_faster_than_the_cancel_is_the_result(worker: FakeWorker) -> None:
    """What is complete is never deleted."""
    orders: list[str] = []
    worker.journal.does["wait"] = lambda: orders.append(ORDER)
    assert attempt(worker, check=checks(orders=orders)).kind is Kind.IMPORTED
    assert "cancel" in worker.journal.steps
    assert not any(step.startswith("delete") for step in worker.journal.steps)


def test_what_was_imported_before_the_cancel_is_the_result(worker: FakeWorker) -> None:
    """The operator was late."""
    told = {"digest": a_real_request().source.manifest.digest, "result": "verified"}
    worker.omero.filesets = [a_fileset(7, State.COMPLETE, annotation=told)]
    assert attempt(worker, check=checks(orders=[ORDER])).kind is Kind.ALREADY_IMPORTED


def test_a_cancelled_request_leaves_no_debris_of_earlier_attempts(worker: FakeWorker) -> None:
    """Nobody will come for it any more."""
    worker.omero.filesets = [a_fileset(7, State.UPLOAD_UNFINISHED, session_closed=False)]
    assert isinstance(refused(worker, check=checks(orders=[ORDER])), Cancelled)
    assert worker.omero.filesets == []
    assert "register" not in worker.journal.steps


# --- the target ---------------------------------------------------------------------------------------------------


def test_a_missing_container_is_made_under_a_lock(worker: FakeWorker) -> None:
    """Two workers, same new name, one container: it is looked for again inside the lock."""
    worker.omero.missing_target = failure(Reason.TARGET_NOT_FOUND, "no Dataset Tuesday")
    attempt(worker)
    steps = worker.journal.steps
    lock = worker.locks.asked[0][0][0]
    at = steps.index("find target")
    assert steps[at : at + 4] == ["find target", f"take {lock}", "make target", f"release {lock}"]
    assert lock.startswith("import.lock.target.53.")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"target": "Dataset:+name:A"}, {"target": "Dataset:+name:A"}, True),
        ({"target": "Dataset:+name:A"}, {"target": "Dataset:+name:B"}, False),
        ({"target": "Dataset:+name:A"}, {"target": "Project:name:P/Dataset:+name:A"}, False),
    ],
)
def test_the_lock_is_that_of_the_target(
    worker: FakeWorker, one: dict[str, Any], other: dict[str, Any], *, same: bool
) -> None:
    """Different names do not wait for each other."""
    worker.omero.missing_target = failure(Reason.TARGET_NOT_FOUND, "none")
    for changes in (one, other):
        worker.omero.filesets = []
        attempt(worker, a_real_request(**changes))
    locks = [names[0] for names, _ in worker.locks.asked if ".lock.target." in names[0]]
    assert (locks[0] == locks[1]) is same


def test_a_target_given_by_id_is_never_made(worker: FakeWorker) -> None:
    """A mistyped id is an error, without a lock."""
    worker.omero.missing_target = failure(Reason.TARGET_NOT_FOUND, "no Dataset 6")
    assert refused(worker, a_real_request(target="Dataset:id:6")) is worker.omero.missing_target
    assert worker.omero.targets == [(parse_target("Dataset:id:6"), False)]
    assert worker.locks.asked == []


def test_a_target_that_may_not_be_linked_is_not_made_either(worker: FakeWorker) -> None:
    """Only what is not there is made."""
    worker.omero.missing_target = failure(Reason.TARGET_NOT_LINKABLE, "somebody else's")
    assert refused(worker).reason is Reason.TARGET_NOT_LINKABLE
    assert worker.locks.asked == []


# --- elections ----------------------------------------------------------------------------------------------------


def lands(worker: FakeWorker, at: str, state: State, number: int = 7) -> None:
    """At a step, a call of a killed worker lands: there is a rival, by default with a lower id."""
    rival = a_fileset(number, state, session_closed=state is State.COMPLETE)
    worker.journal.does[at] = lambda: worker.omero.filesets.append(rival)


def test_the_loser_of_an_election_deletes_its_own_before_it_sends_anything(worker: FakeWorker) -> None:
    """The rival's fileset stays."""
    lands(worker, "register", State.QUEUED_OR_RUNNING)
    error = refused(worker)
    assert (type(error), error.reason) == (Transient, Reason.ELECTION_LOST)
    assert "Fileset:7 was there before Fileset:19" in str(error)
    assert "upload 0" not in worker.journal.steps
    assert [one.id for one in worker.omero.filesets] == [7]
    assert_nothing_is_held(worker)


@pytest.mark.parametrize("number", [7, 30])
@pytest.mark.parametrize("at", ["register", "annotate 19"])
def test_a_registration_of_a_dead_worker_that_lands_late_is_deleted(worker: FakeWorker, at: str, number: int) -> None:
    """At once, or when the own import is complete; the own one stays."""
    lands(worker, at, State.UPLOAD_UNFINISHED, number)
    assert attempt(worker).kind is Kind.IMPORTED
    assert [one.id for one in worker.omero.filesets] == [OWN_FILESET]


def test_without_the_lock_nobody_elses_fileset_is_deleted(worker: FakeWorker) -> None:
    """The rival may be that of the worker that has the lock now."""
    lock = Lock()
    lands(worker, "annotate 19", State.UPLOAD_UNFINISHED, 30)
    worker.journal.does["read back 19"] = lambda: setattr(lock, "lost", True)
    assert isinstance(refused(worker, check=checks(lock)), LeaseLost)
    assert not any(step.startswith("delete") for step in worker.journal.steps)


def test_a_rival_in_the_server_leaves_the_decision_to_the_next_attempt(worker: FakeWorker) -> None:
    """Given a second import of the request that still runs, then nobody says imported before it has ended."""
    lands(worker, "annotate 19", State.QUEUED_OR_RUNNING, 30)
    assert refused(worker).reason is Reason.STILL_RUNNING
    assert not any(step.startswith("delete") for step in worker.journal.steps)


def test_the_loser_of_the_last_election_deletes_what_it_has_completed(worker: FakeWorker) -> None:
    """A rival that landed during a long import was there before."""
    lands(worker, "annotate 19", State.COMPLETE)
    assert refused(worker).reason is Reason.ELECTION_LOST
    assert [one.id for one in worker.omero.filesets] == [7]
    assert_nothing_is_held(worker)


def test_an_error_in_the_last_election_deletes_nothing_complete(worker: FakeWorker) -> None:
    """Nobody said that it was lost: the next attempt adopts the fileset."""
    broken = failure(Reason.OMERO_REFUSED, "the query was refused")
    worker.journal.does["annotate 19"] = lambda: worker.journal.fails.update({"find": broken})
    assert refused(worker) is broken
    assert "delete 19" not in worker.journal.steps


# --- failures once there is a fileset -------------------------------------------------------------------------------

IN_WORK: list[tuple[str, Reason, bool, bool]] = [
    # (step that fails, reason, whether the server has answered by then, whether the own fileset is deleted)
    ("upload 0", Reason.UPLOAD_DIFFERS, True, True),
    ("upload 0", Reason.MANIFEST_DIFFERS, True, True),
    ("upload 0", Reason.LEASE_LOST, True, True),
    ("upload 0", Reason.SESSION_LOST, True, False),
    ("upload 0", Reason.OMERO_UNAVAILABLE, True, False),
    ("upload 0", Reason.OMERO_BUSY, True, False),
    ("start", Reason.OMERO_REFUSED, True, False),
    ("start", Reason.SESSION_LOST, True, False),
    ("wait", Reason.IMPORT_FAILED, True, True),
    ("wait", Reason.UNKNOWN_FORMAT, True, True),
    ("wait", Reason.READER_FAILED, True, True),
    ("wait", Reason.LEASE_LOST, False, False),
    ("wait", Reason.OMERO_BUSY, False, False),
    ("wait", Reason.SESSION_LOST, False, False),
    ("read back 19", Reason.OMERO_REFUSED, True, False),
    ("annotate 19", Reason.OMERO_REFUSED, True, False),
]


@pytest.mark.parametrize(("step", "reason", "answered", "deleted"), IN_WORK)
def test_a_failed_attempt_leaves_no_debris_where_nothing_runs(
    worker: FakeWorker, step: str, reason: Reason, *, answered: bool, deleted: bool
) -> None:
    """What the server may still work on, and what is complete, is left to the next attempt."""
    worker.omero.answered = answered
    worker.journal.fails[step] = failure(reason, "it failed")
    assert refused(worker) is worker.journal.fails[step]
    assert ("delete 19" in worker.journal.steps) is deleted
    assert_nothing_is_held(worker)


def test_a_fileset_that_cannot_be_deleted_does_not_hide_why(worker: FakeWorker) -> None:
    """The first error is the one that counts."""
    worker.journal.fails["wait"] = failure(Reason.UNKNOWN_FORMAT, "no image")
    worker.journal.fails["delete 19"] = failure(Reason.OMERO_UNAVAILABLE, "gone")
    assert refused(worker).reason is Reason.UNKNOWN_FORMAT


def test_a_failed_verification_keeps_the_fileset_for_a_person(worker: FakeWorker) -> None:
    """It is evidence, and says itself what is wrong with it."""
    worker.omero.facts = replace(facts_of("cell.tif", 5), images=(), dataset_images={})
    error = refused(worker)
    assert (type(error), error.reason) == (NeedsOperator, Reason.VERIFICATION_FAILED)
    assert "Fileset:19: no image" in str(error)
    assert not any(step.startswith("delete") for step in worker.journal.steps)
    ((fileset, told, _),) = worker.omero.annotations
    assert (fileset, told["result"], told["difference"]) == (19, "verification-failed", "no image")


def test_a_failed_verification_is_remembered_on_the_fileset(worker: FakeWorker) -> None:
    """With what differs; the next attempt tells the same without comparing."""
    worker.omero.facts = replace(facts_of("cell.tif", 5), images=(), dataset_images={})
    first = refused(worker)
    ((fileset, told, phases),) = worker.omero.annotations
    assert (fileset, phases) == (OWN_FILESET, {})
    assert (told["result"], told["difference"], told["lane"]) == ("verification-failed", "no image", "phenix1")
    digest = a_real_request().source.manifest.digest
    worker.omero.filesets = [a_fileset(OWN_FILESET, State.COMPLETE, annotation={"digest": digest, **told})]
    assert str(refused(worker)) == str(first)


def test_what_is_not_in_its_target_fails_the_verification(worker: FakeWorker) -> None:
    """Given a Dataset that was deleted during the import, then image and Dataset are named, here and on the fileset."""
    worker.omero.facts = replace(facts_of("cell.tif", 5), dataset_images={})
    error = refused(worker)
    difference = "0 of 1 images are in Dataset:5 'Tuesday': was that deleted during the import?"
    assert (error.reason, str(error)) == (Reason.VERIFICATION_FAILED, f"Fileset:19: {difference}")
    assert worker.omero.annotations[0][1]["difference"] == difference


def test_an_adopted_fileset_may_have_been_moved(worker: FakeWorker) -> None:
    """Its images are where somebody put them; nobody is told off for that."""
    request = a_real_request()
    worker.omero.filesets = [a_fileset(7, State.COMPLETE, annotation={"digest": request.source.manifest.digest})]
    worker.omero.facts = replace(facts_of("cell.tif", 5), dataset_images={99: 1})
    assert attempt(worker, request).kind is Kind.ALREADY_IMPORTED


def test_a_checksum_that_differs_from_what_was_sent_is_a_failed_verification(worker: FakeWorker) -> None:
    """The server holds other bytes."""
    worker.omero.facts = facts_of("cell.tif", 5, b"cellz")
    assert "has another checksum" in str(refused(worker))


# --- files that arrive damaged ------------------------------------------------------------------------------------


def test_a_file_that_differs_is_sent_again_and_then_started_again(worker: FakeWorker) -> None:
    """Given one file that arrived damaged, when the server says so, then it alone travels again."""
    worker.omero.differing = [(0,)]
    assert attempt(worker).kind is Kind.IMPORTED
    steps = worker.journal.steps
    assert [step for step in steps if step in {"upload 0", "start", "wait"}] == [
        "upload 0",
        "start",
        "upload 0",
        "start",
        "wait",
    ]
    assert worker.metric("upload_repeats_total") == 1
    progress = [event.progress for event in worker.publisher.events if event.progress]
    assert (progress[-1].bytes_done, worker.metric("bytes_total")) == (len(CONTENT), 2 * len(CONTENT))


def test_after_three_repairs_the_attempt_gives_up_and_deletes_its_fileset(worker: FakeWorker) -> None:
    """The server refused it, so nothing runs."""
    worker.omero.differing = [(0,)] * 4
    assert refused(worker).reason is Reason.UPLOAD_DIFFERS
    assert worker.journal.steps.count("start") == 4
    assert worker.journal.steps.count("upload 0") == 4
    assert worker.journal.steps[-4:] == [
        f"release {SLOT}.import.0",
        "delete 19",
        "session closed",
        f"release {SLOT}.staged.0",
    ]


def test_an_import_of_many_files_is_counted_at_the_gate_and_started_after_it(
    worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a server that takes long to accept it, nobody else waits for that."""
    monkeypatch.setattr("fleet_worker.serverside.ANNOUNCED_FROM_FILES", 1)
    attempt(worker)
    steps, gate = worker.journal.steps, "import.lock.gate.omero"
    first = steps.index(f"take {gate}")
    assert steps[first : first + 5] == [f"take {gate}", "count", "announce 19", f"release {gate}", "start"]


def test_an_import_of_few_files_is_started_at_the_gate(worker: FakeWorker) -> None:
    """To write on it would take longer than to start it."""
    attempt(worker)
    steps, gate = worker.journal.steps, "import.lock.gate.omero"
    first = steps.index(f"take {gate}")
    assert steps[first : first + 4] == [f"take {gate}", "count", "start", f"release {gate}"]


# --- a lost lock --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost_at", "never", "deleted"),
    [
        ("find target", "register", False),
        (f"take {SLOT}.create.0", None, True),
        ("register", "upload 0", True),
        ("upload 0", "start", True),
        (f"take {SLOT}.import.0", "start", True),
        ("start", "read back 19", False),
    ],
)
def test_an_attempt_without_its_lock_stops_at_the_next_step(
    worker: FakeWorker, lost_at: str, never: str | None, *, deleted: bool
) -> None:
    """Somebody else may own the request: no second fileset is left, unless the server is already at it."""
    worker.omero.answered = False
    lock = Lock()
    worker.journal.does[lost_at] = lambda: setattr(lock, "lost", True)
    assert isinstance(refused(worker, check=checks(lock)), LeaseLost)
    assert never not in worker.journal.steps
    assert ("delete 19" in worker.journal.steps) is deleted
    assert_nothing_is_held(worker)

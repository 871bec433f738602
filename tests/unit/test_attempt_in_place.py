"""An attempt whose share is imported in place: what it says of it, everywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from fleet_common.events import Transfer
from fleet_worker.annotations import TRANSFER, result_from
from fleet_worker.attempt import Attempt
from fleet_worker.checks import Checks
from fleet_worker.job import Job, Outcome
from fleet_worker.linking import Links
from fleet_worker.reporting import Reporter
from support.fakes import Journal, facts_of
from support.workers import CONTENT, FakeWorker, a_real_request, a_worker


@dataclass
class FakeLinks:
    """Links the files of one share."""

    journal: Journal
    share: str

    def takes(self, share: str) -> bool:
        """Whether it is that share."""
        return share == self.share

    def send(
        self,
        *_: object,
        on_begin: Callable[[], None],
        on_bytes: Callable[[int], None],
        on_file: Callable[[], None],
        **_others: object,
    ) -> tuple[str, ...]:
        """The one file; its hash is its content, as for an upload."""
        on_begin()
        self.journal.write("link")
        on_bytes(len(CONTENT))
        on_file()
        return (CONTENT.hex(),)

    def send_again(self, *_: object, **_others: object) -> dict[int, str]:
        """The same."""
        self.journal.write("link again")
        return {0: CONTENT.hex()}


@dataclass
class Lock:
    """A request's lock."""

    lost: bool = False


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[FakeWorker]:
    """A worker on stand-ins."""
    with a_worker(tmp_path) as made:
        yield made


def attempt(worker: FakeWorker, share: str = "hcs") -> Outcome:
    """Try once, with this share in place."""
    parts = replace(worker.parts, links=cast("Links", FakeLinks(worker.journal, share)))
    request, told = a_real_request(), worker.publisher.events.append
    times: dict[str, Any] = {"clock": parts.clock, "monotonic": parts.monotonic}
    reporter = Reporter(request, 1, "w1", tell=told, metrics=worker.metrics, **times)
    return Attempt(parts, Job(request, "phenix1", 1), reporter, Checks(Lock(), threading.Event(), lambda: None)).run()


def test_its_files_are_linked_and_counted_as_such(worker: FakeWorker) -> None:
    """Nothing is sent."""
    attempt(worker)
    assert "link" in worker.journal.steps
    assert "upload 0" not in worker.journal.steps
    counted = {name: worker.metric(f"{name}_total") for name in ("linked_files", "linked_bytes", "files", "bytes")}
    assert counted == {"linked_files": 1, "linked_bytes": len(CONTENT), "files": 0, "bytes": 0}


def test_fileset_and_outcome_say_so(worker: FakeWorker) -> None:
    """And so does the status, and an outcome that is rebuilt from the fileset."""
    outcome = attempt(worker)
    (spec,) = worker.omero.specs
    assert spec.transfer is Transfer.LN_S
    assert outcome.result.transfer is Transfer.LN_S
    assert result_from({TRANSFER: "ln_s"}, facts_of("cell.tif", 5)).transfer is Transfer.LN_S


def test_files_that_omero_finds_different_are_linked_again(worker: FakeWorker) -> None:
    """By the same transfer, whatever it was."""
    worker.omero.differing = [(0,)]
    attempt(worker)
    assert "link again" in worker.journal.steps


def test_another_share_is_uploaded_and_nothing_is_said_of_it(worker: FakeWorker) -> None:
    """An older reader of events does not know the field."""
    outcome = attempt(worker, share="archive")
    assert "upload 0" in worker.journal.steps
    assert outcome.result.transfer is None
    assert worker.omero.specs[0].transfer is Transfer.UPLOAD

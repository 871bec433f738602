"""A scan request becomes import requests: the same ones every time, confirmed before it is settled itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from fleet_common.assembling import Order
from fleet_common.broker import FIRST_SEEN, REASON, RETRY_REASON, SUBMITTED_BY, BrokerUnavailable
from fleet_common.errors import Reason, RequestError
from fleet_common.events import Kind
from fleet_common.messages import ImportRequest, Options, Owner, decode, encode
from fleet_common.scanning import MAX_FILES, SCAN
from fleet_common.storage import Share, Shares
from fleet_producer.prepare import prepare
from fleet_stack.plates import PlateSpec, make_plate
from fleet_worker.handling import Handler
from fleet_worker.scan import Launch, Limits, Scanner
from support import fake_reader
from support.builders import BATCH, NOW, a_request
from support.fakes import a_delivery
from support.workers import FakeWorker, a_worker

ALICE = Owner(user="alice", group="screening")


def an_order(**changes: Any) -> Order:
    """What alice wants of a folder."""
    request = a_request()
    order = Order(ALICE, request.target, "phenix1", request.priority, BATCH, request.submitted_by, Options())
    return replace(order, **changes)


@dataclass
class Facility:
    """A worker with a fake Bio-Formats, and a folder ``phenix1/run`` on its share."""

    worker: FakeWorker
    scanner: Scanner
    hurry: threading.Event = field(default_factory=threading.Event)

    def write(self, *names: str) -> None:
        """Files with something in them."""
        for name in names:
            path = self.worker.root / "phenix1" / "run" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())

    def submitted(self, path: str = "phenix1/run", **changes: Any) -> ImportRequest:
        """The request that ``submit`` makes of a path."""
        shares = Shares([Share("hcs", self.worker.root)])
        order = an_order(**changes)
        return prepare(self.worker.root / path, shares, order, lambda: NOW).request

    def handle(self, request: ImportRequest, **changes: Any) -> None:
        """A worker takes it."""
        delivery = a_delivery(self.worker.journal, encode(request), **changes)
        Handler(self.worker.parts, lambda _error: None, self.hurry).handle(delivery)

    def expanded(self, request: ImportRequest) -> list[ImportRequest]:
        """What is published when a worker takes it."""
        before = len(self.worker.publisher.messages)
        self.handle(request)
        return [decode(message.body) for message in self.worker.publisher.messages[before:]]

    @property
    def said(self) -> str:
        """The message of the last event."""
        return self.worker.publisher.events[-1].message or ""


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    """With an empty folder."""
    scanner = Scanner(Launch((sys.executable, fake_reader.__file__), Limits(answer_seconds=30)))
    with a_worker(tmp_path) as worker:
        worker.parts = replace(worker.parts, scanner=scanner)
        (tmp_path / "phenix1" / "run").mkdir()
        yield Facility(worker, scanner)
    scanner.close()


def test_a_folder_of_images_becomes_a_request_for_each(facility: Facility) -> None:
    """Given two images, a set and a text, then three requests in the batch of the scan, and the outcome says so."""
    facility.write("a.tif", "b.tif", "set-1.x", "set-1.y", "unknown.txt")
    scan = facility.submitted()
    assert (scan.source.format, scan.source.path, scan.source.manifest.files) == (SCAN, "phenix1/run", 5)
    made = facility.expanded(scan)
    assert [(one.source.format, one.source.path, one.source.manifest.files) for one in made] == [
        ("file", "phenix1/run/a.tif", 1),
        ("file", "phenix1/run/b.tif", 1),
        ("bio-formats", "phenix1/run/set-1.x", 2),
    ]
    for one in made:
        assert (one.owner, one.target, one.lane, one.batch) == (scan.owner, scan.target, scan.lane, scan.batch)
        assert (one.priority, one.options, one.submitted_by) == (scan.priority, scan.options, scan.submitted_by)
    last = facility.worker.publisher.events[-1]
    assert (last.kind, last.result) == (Kind.EXPANDED, None)
    assert last.message == "3 import requests, 1 files are no images"


def test_requests_are_confirmed_before_the_scan_is_told_and_acked(facility: Facility) -> None:
    """A worker that dies in between leaves duplicates at worst, never a loss."""
    facility.write("a.tif", "b.tif")
    facility.handle(facility.submitted())
    steps = [step for step in facility.worker.journal.steps if step.startswith(("publish", "confirmed", "ack"))]
    assert steps == ["publish to import.requests"] * 2 + ["confirmed expanded", "ack"]


def test_each_request_is_accepted_in_the_log_before_the_scan_has_ended(facility: Facility) -> None:
    """So a batch is never over between the scan and its images; a producer's word cannot undo an outcome."""
    facility.write("a.tif")
    (one,) = facility.expanded(facility.submitted())
    accepted, last = facility.worker.publisher.events[-2:]
    assert (accepted.kind, accepted.request_id, accepted.source) == (
        Kind.ACCEPTED,
        one.request_id,
        "hcs/phenix1/run/a.tif",
    )
    assert (accepted.seq, accepted.attempt, accepted.batch, last.kind) == (0, 0, BATCH, Kind.EXPANDED)


def test_its_requests_are_published_for_whoever_submitted_it(facility: Facility) -> None:
    """Workers refuse requests that nobody submitted."""
    facility.write("a.tif")
    facility.handle(facility.submitted())
    (message,) = facility.worker.publisher.messages
    assert message.headers[SUBMITTED_BY] == "phenix1"
    assert FIRST_SEEN in message.headers
    assert message.message_id == str(decode(message.body).request_id)
    assert message.routing_key == "phenix1.normal"


def test_a_scan_that_is_delivered_again_gives_the_same_requests(facility: Facility) -> None:
    """To the byte, so that its duplicates meet."""
    facility.write("a.tif", "deep/b.tif", "set-1.x", "set-1.y")
    scan = facility.submitted()
    first = [encode(one) for one in facility.expanded(scan)]
    assert [encode(one) for one in facility.expanded(scan)] == first


def test_an_image_of_a_scan_is_the_same_request_as_the_image_submitted_alone(facility: Facility) -> None:
    """Whoever asks: it is imported once."""
    facility.write("a.tif")
    (one,) = facility.expanded(facility.submitted())
    assert one.request_id == facility.submitted("phenix1/run/a.tif").request_id


def test_again_makes_new_requests_that_are_the_same_in_each_delivery(facility: Facility) -> None:
    """The scan's own id carries it."""
    facility.write("a.tif")
    usual, again = facility.submitted(), facility.submitted(nonce="once more")
    (first,) = facility.expanded(usual)
    assert again.request_id != usual.request_id
    (second,) = facility.expanded(again)
    assert second.request_id != first.request_id
    assert facility.expanded(again) == [second]


def test_a_plate_of_a_known_format_is_found_with_its_images(facility: Facility) -> None:
    """It keeps its format, and what goes into no Screen is left out by name."""
    make_plate(facility.worker.root / "phenix1" / "run", PlateSpec(name="p", wells=2, fields=1))
    facility.write("a.tif")
    (plate,) = facility.expanded(facility.submitted(target="Screen:+name:S"))
    assert plate.source.format == "harmony"
    assert facility.said.startswith("1 import requests, 1 left out: 'phenix1/run/a.tif': target-mismatch: ")


def test_an_incomplete_plate_is_left_out_by_name(facility: Facility) -> None:
    """Nothing is published before its index is satisfied, here as little as by submit."""
    made = make_plate(facility.worker.root / "phenix1" / "run", PlateSpec(name="p", wells=2, fields=1))
    next(iter(made.tiffs.values())).unlink()
    whole = make_plate(facility.worker.root / "phenix1" / "run", PlateSpec(name="q", wells=2, fields=1))
    (plate,) = facility.expanded(facility.submitted(target="Screen:+name:S"))
    assert plate.source.path == whole.entry.relative_to(facility.worker.root).as_posix()
    assert "manifest-differs" in facility.said
    assert "well A01" in facility.said


def test_a_file_that_kills_the_reader_is_named_and_all_others_are_imported(facility: Facility) -> None:
    """It costs only itself."""
    facility.write("a.tif", "die.tif", "z.tif")
    assert len(facility.expanded(facility.submitted())) == 2
    assert facility.said == (
        "2 import requests, 1 left out: 'phenix1/run/die.tif': Bio-Formats died of it: it ended with exit code 7"
    )


def test_many_that_are_left_out_are_told_by_the_first_five(facility: Facility) -> None:
    """The event log is no list of files; the worker's log has them all."""
    facility.write("a.tif", *(f"broken-{number}.tif" for number in range(8)))
    with structlog.testing.capture_logs() as logs:
        facility.expanded(facility.submitted())
    assert facility.said.count("Bio-Formats failed at it") == 5
    assert facility.said.endswith("; and 3 more")
    assert sum(line["event"] == "left out of a scan" for line in logs) == 8


# --- what is refused ----------------------------------------------------------------------------------------------


def reason_of(facility: Facility, header: str = REASON) -> str:
    """Why the one message was published, which is the scan itself."""
    (message,) = facility.worker.publisher.messages
    return str(message.headers[header])


def test_a_folder_without_anything_to_import_is_dead_with_what_it_holds(facility: Facility) -> None:
    """Nobody should take it for done."""
    facility.write("unknown.txt", "broken.tif")
    facility.handle(facility.submitted())
    assert reason_of(facility) == "unknown-format"
    assert "0 import requests, 1 files are no images, 1 left out" in facility.said


def test_a_scan_outside_its_lane_is_refused_before_anything_is_read(facility: Facility) -> None:
    """The allow-list holds for the folder as for each of its requests."""
    outside = facility.worker.root / "other" / "run"
    outside.mkdir(parents=True)
    (outside / "a.tif").write_bytes(b"x")
    facility.handle(facility.submitted("other/run"))
    assert reason_of(facility) == "not-allowed"
    assert facility.scanner.version == ""


def test_files_that_are_not_yet_visible_here_are_waited_for(facility: Facility) -> None:
    """The worker lists the folder as the producer did."""
    facility.write("a.tif", "b.tif")
    scan = facility.submitted()
    (facility.worker.root / "phenix1" / "run" / "b.tif").unlink()
    facility.handle(scan)
    assert reason_of(facility, RETRY_REASON) == "manifest-differs"


def test_a_worker_without_bioformats_says_what_it_lacks(facility: Facility) -> None:
    """And the dead letter can be replayed once it has it."""
    facility.write("a.tif")
    facility.worker.parts = replace(facility.worker.parts, scanner=None)
    facility.handle(facility.submitted())
    assert reason_of(facility) == "unsupported"
    assert "scan.jar" in facility.said


def test_a_cancelled_scan_publishes_nothing(facility: Facility) -> None:
    """An operator has cancelled its batch."""
    facility.write("a.tif")
    facility.worker.parts = replace(facility.worker.parts, cancelled=lambda _request: "cancelled by olga")
    facility.handle(facility.submitted())
    assert facility.worker.publisher.messages == []
    assert facility.worker.publisher.events[-1].kind is Kind.CANCELLED


def test_a_broker_that_goes_away_half_way_leaves_the_scan_to_be_done_again(facility: Facility) -> None:
    """Given the broker away after the first request, then nothing is acked as done; the next delivery does it all."""
    facility.write("a.tif", "b.tif")
    journal = facility.worker.journal

    def second_fails() -> None:
        if journal.steps.count("publish to import.requests") == 2:
            journal.fails["publish to import.requests"] = BrokerUnavailable("gone")

    journal.does["publish to import.requests"] = second_fails
    scan = facility.submitted()
    facility.handle(scan)
    assert "confirmed expanded" not in journal.steps
    first = [decode(message.body) for message in facility.worker.publisher.messages if b"run/a.tif" in message.body]
    journal.does.clear()
    journal.fails.clear()
    again = facility.expanded(scan)
    assert [one.source.path for one in again] == ["phenix1/run/a.tif", "phenix1/run/b.tif"]
    assert again[:1] == first


# --- what submit makes of a folder ----------------------------------------------------------------------------------


def test_the_same_folder_is_the_same_scan(facility: Facility) -> None:
    """Until one of its files changes."""
    facility.write("a.tif")
    first = facility.submitted()
    assert facility.submitted().request_id == first.request_id
    facility.write("b.tif")
    assert facility.submitted().request_id != first.request_id


@pytest.mark.parametrize("target", ["Screen:+name:S", "Dataset:+name:D"])
def test_any_target_will_do_until_it_is_known_what_there_is(facility: Facility, target: str) -> None:
    """Each of its requests is held to it."""
    facility.write("a.tif")
    assert facility.submitted(target=target).target == target


@pytest.mark.parametrize("path", ["phenix1/run", "."])
def test_an_empty_folder_and_a_whole_share_are_refused(facility: Facility, path: str) -> None:
    """Nobody means that."""
    with pytest.raises(RequestError):
        facility.submitted(path)


def test_a_folder_of_no_known_format_cannot_be_partial(facility: Facility) -> None:
    """Nobody knows what is missing of it."""
    facility.write("a.tif")
    with pytest.raises(RequestError) as caught:
        facility.submitted(partial_by="olga")
    assert caught.value.reason is Reason.UNKNOWN_FORMAT


def test_a_folder_of_too_many_files_is_refused(facility: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan asks about every one."""
    assert MAX_FILES == 10_000
    monkeypatch.setattr("fleet_common.scanning.MAX_FILES", 2)
    facility.write("a.tif", "b.tif", "c.tif")
    with pytest.raises(RequestError, match="more than 2 files"):
        facility.submitted()


def test_a_scan_is_not_older_than_its_requests(facility: Facility) -> None:
    """They wait since it was submitted."""
    facility.write("a.tif")
    (one,) = facility.expanded(facility.submitted())
    assert one.submitted_at == NOW
    assert facility.worker.parts.clock() - NOW == timedelta(minutes=5)

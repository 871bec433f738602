"""What an attempt tells while it goes on: numbered events, phases with their seconds, throttled progress."""

from __future__ import annotations

import contextlib
import threading
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from fleet_common.events import Event, Kind, Phase, Progress, fold
from fleet_common.messages import Manifest
from fleet_common.metrics import Metrics
from fleet_worker.reporting import PROGRESS_SECONDS, Reporter
from support import series
from support.builders import BATCH, NOW, REQUEST_ID, a_request, a_source

START_MS = int(NOW.timestamp() * 1000)


@dataclass
class Told:
    """A reporter on a clock that a test moves, and what it told."""

    events: list[Event] = field(default_factory=list)
    metrics: Metrics = field(init=False)
    now_seconds: float = 100.0
    clock_ms: int = 0
    """How far the clock went on since ``NOW``."""

    def __post_init__(self) -> None:
        self.metrics = Metrics(lanes=("phenix1",), clock=lambda: self.now_seconds)
        manifest = Manifest(files=3, bytes=300, digest="ab" * 32)
        self.reporter = Reporter(
            a_request(source=a_source(manifest=manifest)),
            2,
            "w1",
            tell=self.events.append,
            metrics=self.metrics,
            clock=lambda: NOW + timedelta(milliseconds=self.clock_ms),
            monotonic=lambda: self.now_seconds,
        )

    @property
    def progress(self) -> list[Progress]:
        """All progress that was told."""
        return [event.progress for event in self.events if event.progress]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of a metric that have these labels."""
        return series.total(self.metrics.registry, name, **labels)


@pytest.fixture
def told() -> Told:
    """A reporter."""
    return Told()


def test_an_event_says_everything_about_its_request(told: Told) -> None:
    """A reader of the log needs no other."""
    event = told.reporter.event(Kind.STARTED)
    assert (event.request_id, event.lane, event.batch, event.source) == (
        REQUEST_ID,
        "phenix1",
        BATCH,
        "hcs/phenix1/cell.tif",
    )
    assert (event.attempt, event.seq, event.worker, event.at) == (2, START_MS, "w1", NOW)


def test_events_are_numbered_in_order_and_each_has_its_own_id(told: Told) -> None:
    """By the clock, or one more where it stands still."""
    events = [told.reporter.event(Kind.PROGRESS) for _ in range(5)]
    assert [event.seq - START_MS for event in events] == [0, 1, 2, 3, 4]
    assert len({event.event_id for event in events}) == 5


def test_the_clock_takes_the_numbers_on(told: Told) -> None:
    """Given a clock that goes on, and is then set back, then numbers follow it up and never down."""
    for clock_ms, expected in ((10, 10), (25, 25), (25, 26), (5, 27), (5, 28), (40, 40)):
        told.clock_ms = clock_ms
        assert told.reporter.event(Kind.PROGRESS).seq == START_MS + expected


def test_a_second_try_of_the_same_number_outranks_all_of_the_first(told: Told) -> None:
    """Given a long first try that counted as none, when the next one has only started, then that is the status."""
    first = [told.reporter.event(kind) for kind in (Kind.STARTED, *[Kind.PROGRESS] * 50, Kind.RETRIED)]
    second = Told(clock_ms=10_000).reporter.event(Kind.STARTED)
    assert fold([*first, second]).state is Kind.STARTED


def test_ids_can_be_given_for_a_test() -> None:
    """Identity is injected."""
    number = uuid.uuid4()
    reporter = Reporter(
        a_request(),
        1,
        "w1",
        tell=lambda _: None,
        metrics=Metrics(),
        clock=lambda: NOW,
        monotonic=lambda: 0.0,
        new_id=lambda: number,
    )
    assert reporter.event(Kind.STARTED).event_id == number


def test_making_an_event_tells_nothing(told: Told) -> None:
    """Who settles publishes outcomes with a confirm."""
    told.reporter.event(Kind.IMPORTED)
    assert told.events == []
    told.reporter.started()
    assert [event.kind for event in told.events] == [Kind.STARTED]


def test_a_phase_is_told_at_once_and_timed(told: Told) -> None:
    """In the attempt's seconds and in the histogram."""
    with told.reporter.phase(Phase.UPLOAD):
        assert [one.phase for one in told.progress] == [Phase.UPLOAD]
        told.now_seconds += 7
    assert told.reporter.seconds == {Phase.UPLOAD: 7.0}
    assert told.metric("phase_seconds_sum", phase="upload") == 7
    assert told.metric("phase_seconds_count", phase="upload") == 1


def test_a_phase_that_waits_for_its_turn_is_queued_meanwhile(told: Told) -> None:
    """Uploads of one worker follow each other: the wait is none of the upload's seconds."""
    with told.reporter.phase_in_turn(Phase.UPLOAD) as begin:
        told.now_seconds += 30
        for _ in range(3):
            begin()
            told.now_seconds += 2
    assert [one.phase for one in told.progress] == [Phase.QUEUED, Phase.UPLOAD]
    assert told.reporter.seconds == {Phase.UPLOAD: 6.0}


def test_a_turn_that_never_comes_took_no_time(told: Told) -> None:
    """The attempt ends before it: of an upload that was none there is nothing to observe."""
    with contextlib.suppress(KeyError), told.reporter.phase_in_turn(Phase.UPLOAD):
        raise KeyError
    assert told.reporter.seconds == {}
    assert told.metric("phase_seconds_count", phase="upload") == 0


def test_a_phase_that_fails_is_timed_as_well(told: Told) -> None:
    """A slow failure is what one wants to see."""

    def fail() -> None:
        with told.reporter.phase(Phase.CHECK):
            told.now_seconds += 3
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert told.reporter.seconds == {Phase.CHECK: 3.0}


def test_a_phase_that_comes_twice_adds_up(told: Told) -> None:
    """And counts twice in the histogram."""
    told.reporter.took(Phase.METADATA, 1.5)
    told.reporter.took(Phase.METADATA, 2.0)
    assert told.reporter.seconds == {Phase.METADATA: 3.5}
    assert told.metric("phase_seconds_count", phase="metadata") == 2


def test_every_phase_is_told_however_fast_they_follow(told: Told) -> None:
    """Throttling is within a phase."""
    for phase in Phase:
        told.reporter.enter(phase)
    assert [one.phase for one in told.progress] == list(Phase)


def test_progress_within_a_phase_is_told_once_a_second_at_most(told: Told) -> None:
    """Given 100 files in a second, when they are sent, then nobody hears of each."""
    told.reporter.enter(Phase.UPLOAD)
    for _ in range(100):
        told.reporter.add_file()
    assert len(told.progress) == 1
    told.now_seconds += PROGRESS_SECONDS
    told.reporter.add_file()
    told.reporter.add_file()
    assert [one.files_done for one in told.progress] == [0, 101]


def test_progress_counts_files_and_bytes_of_the_manifest(told: Told) -> None:
    """How far, and out of how much."""
    told.reporter.enter(Phase.UPLOAD)
    told.reporter.add_bytes(100)
    told.now_seconds += 1
    told.reporter.add_file()
    assert told.progress[-1] == Progress(phase=Phase.UPLOAD, files_done=1, files=3, bytes_done=100, bytes=300)
    assert (told.metric("files_total"), told.metric("bytes_total")) == (1, 100)


def test_bytes_that_must_be_sent_again_are_taken_off_the_progress_only(told: Told) -> None:
    """Given a file that arrived damaged, then the counter keeps what went over the wire."""
    told.reporter.add_bytes(100)
    told.reporter.add_bytes(-100)
    told.reporter.add_bytes(100)
    told.reporter.enter(Phase.UPLOAD)
    assert told.progress[-1].bytes_done == 100
    assert (told.metric("bytes_total"), told.metric("upload_repeats_total")) == (200, 1)


def test_bytes_are_counted_from_any_thread(told: Told) -> None:
    """None is lost."""

    def add() -> None:
        for _ in range(1000):
            told.reporter.add_bytes(1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    told.reporter.enter(Phase.UPLOAD)
    assert told.progress[-1].bytes_done == 4000


def test_taking_a_request_says_how_long_it_had_waited(told: Told) -> None:
    """Given a request of five minutes ago, when it is started, then its lane's wait is 300 s."""
    told.clock_ms = 300_000
    told.reporter.started()
    assert (told.metric("queue_wait_seconds_sum", lane="phenix1"), told.metric("queue_wait_seconds_count")) == (300, 1)


def test_an_attempt_that_gives_no_sign_is_seen_in_its_phase(told: Told) -> None:
    """Given an upload, bytes and phases are signs of life; after the attempt nothing is expected of it."""
    told.reporter.enter(Phase.UPLOAD)
    told.now_seconds += 40
    assert told.metric("longest_silence_seconds", phase="upload") == 40
    told.reporter.add_bytes(1)
    assert told.metric("longest_silence_seconds", phase="upload") == 0
    told.now_seconds += 9
    told.reporter.enter(Phase.VERIFY)
    assert told.metric("requests_in_phase", phase="upload") == 0
    assert told.metric("requests_in_phase", phase="verify") == 1
    told.reporter.close()
    assert told.metric("requests_in_phase") == 0

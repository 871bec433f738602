"""omero-fleet status and follow: where requests are, from the event log."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from fleet_common import cli, render
from fleet_common.broker import BrokerUnavailable
from fleet_common.commands import status as command
from fleet_common.errors import Reason
from fleet_common.events import Event, Kind, Phase, Progress, Result, fold
from fleet_common.exits import Exit
from fleet_common.messages import Batch
from support.builders import BATCH, REQUEST_ID, an_event

OTHER = uuid.UUID("7f8b1c60-1a57-4a3e-9d6a-0f6f0f4a9b12")
WEDNESDAY = Batch(id=uuid.UUID("3c9e2d6a-5b1f-4c8e-9a7d-1f2e3d4c5b6a"), name="wednesday")
RESULT = Result(fileset_id=7, plate_ids=(51, 52), files=1, bytes=5, images=2)
LOG = [
    an_event(Kind.ACCEPTED, batch=BATCH, source="hcs/a.tif"),
    an_event(Kind.ACCEPTED, request_id=OTHER, lane="cv8000", batch=WEDNESDAY, source="hcs/b.tif"),
    an_event(Kind.IMPORTED, 1, 1, worker="w1", result=RESULT),
    an_event(
        Kind.DEAD,
        1,
        1,
        request_id=OTHER,
        lane="cv8000",
        worker="w2",
        reason=Reason.FILE_EMPTY,
        message="b.tif is empty",
        next_action="Copy it again.",
    ),
]


@dataclass
class Log:
    """The event log: what was told, what will be told by the time that is up, and how far somebody read on."""

    events: list[Event] = field(default_factory=lambda: list(LOG))
    live: list[Event] = field(default_factory=list)
    fails: Exception | None = None
    followed: list[tuple[int | str, float]] = field(default_factory=list)
    read_on: int = 0
    next_offset: int | None = None
    pauses: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        if self.fails is not None:
            raise self.fails
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""

    def read_all(self) -> Iterator[Event]:
        """Everything that there is; where it ends is known afterwards."""
        for number, event in enumerate(self.events, start=1):
            self.next_offset = number
            yield event

    def follow(self, start: int | str, *, deadline_seconds: float) -> Iterator[Event]:
        """Everything that is appended, until the time is up."""
        self.followed.append((start, deadline_seconds))
        assert start == ("first" if self.next_offset is None else self.next_offset)
        return self._appended()

    def _appended(self) -> Iterator[Event]:
        for event in self.live:
            self.read_on += 1
            yield event


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """An event log, and an account for it."""
    made = Log()
    monkeypatch.setattr(command, "EventReader", lambda _address: made)
    monkeypatch.setattr(command, "pause_lines", lambda _settings: made.pauses)
    monkeypatch.setenv("OMERO_FLEET_BROKER__USER", "operator")
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD", "hunter2")
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
    return made


@dataclass
class Commands:
    """Runs the command line."""

    capsys: pytest.CaptureFixture[str]
    err: str = ""

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit code and standard output."""
        code = cli.run(list(arguments))
        captured = self.capsys.readouterr()
        self.err = captured.err
        return code, captured.out

    def follow(self, *arguments: str) -> tuple[int, list[str]]:
        """Exit code and the kinds that follow printed."""
        code, out = self("follow", "--json", *arguments)
        return code, [json.loads(line)["kind"] for line in out.splitlines()]

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON output of status."""
        rows = json.loads(self("status", "--json", *arguments)[1])
        assert isinstance(rows, list)
        return rows


@pytest.fixture
def fleet(capsys: pytest.CaptureFixture[str]) -> Commands:
    """The command line."""
    return Commands(capsys)


# --- status --------------------------------------------------------------------------------------------------------


def test_every_request_is_shown_with_why_and_what_to_do(log: Log, fleet: Commands) -> None:
    """And how many are in which state."""
    assert log.events
    code, out = fleet("status")
    assert code == Exit.OK
    assert out.splitlines() == [
        f"{REQUEST_ID}  imported  lane phenix1  attempt 1  on w1",
        "    hcs/a.tif",
        "    Fileset:7 Plate:51, Plate:52",
        f"{OTHER}  dead  lane cv8000  attempt 1  on w2",
        "    hcs/b.tif",
        "    file-empty: b.tif is empty Copy it again.",
        "2 requests: 1 imported, 1 dead",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [REQUEST_ID, OTHER]),
        (["--batch", "tuesday"], [REQUEST_ID]),
        (["--batch", str(WEDNESDAY.id)], [OTHER]),
        (["--lane", "cv8000"], [OTHER]),
        (["--lane", "cv8000", "--batch", "tuesday"], []),
        ([str(REQUEST_ID)], [REQUEST_ID]),
        ([str(OTHER)[:8]], [OTHER]),
        ([str(OTHER)[:8].upper()], [OTHER]),
        ([str(OTHER)[:8], str(REQUEST_ID)[:8]], [REQUEST_ID, OTHER]),
        (["ffff"], []),
        (["--batch", "tues"], []),
    ],
    ids=str,
)
def test_what_is_asked_for_is_shown(log: Log, fleet: Commands, arguments: list[str], expected: list[uuid.UUID]) -> None:
    """By batch, lane, and the beginning of ids; all conditions must hold."""
    assert log.events
    assert [row["request_id"] for row in fleet.rows(*arguments)] == [str(one) for one in expected]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Exit.OK),
        (["--lane", "nothing-yet"], Exit.OK),
        (["ffff"], Exit.NOT_FOUND),
        (["--batch", "monday"], Exit.NOT_FOUND),
        ([str(REQUEST_ID)], Exit.OK),
    ],
    ids=str,
)
def test_a_request_or_batch_that_nobody_knows_is_an_error(
    log: Log, fleet: Commands, arguments: list[str], expected: Exit
) -> None:
    """An empty lane is none."""
    assert log.events
    assert fleet("status", *arguments)[0] == expected


def test_a_request_that_several_lanes_tell_of_is_shown_once_for_each(log: Log, fleet: Commands) -> None:
    """Given a foreign producer that withdraws somebody's request, then it withdraws its own alone."""
    log.events = [*LOG, an_event(Kind.WITHDRAWN, 9, 9, lane="cv8000")]
    rows = fleet.rows(str(REQUEST_ID))
    assert [(row["lane"], row["state"]) for row in rows] == [("phenix1", "imported"), ("cv8000", "withdrawn")]
    assert [row["state"] for row in fleet.rows(str(REQUEST_ID), "--lane", "phenix1")] == ["imported"]


def test_an_empty_log_is_no_error(log: Log, fleet: Commands) -> None:
    """A new fleet."""
    log.events.clear()
    assert fleet("status") == (Exit.OK, "no requests\n")


def test_paused_lanes_are_named_below(log: Log, fleet: Commands) -> None:
    """Given a lane that an operator has paused, who wonders why nothing moves sees it, but no program stumbles."""
    log.events.clear()
    log.pauses.append("lane phenix1: paused by alice@desk (2026-01-31 10:00:00 UTC)")
    assert fleet("status") == (Exit.OK, f"no requests\n{log.pauses[0]}\n")
    assert fleet.rows() == []


def test_a_broker_that_is_away_has_its_own_exit_code(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """And no traceback."""
    log.fails = BrokerUnavailable("no connection to amqps://operator:hunter2@rabbit")
    assert cli.run(["status"]) == Exit.UNREACHABLE
    assert capsys.readouterr().err == "omero-fleet: no connection to amqps://***@rabbit\n"


# --- follow --------------------------------------------------------------------------------------------------------


LIVES = [
    ([Kind.ACCEPTED, Kind.STARTED, Kind.IMPORTED], Exit.OK),
    ([Kind.ALREADY_IMPORTED], Exit.OK),
    ([Kind.STARTED, Kind.DEAD], Exit.DEAD),
    ([Kind.CANCELLED], Exit.DEAD),
    ([Kind.ACCEPTED, Kind.STARTED, Kind.RETRIED], Exit.STILL_WAITING),
]


def told_in_order(kinds: Sequence[Kind]) -> list[Event]:
    """These kinds, one after the other, all of attempt 1."""
    return [an_event(kind, 1, seq) for seq, kind in enumerate(kinds, start=1)]


@pytest.mark.parametrize(
    ("kinds", "expected", "known"),
    [(kinds, expected, known) for kinds, expected in LIVES for known in range(1, len(kinds) + 1)],
)
def test_following_ends_by_the_outcome(
    log: Log, fleet: Commands, kinds: list[Kind], expected: Exit, known: int
) -> None:
    """0, 6 or 7, one line an event, however much of it was told before."""
    told = told_in_order(kinds)
    log.events, log.live = told[:known], told[known:]
    code, out = fleet("follow", str(REQUEST_ID), "--timeout", "5")
    assert code == expected
    assert [line.split()[3] for line in out.splitlines()] == kinds
    ((start, seconds),) = log.followed
    assert start == known
    assert 0 < seconds <= 5


@pytest.mark.parametrize("at_once", [True, False], ids=["told before", "told now"])
def test_an_old_death_does_not_end_what_was_taken_again(log: Log, fleet: Commands, *, at_once: bool) -> None:
    """Given a dead request that was submitted or replayed again, when it is imported, then that is the outcome."""
    first, again = told_in_order([Kind.STARTED, Kind.DEAD, Kind.ACCEPTED, Kind.STARTED]), an_event(Kind.IMPORTED, 1, 9)
    log.events, log.live = ([*first, again], []) if at_once else (first, [again])
    assert fleet.follow(str(REQUEST_ID)) == (Exit.OK, ["started", "dead", "accepted", "started", "imported"])


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([Kind.DEAD, Kind.REPLAYED], Exit.STILL_WAITING),
        ([Kind.DEAD, Kind.REPLAYED, Kind.STARTED, Kind.IMPORTED], Exit.OK),
        ([Kind.DEAD, Kind.DROPPED], Exit.DEAD),
    ],
    ids=["replayed", "replayed and imported", "dropped"],
)
def test_a_dead_letter_that_an_operator_settled_is_followed(
    log: Log, fleet: Commands, kinds: list[Kind], expected: Exit
) -> None:
    """A replay is under way; what was dropped has ended."""
    log.events = told_in_order(kinds)
    assert fleet.follow(str(REQUEST_ID)) == (expected, kinds)


def test_what_was_told_after_the_outcome_is_shown_as_well(log: Log, fleet: Commands) -> None:
    """All that the log holds; the outcome stays what it is."""
    log.events = told_in_order([Kind.IMPORTED, Kind.PROGRESS])
    assert fleet.follow(str(REQUEST_ID)) == (Exit.OK, ["imported", "progress"])
    assert log.read_on == 0


def test_following_shows_one_request_and_stops_at_its_outcome(log: Log, fleet: Commands) -> None:
    """Not at that of another, and nothing is read after it."""
    log.events, log.live = LOG[:3], [an_event(Kind.DEAD, 9, 9), LOG[3], an_event(Kind.PROGRESS, 2)]
    assert fleet.follow(str(OTHER)) == (Exit.DEAD, ["accepted", "dead"])
    assert log.read_on == 2


def test_a_request_that_nobody_knows_is_waited_for_only_in_a_lane(log: Log, fleet: Commands) -> None:
    """Whoever told of it first could be anybody."""
    log.events, log.live = [], told_in_order([Kind.STARTED, Kind.IMPORTED])
    assert fleet.follow(str(REQUEST_ID)) == (Exit.NOT_FOUND, [])
    assert f"the event log knows nothing of {REQUEST_ID}; name its lane with --lane" in fleet.err
    assert fleet.follow(str(REQUEST_ID), "--lane", "phenix1") == (Exit.OK, ["started", "imported"])
    log.live = []
    assert fleet.follow(str(REQUEST_ID), "--lane", "phenix1") == (Exit.STILL_WAITING, [])


WITHDRAWN_ELSEWHERE = an_event(Kind.WITHDRAWN, 9, 9, lane="cv8000")


def test_no_other_lane_ends_a_follow(log: Log, fleet: Commands) -> None:
    """Given a foreign producer that withdraws the request while it is followed, then nobody sees it."""
    log.events, log.live = [an_event(Kind.ACCEPTED)], [WITHDRAWN_ELSEWHERE, *told_in_order([Kind.STARTED, Kind.DEAD])]
    assert fleet.follow(str(REQUEST_ID)) == (Exit.DEAD, ["accepted", "started", "dead"])


@pytest.mark.parametrize("order", [1, -1], ids=["foreign first", "foreign last"])
def test_of_several_lanes_somebody_must_choose(log: Log, fleet: Commands, order: int) -> None:
    """Given a foreign producer that was there before, or came later, then its lane is named, never taken by itself."""
    log.events = [WITHDRAWN_ELSEWHERE, an_event(Kind.STARTED, 1, 1)][::order]
    assert fleet.follow(str(REQUEST_ID)) == (Exit.USAGE, [])
    assert "the lanes cv8000, phenix1 tell of this request: name one with --lane" in fleet.err
    assert fleet.follow(str(REQUEST_ID), "--lane", "phenix1") == (Exit.STILL_WAITING, ["started"])


def test_following_needs_a_whole_id(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """And says where to find one."""
    assert cli.run(["follow", "0d2f"]) == Exit.USAGE
    assert "'0d2f' is no request id; omero-fleet status lists them" in capsys.readouterr().err
    assert log.followed == []


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (2_000_000_000, "2.0 GB"),
        (3 * 10**12, "3.0 TB"),
        (3 * 10**15, "3000.0 TB"),
    ],
)
def test_bytes_have_decimal_units(count: int, expected: str) -> None:
    """As disks have."""
    assert render.size(count) == expected


def test_an_event_is_one_line() -> None:
    """When, which, what, who, and how far."""
    progress = Progress(phase=Phase.UPLOAD, files_done=2, files=4, bytes_done=1000, bytes=3000)
    line = render.event_line(an_event(Kind.PROGRESS, 2, 3, worker="w1", progress=progress))
    assert (
        line == "2026-01-31 10:00:00 0d2f4c31 progress lane phenix1 attempt 2 on w1 upload 2/4 files, 1.0 kB of 3.0 kB"
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (an_event(Kind.ACCEPTED), ""),
        (an_event(Kind.PROGRESS, progress=Progress(phase=Phase.METADATA)), "metadata"),
        (an_event(Kind.RETRIED, reason=Reason.LOCK_HELD), "lock-held:"),
        (an_event(Kind.REPLAYED, message="bob@desk put it back"), "bob@desk put it back"),
        (an_event(Kind.IMPORTED, result=RESULT.model_copy(update={"plate_ids": ()})), "Fileset:7 2 images"),
    ],
    ids=["nothing to say", "a phase without files", "a reason alone", "who and what", "images without a plate"],
)
def test_details_say_what_is_known(event: Event, expected: str) -> None:
    """Of events and statuses alike."""
    assert render.detail(event) == render.detail(fold([event])) == expected

"""omero-fleet dead: what it refuses, in which order it settles, and what it says of a broker that fails."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from fleet_common import cli
from fleet_common.broker import (
    BrokerUnavailable,
    Buried,
    LinkState,
    Names,
    Outgoing,
    PublishRefused,
    PublishTimeout,
    PublishUnroutable,
)
from fleet_common.commands import dead as command
from fleet_common.commands import deadwork
from fleet_common.errors import Reason
from fleet_common.events import Event
from fleet_common.exits import Exit
from fleet_common.messages import encode
from fleet_common.replays import Change, Replay
from support.builders import REQUEST_ID, a_request
from support.dead import BODY, WHY, a_buried, held
from support.fakes import Journal

OTHER = uuid.UUID("7f8b1c60-1a57-4a3e-9d6a-0f6f0f4a9b12")
OTHER_BODY = encode(a_request(request_id=OTHER, lane="cv8000"))


@dataclass
class FakeBroker:
    """The connection, the queue and the publisher in one; every step is written into one journal."""

    letters: list[Buried] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal)
    published: list[Outgoing] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    connected: bool = True
    grace_seconds: float = 0.0
    names: Names = field(default_factory=Names)
    address: str = "amqps://rabbit"
    state: LinkState = field(default_factory=lambda: LinkState(reason="it is away"))

    def start(self) -> None:
        """Connect."""

    def stop(self, deadline_seconds: float) -> None:
        """Close."""
        assert deadline_seconds > 0
        self.journal.write("stop")

    def wait_connected(self, deadline_seconds: float) -> bool:
        """As told."""
        assert deadline_seconds > 0
        return self.connected

    def __enter__(self) -> Self:
        self.journal.write("hold")
        return self

    def __exit__(self, *_error: object) -> None:
        self.journal.write("give back")

    def read(self) -> Iterator[Buried]:
        """All letters."""
        yield from self.letters

    def remove(self, tags: Sequence[int]) -> None:
        """They are gone."""
        self.journal.write(f"remove {list(tags)}")
        self.removed += tags

    def publish(self, message: Outgoing) -> None:
        """Confirm it."""
        self.journal.write(f"publish {message.routing_key}")
        self.published.append(message)

    def publish_event(self, event: Event, *, required: bool) -> None:
        """Confirm it."""
        assert required
        self.journal.write(f"tell {event.routing_key}")
        self.events.append(event)

    def ring(self) -> None:
        """The doorbell."""
        self.journal.write("ring")

    @property
    def steps(self) -> list[str]:
        """What was done with letters."""
        return [step for step in self.journal.steps if step not in {"hold", "give back", "stop"}]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> FakeBroker:
    """A broker with two dead letters, and the operator's account."""
    made = FakeBroker([a_buried(), a_buried(OTHER_BODY, headers=WHY | {"origin-key": "cv8000.normal"}, tag=2)])

    def publisher(_address: object, names: Names, *, unroutable_grace_seconds: float) -> FakeBroker:
        made.names, made.grace_seconds = names, unroutable_grace_seconds
        return made

    monkeypatch.setattr(command, "Link", lambda _address, role: made if role == "consume" else None)
    monkeypatch.setattr(command, "DeadQueue", lambda _link, _names: made)
    monkeypatch.setattr(command, "Publisher", publisher)
    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    monkeypatch.setenv("OMERO_FLEET_BROKER__USER", "operator")
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD", "hunter2")
    monkeypatch.setenv("OMERO_FLEET_PRODUCER__HOST", "desk")
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
    return made


@dataclass
class Commands:
    """Runs the command line."""

    capsys: pytest.CaptureFixture[str]
    err: str = ""

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit code and standard output."""
        code = cli.run(["dead", *arguments])
        captured = self.capsys.readouterr()
        self.err = captured.err
        return code, captured.out

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """What it prints with --json."""
        rows = json.loads(self(*arguments, "--json")[1])
        assert isinstance(rows, list)
        return rows


@pytest.fixture
def fleet(capsys: pytest.CaptureFixture[str]) -> Commands:
    """The command line."""
    return Commands(capsys)


# --- what is asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "name requests or a filter, or --all for all dead letters"),
        (["drop", "--yes"], "name requests or a filter, or --all for all dead letters"),
        (["replay", "--all", "--lane", "phenix1"], "not both"),
        (["drop", "--all", "0d2f"], "not both"),
        (["drop", "", "--yes"], "an empty REQUEST would mean all of them"),
        (["show", ""], "an empty REQUEST would mean all of them"),
        (["list", "--older-than", "soon"], "'soon' is no duration"),
        (["replay", "--all", "--set", "name=x"], "--set wants FIELD=VALUE"),
    ],
    ids=" ".join,
)
def test_what_is_not_clear_is_refused_before_anything_is_read(
    broker: FakeBroker, fleet: Commands, arguments: list[str], said: str
) -> None:
    """An empty variable of a shell script must not drop everything."""
    assert fleet(*arguments) == (Exit.USAGE, "")
    assert said in fleet.err
    assert broker.journal.steps == []


@pytest.mark.parametrize("verb", ["list", "show", "replay", "drop"])
def test_a_request_that_is_not_dead_is_named(broker: FakeBroker, fleet: Commands, verb: str) -> None:
    """And nothing is done with the others that are."""
    arguments = ["ffff"] if verb == "show" else [str(REQUEST_ID), "ffff"]
    code, _ = fleet(verb, *arguments)
    assert code == Exit.NOT_FOUND
    assert "no dead letter of ffff; omero-fleet dead list shows all" in fleet.err
    assert broker.steps == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [REQUEST_ID, OTHER]),
        (["--lane", "cv8000"], [OTHER]),
        (["--lane", "nothing-yet"], []),
        (["--reason", "file-empty", "--batch", "tuesday"], [REQUEST_ID, OTHER]),
        (["--newer-than", "1s"], []),
        (["--older-than", "1s"], [REQUEST_ID, OTHER]),
        (["7f8b", "0d2f"], [REQUEST_ID, OTHER]),
    ],
    ids=str,
)
def test_filters_choose(broker: FakeBroker, fleet: Commands, arguments: list[str], expected: list[uuid.UUID]) -> None:
    """In the order of the queue, and everything goes back."""
    assert [row["request_id"] for row in fleet.rows("list", *arguments)] == [str(one) for one in expected]
    assert broker.journal.steps == ["hold", "give back", "stop"]


def test_no_dead_letters_are_no_error(broker: FakeBroker, fleet: Commands) -> None:
    """A healthy fleet."""
    broker.letters.clear()
    assert fleet("list") == (Exit.OK, "no dead letters\n")
    assert fleet("replay", "--all") == (Exit.OK, "nothing replayed\n")
    assert fleet("drop", "--all") == (Exit.OK, "nothing dropped\n")


def test_a_list_is_a_table(broker: FakeBroker, fleet: Commands) -> None:
    """For people."""
    assert broker.letters
    code, out = fleet("list", "--lane", "phenix1")
    assert code == Exit.OK
    assert out.splitlines()[1:] == [
        f"{REQUEST_ID}  2026-01-31 09:00:00  phenix1.bulk  file-empty  3         1        hcs/phenix1/cell.tif",
        "1 dead request",
    ]


def test_show_prints_all_that_begin_so(broker: FakeBroker, fleet: Commands) -> None:
    """One after the other; for a program, as a list."""
    broker.letters.append(a_buried(encode(a_request(target="Screen:id:5")), tag=3))
    code, out = fleet("show", "0d2f")
    assert code == Exit.OK
    assert out.count("lane.class") == 2
    assert [row["body"] for row in fleet.rows("show", "0d2f")] == [
        BODY.decode(),
        encode(a_request(target="Screen:id:5")).decode(),
    ]


def test_a_broker_that_is_away_has_its_own_exit_code(broker: FakeBroker, fleet: Commands) -> None:
    """And says why."""
    broker.connected = False
    assert fleet("list")[0] == Exit.UNREACHABLE
    assert "no connection to amqps://rabbit: it is away" in fleet.err
    assert broker.journal.steps == ["stop"]


def test_progress_is_told(broker: FakeBroker, fleet: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error: thousands take a while."""
    monkeypatch.setattr(command, "_PROGRESS_EVERY", 2)
    monkeypatch.setattr(deadwork, "_PROGRESS_EVERY", 2)
    assert broker.letters
    assert fleet("replay", "--all")[0] == Exit.OK
    assert fleet.err.splitlines() == ["2 dead letters read", "2 settled"]


# --- replay --------------------------------------------------------------------------------------------------------


def test_a_replay_is_published_told_and_removed_in_this_order(broker: FakeBroker, fleet: Commands) -> None:
    """One after the other; idle workers hear the doorbell."""
    broker.letters.append(a_buried(tag=3))
    code, out = fleet("replay", "--all")
    assert code == Exit.OK
    assert broker.steps == [
        "publish phenix1.bulk",
        "tell phenix1.replayed",
        "remove [1, 3]",
        "publish cv8000.normal",
        "tell cv8000.replayed",
        "remove [2]",
        "ring",
    ]
    assert [message.body for message in broker.published] == [BODY, OTHER_BODY]
    assert {message.headers["replayed-by"] for message in broker.published} == {"alice@desk"}
    assert out.splitlines() == [
        f"{REQUEST_ID}  replayed  phenix1.bulk",
        f"{OTHER}  replayed  cv8000.normal",
        "2 dead requests replayed",
    ]
    assert broker.grace_seconds == 5


def test_what_is_changed_is_printed(broker: FakeBroker, fleet: Commands) -> None:
    """From what to what."""
    assert broker.letters
    _, out = fleet("replay", "0d2f", "--set", "target=Screen:id:5")
    assert out.splitlines()[0] == (
        f"{REQUEST_ID}  replayed  phenix1.bulk  target from 'Dataset:+name:Tuesday' to 'Screen:id:5'"
    )
    assert fleet.rows("replay", "0d2f", "--set", "target=Screen:id:5") == [
        {
            "name": str(REQUEST_ID),
            "key": "phenix1.bulk",
            "state": "replayed",
            "letters": 1,
            "changes": [{"field": "target", "from": "Dataset:+name:Tuesday", "to": "Screen:id:5"}],
        }
    ]


def test_every_problem_is_told_and_nothing_is_done(broker: FakeBroker, fleet: Commands) -> None:
    """Given one request that cannot be changed so, and one that cannot be read, then the good one waits, too."""
    broker.letters.append(a_buried(b"no json", tag=3, message_id=None))
    assert fleet("replay", "--all", "--set", "target=Nowhere:5") == (Exit.USAGE, "")
    assert fleet.err.count("is no target") == 2
    assert "its body cannot be read" in fleet.err
    assert fleet.err.endswith("nothing was replayed\n")
    assert broker.steps == []


def test_only_a_user_of_the_fleet_may_replay(
    broker: FakeBroker, fleet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or workers would hold the operator to have submitted the requests."""
    monkeypatch.setenv("OMERO_FLEET_BROKER__USER", "admin")
    assert fleet("replay", "--all") == (Exit.USAGE, "")
    assert "the broker user 'admin' is none of worker.fleet_users (worker, operator)" in fleet.err
    assert broker.journal.steps == []


def test_the_fleets_users_are_a_setting(
    broker: FakeBroker, fleet: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A facility has names of its own; whose letters are believed follows."""
    (tmp_path / "fleet.toml").write_text('[worker]\nfleet_users = ["carol"]\n', encoding="utf-8")
    monkeypatch.setenv("OMERO_FLEET_CONFIG", str(tmp_path / "fleet.toml"))
    monkeypatch.setenv("OMERO_FLEET_BROKER__USER", "carol")
    broker.letters = [a_buried(user_id="carol"), a_buried(OTHER_BODY, tag=2)]
    assert [row["reason"] for row in fleet.rows("list")] == ["file-empty", "unknown"]
    assert fleet("replay", "0d2f")[0] == Exit.OK


@pytest.mark.parametrize(
    "error", [PublishUnroutable("it found no queue"), PublishRefused("a negative confirm")], ids=["gone", "full"]
)
def test_one_that_no_lane_takes_stays_and_the_others_go_on(
    broker: FakeBroker, fleet: Commands, error: Exception
) -> None:
    """And of the same lane no other one is tried: each would cost seconds."""
    third = encode(a_request(request_id=uuid.UUID(int=7)))
    broker.letters = [broker.letters[0], a_buried(third, tag=3), broker.letters[1]]
    broker.journal.fails["publish phenix1.bulk"] = error
    code, out = fleet("replay", "--all")
    assert code == Exit.NOT_PUBLISHED
    assert broker.steps == [
        "publish phenix1.bulk",
        "publish cv8000.normal",
        "tell cv8000.replayed",
        "remove [2]",
        "ring",
    ]
    assert out.splitlines() == [
        f"{REQUEST_ID}  dead  phenix1.bulk  {error}",
        f"{uuid.UUID(int=7)}  dead  phenix1.bulk  {error}",
        f"{OTHER}  replayed  cv8000.normal",
        "1 dead request replayed",
    ]


@pytest.mark.parametrize(
    ("step", "error", "expected", "removed"),
    [
        ("publish cv8000.normal", PublishTimeout("confirm timed out"), Exit.NOT_CONFIRMED, [1]),
        ("publish cv8000.normal", BrokerUnavailable("it is gone"), Exit.NOT_PUBLISHED, [1]),
        ("tell phenix1.replayed", PublishRefused("no permission"), Exit.NOT_PUBLISHED, []),
        ("tell cv8000.replayed", PublishTimeout("confirm timed out"), Exit.NOT_CONFIRMED, [1]),
        ("remove [2]", BrokerUnavailable("it is gone"), Exit.NOT_PUBLISHED, [1]),
    ],
    ids=["confirm", "connection", "no audit", "audit late", "removal"],
)
def test_a_broker_that_fails_on_the_way_leaves_what_is_not_proven(  # noqa: PLR0917  fixtures and parameters
    broker: FakeBroker, fleet: Commands, step: str, error: Exception, expected: Exit, removed: list[int]
) -> None:
    """What was done before is printed, and nothing after it is touched."""
    broker.journal.fails[step] = error
    code, out = fleet("replay", "--all", "--json")
    assert code == expected
    assert [row["name"] for row in json.loads(out)] == [str(REQUEST_ID)][: len(removed)]
    assert [tag for tag in broker.removed if f"remove [{tag}]" != step] == removed
    assert f"omero-fleet: {error}. The others stay dead; the same command may safely be repeated." in fleet.err
    assert broker.steps[-2:] == [step, "ring"]
    assert broker.journal.steps[-3:] == ["stop", "give back", "stop"]


# --- drop ----------------------------------------------------------------------------------------------------------


def test_a_drop_is_told_and_then_removed(broker: FakeBroker, fleet: Commands) -> None:
    """In this order, and nothing is published."""
    code, out = fleet("drop", "--lane", "cv8000", "--yes")
    assert (code, out.splitlines()[-1]) == (Exit.OK, "1 dead request dropped")
    assert broker.steps == ["tell cv8000.dropped", "remove [2]"]
    assert broker.events[0].message == "alice@desk dropped it; it was dead of file-empty"


def test_a_drop_that_cannot_be_told_removes_nothing(broker: FakeBroker, fleet: Commands) -> None:
    """The audit comes first."""
    broker.journal.fails["tell phenix1.dropped"] = PublishTimeout("confirm timed out")
    assert fleet("drop", "--all", "--yes")[0] == Exit.NOT_CONFIRMED
    assert broker.removed == []


@pytest.mark.parametrize(("answer", "removed"), [("y\n", [1, 2]), ("n\n", []), ("\n", [])], ids=["yes", "no", "return"])
def test_a_drop_asks_and_no_is_the_default(
    broker: FakeBroker, fleet: Commands, monkeypatch: pytest.MonkeyPatch, answer: str, removed: list[int]
) -> None:
    """With all that it would remove, on standard error."""
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    code, out = fleet("drop", "--all")
    assert (code, out.splitlines()[-1]) == (Exit.OK, "2 dead requests dropped" if removed else "nothing dropped")
    assert broker.removed == removed
    assert str(REQUEST_ID) in fleet.err
    assert "Remove them for ever? [y/N]" in fleet.err


def test_the_question_shows_the_first_of_many(
    broker: FakeBroker, fleet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand lines hide the question."""
    many = [encode(a_request(request_id=uuid.UUID(int=number))) for number in range(1, 31)]
    broker.letters = [a_buried(body, tag=number) for number, body in enumerate(many, start=1)]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert fleet("drop", "--all")[0] == Exit.OK
    assert fleet.err.count("file-empty") == 20
    assert "... 30 dead requests in all" in fleet.err


@pytest.mark.parametrize(("verb", "word"), [("replay", "replayed"), ("drop", "dropped")])
def test_a_dry_run_says_what_would_be(broker: FakeBroker, fleet: Commands, verb: str, word: str) -> None:
    """And does not even open a connection that publishes."""
    code, out = fleet(verb, "--all", "--dry-run")
    assert (code, out.splitlines()[-1]) == (Exit.OK, f"2 dead requests would be {word}")
    assert broker.journal.steps == ["hold", "give back", "stop"]


# --- words ---------------------------------------------------------------------------------------------------------


def test_an_operator_without_a_name_is_the_broker_user(
    broker: FakeBroker, fleet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may run under a number that has none."""

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert fleet("drop", "0d2f", "--yes")[0] == Exit.OK
    assert (broker.events[0].message or "").startswith("operator@desk dropped it")


def test_a_report_shows_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Targets and names come from outside."""
    change = Change("target", "Screen:\x1b[2J", "Screen:id:5")
    report = deadwork.Report("replayed", as_json=False)
    report.add(Replay(held(), "phenix1.bulk", b"", (change,)))
    report.add(Replay(held(), "x\x1b", b""), "no\x07 lane")
    assert report.end(Exit.OK) is Exit.OK
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert str(Reason.FILE_EMPTY) not in out

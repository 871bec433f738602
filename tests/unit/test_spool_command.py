"""omero-fleet spool, and what submit keeps in it, against stand-ins for the broker and a spool on a real disk."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from fleet_common import cli
from fleet_common.broker import BrokerUnavailable, PublishRefused, PublishTimeout, PublishUnroutable
from fleet_common.events import Event, Kind
from fleet_common.exits import Exit
from fleet_common.messages import ImportRequest
from fleet_producer.choosing import ended, show_age
from fleet_producer.commands import spool as command
from fleet_producer.slips import Entry, State
from fleet_producer.spool import BAD, Spool
from support.builders import NOW, REQUEST_ID, a_request, a_source, an_event
from support.producing import Broker, Call, Submitting, Tell, dead, event, imported, silence, with_broker

QUOTA_BYTES = 1_000_000
OTHER_ID = uuid.UUID("7f8b1c60-1a57-4a3e-9d6a-0f6f0f4a9b12")
KEY = "phenix1.normal"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """The spool of the commands."""
    return Spool(tmp_path / "spool", QUOTA_BYTES)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch, spool: Spool) -> Broker:
    """A broker, an account for it in the environment, and a spool."""
    return with_broker(monkeypatch, spool.folder)


@pytest.fixture
def submit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Submitting:
    """The command submit, on a share of its own."""
    (tmp_path / "share").mkdir()
    return Submitting(tmp_path / "share", capsys)


@pytest.fixture
def run(submit: Submitting) -> Submitting:
    """Any command: ``run.bare("spool", "list")``."""
    return submit


def sent_ago(spool: Spool, *requests: ImportRequest, hours: float = 48.0) -> list[Entry]:
    """Keep requests that the broker confirmed some time ago."""
    then = Spool(spool.folder, QUOTA_BYTES, lambda: datetime.now(UTC) - timedelta(hours=hours))
    return [then.mark_sent(entry) for entry in then.add(requests)]


def states(spool: Spool) -> dict[uuid.UUID, State]:
    """What the spool holds."""
    return {entry.request_id: entry.slip.state for entry in spool.entries()}


def other(**changes: Any) -> ImportRequest:
    """A second request."""
    return a_request(request_id=OTHER_ID, source=a_source(path="phenix1/other.tif"), **changes)


def rows(call: Call) -> list[dict[str, Any]]:
    """The requests of a JSON output."""
    return call.rows


# --- submit --------------------------------------------------------------------------------------------------------


class TestSubmit:
    """What ``submit`` keeps, and how long."""

    def test_all_is_kept_before_anything_is_published(self, broker: Broker, submit: Submitting, spool: Spool) -> None:
        """With the first message on its way, both are on the disk as pending."""
        seen: list[list[State]] = []
        broker.at_publish = lambda: seen.append(sorted(states(spool).values()))
        submit(submit.file("a.tif"), submit.file("b.tif"))
        assert seen == [[State.PENDING, State.PENDING], [State.PENDING, State.SENT]]
        assert sorted(states(spool).values()) == [State.SENT, State.SENT]

    def test_what_is_kept_is_what_is_published(self, broker: Broker, submit: Submitting, spool: Spool) -> None:
        submit(submit.file("a.tif"))
        (entry,) = spool.entries()
        assert broker.messages[0].body == entry.body

    @pytest.mark.parametrize("kind", [Kind.IMPORTED, Kind.ALREADY_IMPORTED, Kind.DEAD, Kind.CANCELLED])
    def test_an_outcome_ends_it(self, broker: Broker, submit: Submitting, spool: Spool, kind: Kind) -> None:
        broker.tell = lambda request: [event(request, kind)]
        submit(submit.file("a.tif"), "--wait")
        assert states(spool) == {}

    def test_without_an_outcome_it_is_kept(self, broker: Broker, submit: Submitting, spool: Spool) -> None:
        broker.tell = lambda request: [event(request, Kind.STARTED), event(request, Kind.RETRIED)]
        assert submit(submit.file("a.tif"), "--wait").code == Exit.STILL_WAITING
        assert list(states(spool).values()) == [State.SENT]

    def test_ctrl_c_keeps_what_has_no_outcome_yet(self, broker: Broker, submit: Submitting, spool: Spool) -> None:
        """Given two requests of which one is imported, when Ctrl-C ends the wait, then the other one is kept."""

        def tell(request: ImportRequest) -> list[Event]:
            if request.source.path == "b.tif":
                raise KeyboardInterrupt
            return imported(request)

        broker.tell = tell
        assert submit(submit.file("a.tif"), submit.file("b.tif"), "--wait").code == Exit.INTERRUPTED
        assert [entry.request.source.path for entry in spool.entries()] == ["b.tif"]

    def test_ctrl_c_while_publishing_keeps_all(self, broker: Broker, submit: Submitting, spool: Spool) -> None:
        broker.fails[1] = KeyboardInterrupt()  # type: ignore[assignment]  # Ctrl-C is no Exception
        assert submit(submit.file("a.tif"), submit.file("b.tif")).code == Exit.INTERRUPTED
        assert sorted(states(spool).values()) == [State.PENDING, State.SENT]

    @pytest.mark.parametrize(
        "error",
        [
            PublishTimeout("no confirm"),
            PublishRefused("full"),
            PublishUnroutable("no queue"),
            BrokerUnavailable("away"),
        ],
        ids=str,
    )
    def test_what_is_not_confirmed_stays_pending_and_that_is_said(
        self, broker: Broker, submit: Submitting, spool: Spool, error: Exception
    ) -> None:
        broker.fails[1] = error
        call = submit(*(submit.file(name) for name in ("a.tif", "b.tif", "c.tif")))
        kept = {entry.request.source.path: entry.slip.state for entry in spool.entries()}
        assert kept == {"a.tif": State.SENT, "b.tif": State.PENDING, "c.tif": State.PENDING}
        assert f"The others stay in the spool {spool.folder}: omero-fleet spool resend publishes them" in call.err

    def test_without_a_broker_it_is_kept(self, broker: Broker, submit: Submitting, spool: Spool) -> None:
        broker.attach_fails = BrokerUnavailable("not attached within 3 s")
        assert submit(submit.file("a.tif"), "--wait").code == Exit.NOT_PUBLISHED
        assert list(states(spool).values()) == [State.PENDING]

    def test_the_same_command_again_is_the_same_entry(self, broker: Broker, submit: Submitting, spool: Spool) -> None:
        broker.fails[0] = BrokerUnavailable("away")
        path = submit.file("a.tif")
        submit(path)
        del broker.fails[0]
        submit(path)
        assert list(states(spool).values()) == [State.SENT]

    @pytest.mark.parametrize("arguments", [["--dry-run"], ["--nonsense"], ["--target", "Screen:id:5"]])
    def test_what_publishes_nothing_keeps_nothing(
        self, broker: Broker, submit: Submitting, spool: Spool, arguments: list[str]
    ) -> None:
        assert broker.steps == []
        path = submit.file("a.tif")
        if "--target" in arguments:
            assert submit(path, target=arguments[1]).code == Exit.REFUSED
        else:
            submit(path, *arguments)
        assert not spool.folder.exists()

    def test_a_spool_that_cannot_keep_it_stops_before_the_broker(
        self, broker: Broker, submit: Submitting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OMERO_FLEET_PRODUCER__SPOOL_QUOTA_BYTES", "10")
        call = submit(submit.file("a.tif"))
        assert (call.code, call.out, broker.steps) == (Exit.NOT_KEPT, "", [])
        assert "Nothing was published" in call.err
        assert "producer.spool_quota_bytes" in call.err

    def test_a_folder_with_other_files_is_a_usage_error(
        self, broker: Broker, submit: Submitting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = submit.file("a.tif")
        monkeypatch.setenv("OMERO_FLEET_PRODUCER__SPOOL", str(submit.root))
        call = submit(path)
        assert (call.code, broker.steps) == (Exit.USAGE, [])
        assert "let producer.spool name a folder that is empty" in call.err

    def test_a_note_that_fails_does_not_undo_what_was_published(
        self, broker: Broker, submit: Submitting, spool: Spool
    ) -> None:
        """Given a folder that is taken away while publishing, then the command says what it published all the same."""

        def take_away() -> None:
            for file in spool.folder.iterdir():
                file.unlink()
            spool.folder.rmdir()
            spool.folder.write_text("no folder any more", encoding="utf-8")

        broker.at_publish = take_away
        call = submit(submit.file("a.tif"))
        assert call.code == Exit.OK
        assert " accepted hcs/a.tif" in call.out


# --- list ----------------------------------------------------------------------------------------------------------


class TestList:
    """``spool list``."""

    def test_an_empty_spool(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        call = run.bare("spool", "list")
        assert (call.code, call.out) == (Exit.OK, f"{spool.folder}: 0 pending, 0 sent\n")
        assert broker.steps == []

    def test_id_state_age_lane_and_source(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        assert broker.steps == []
        sent_ago(spool, a_request(), hours=2)
        spool.add([other(submitted_at=datetime.now(UTC))])
        assert run.bare("spool", "list").out.splitlines() == [
            f"{REQUEST_ID}  sent  2.0 h  lane phenix1  hcs/phenix1/cell.tif",
            f"{OTHER_ID}  pending  0 s  lane phenix1  hcs/phenix1/other.tif",
            f"{spool.folder}: 1 pending, 1 sent",
        ]

    def test_as_json(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        assert broker.steps == []
        (entry,) = sent_ago(spool, a_request(), hours=2)
        (spool.folder / "notes.txt").write_text("mine", encoding="utf-8")
        found = json.loads(run.bare("spool", "list", "--json").out)
        (aside,) = found["set_aside"]
        (row,) = found["requests"]
        assert found["folder"] == str(spool.folder)
        assert aside["reason"] == "the name is none of the spool's"
        assert 7200 <= row.pop("age_seconds") < 7260
        assert entry.slip.sent_at is not None
        assert row == {
            "request_id": str(REQUEST_ID),
            "state": "sent",
            "sent_at": entry.slip.sent_at.isoformat(),
            "lane": "phenix1",
            "priority": "normal",
            "batch": {"id": str(a_request().batch.id), "name": "tuesday"},
            "source": "hcs/phenix1/cell.tif",
        }

    def test_one_by_the_beginning_of_its_id(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        assert broker.steps == []
        spool.add([a_request(), other()])
        (row,) = rows(run.bare("spool", "list", str(OTHER_ID)[:6].upper(), "--json"))
        assert row["request_id"] == str(OTHER_ID)
        assert run.bare("spool", "list", "99999999").code == Exit.NOT_FOUND
        assert run.bare("spool", "list", "7f8").code == Exit.USAGE

    def test_what_was_set_aside_is_shown_with_its_reason(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        assert broker.steps == []
        (entry,) = spool.add([a_request()])
        (spool.folder / entry.slip.name).write_bytes(b"{")
        out = run.bare("spool", "list").out
        assert f"{entry.slip.name}~" in out
        assert "  set aside  its 1 bytes do not have the digest in its name: it was cut or altered" in out


# --- resend --------------------------------------------------------------------------------------------------------


class TestResend:
    """``spool resend``."""

    @pytest.mark.parametrize(
        ("arguments", "chosen"),
        [
            ([], {"pending"}),
            (["--stale"], {"pending", "old"}),
            (["--stale", "--older-than", "1h"], {"pending", "old", "young"}),
            (["--stale", "--older-than", "3d"], {"pending"}),
            (["YOUNG"], {"young"}),
            (["YOUNG", "--stale"], set()),
            (["OLD", "--stale"], {"old"}),
            (["PENDING", "OLD", "--stale"], {"pending", "old"}),
            (["--lane", "nowhere"], set()),
            (["--lane", "phenix1", "--stale"], {"pending", "old"}),
        ],
        ids=" ".join,
    )
    def test_what_is_sent(
        self, broker: Broker, run: Submitting, spool: Spool, arguments: list[str], chosen: set[str]
    ) -> None:
        ids = {"OLD": uuid.uuid4(), "YOUNG": uuid.uuid4(), "PENDING": uuid.uuid4()}
        sent_ago(spool, a_request(request_id=ids["OLD"]), hours=48)
        sent_ago(spool, a_request(request_id=ids["YOUNG"]), hours=2)
        spool.add([a_request(request_id=ids["PENDING"])])
        call = run.bare("spool", "resend", *(str(ids.get(word, word)) for word in arguments), "--json")
        assert call.code == Exit.OK
        assert {request.request_id for request in broker.requests} == {ids[name.upper()] for name in chosen}
        assert {row["request_id"] for row in rows(call)} == {str(ids[name.upper()]) for name in chosen}

    def test_it_is_the_very_same_message(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        """Body, id, key and time as at first, so that nobody can tell it from the one that was lost."""
        (entry,) = sent_ago(spool, a_request())
        run.bare("spool", "resend", "--stale")
        (message,) = broker.messages
        assert (message.body, message.message_id) == (entry.body, str(REQUEST_ID))
        assert (message.routing_key, message.timestamp) == (KEY, NOW)

    def test_it_is_young_again(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        sent_ago(spool, a_request())
        assert run.bare("spool", "resend", "--stale").out.endswith("1 of 1 published\n")
        assert run.bare("spool", "resend", "--stale").out == "0 of 0 published\n"
        assert len(broker.messages) == 1

    def test_it_is_told_as_accepted_and_the_doorbell_rings(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        sent_ago(spool, a_request(), other())
        run.bare("spool", "resend", "--stale")
        assert [told.kind for told in broker.events] == [Kind.ACCEPTED] * 2
        assert broker.steps == ["publisher started", "published", "rang", "published", "rang", "publisher stopped"]

    def test_an_unknown_request_is_said(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        spool.add([a_request()])
        call = run.bare("spool", "resend", "99999999")
        assert (call.code, broker.steps) == (Exit.NOT_FOUND, [])
        assert "the spool knows nothing of 99999999" in call.err

    def test_with_nothing_to_send_no_broker_is_needed(self, broker: Broker, run: Submitting) -> None:
        assert run.bare("spool", "resend", "--stale", "--wait").code == Exit.OK
        assert broker.steps == []

    @pytest.mark.parametrize(
        ("tell", "expected"),
        [(imported, (Exit.OK, 0)), (dead, (Exit.DEAD, 0)), (silence, (Exit.STILL_WAITING, 1))],
    )
    def test_with_wait_it_ends_by_the_outcome_and_forgets(
        self, broker: Broker, run: Submitting, spool: Spool, tell: Tell, expected: tuple[Exit, int]
    ) -> None:
        broker.tell = tell
        sent_ago(spool, a_request())
        code = run.bare("spool", "resend", "--stale", "--wait").code
        assert (code, len(states(spool))) == expected

    def test_every_lane_is_followed_once(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        sent_ago(spool, a_request(), other(lane="confocal"), a_request(request_id=uuid.uuid4()))
        run.bare("spool", "resend", "--stale", "--wait")
        assert broker.lanes == [["confocal", "phenix1"]]

    @pytest.mark.parametrize("error", [PublishRefused("no right", 403), PublishUnroutable("no queue")])
    def test_a_lane_that_refuses_does_not_hold_up_the_others(
        self, broker: Broker, run: Submitting, spool: Spool, error: Exception
    ) -> None:
        """It is asked once, said once, and its requests stay as they were; the others are waited for."""
        broker.refuses[KEY], broker.tell = error, imported
        spool.add([a_request(), a_request(request_id=uuid.uuid4()), other(lane="confocal")])
        call = run.bare("spool", "resend", "--wait", "--json")
        assert call.code == Exit.NOT_PUBLISHED
        assert [(row["request_id"], row["state"]) for row in rows(call)] == [(str(OTHER_ID), "imported")]
        assert json.loads(call.out)["left"] == 2
        assert call.err.count(str(error)) == 1
        assert list(states(spool).values()) == [State.PENDING] * 2

    @pytest.mark.parametrize(
        ("error", "expected"),
        [(PublishTimeout("no confirm"), Exit.NOT_CONFIRMED), (BrokerUnavailable("away"), Exit.NOT_PUBLISHED)],
    )
    def test_without_a_broker_it_is_said_once_not_for_each_request(
        self, broker: Broker, run: Submitting, spool: Spool, error: Exception, expected: Exit
    ) -> None:
        broker.refuses |= {KEY: error, "confocal.normal": error}
        spool.add([a_request(), other(lane="confocal")])
        call = run.bare("spool", "resend")
        assert (call.code, broker.messages) == (expected, [])
        assert call.err.count("What was not published stays in the spool") == 1

    @pytest.mark.parametrize("text", ["1", "1w", "d", "-1d", ""])
    def test_a_duration_needs_its_unit(self, broker: Broker, run: Submitting, text: str) -> None:
        call = run.bare("spool", "resend", "--stale", "--older-than", text)
        assert (call.code, broker.steps) == (Exit.USAGE, [])
        assert "write 90s, 30m, 12h or 1d" in call.err


# --- retry, drop, settle -------------------------------------------------------------------------------------------


class TestRetry:
    """``spool retry``."""

    def test_what_is_whole_again_is_published_and_the_rest_is_said(
        self, broker: Broker, run: Submitting, spool: Spool
    ) -> None:
        entries = spool.add([a_request(), other()])
        for entry in entries:
            (spool.folder / entry.slip.name).write_bytes(b"{")
        spool.entries()
        whole = next(one for one in spool.set_aside() if one.name.startswith(str(REQUEST_ID)))
        (spool.folder / BAD / whole.name).write_bytes(entries[0].body)
        call = run.bare("spool", "retry")
        assert call.code == Exit.OK
        assert [request.request_id for request in broker.requests] == [REQUEST_ID]
        assert "1 of 1 published" in call.out
        assert f"{OTHER_ID}" in call.err
        assert states(spool) == {REQUEST_ID: State.SENT}

    def test_an_unknown_name_is_said(self, broker: Broker, run: Submitting) -> None:
        assert run.bare("spool", "retry", "notes.txt").code == Exit.NOT_FOUND
        assert broker.steps == []


class TestDrop:
    """``spool drop``."""

    def test_it_asks_and_does_nothing_without_an_answer(
        self, broker: Broker, run: Submitting, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert broker.steps == []
        spool.add([a_request()])
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
        call = run.bare("spool", "drop", str(REQUEST_ID))
        assert call.code == Exit.INTERRUPTED
        assert str(REQUEST_ID) in call.out
        assert len(states(spool)) == 1

    def test_yes_forgets_what_is_named_alone(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        spool.add([a_request(), other()])
        assert run.bare("spool", "drop", str(REQUEST_ID)[:8], "--yes").code == Exit.OK
        assert list(states(spool)) == [OTHER_ID]
        assert broker.steps == []

    def test_what_was_set_aside_can_be_named_too(self, broker: Broker, run: Submitting, spool: Spool) -> None:
        assert broker.steps == []
        spool.add([a_request()])
        (spool.folder / "notes.txt").write_text("mine", encoding="utf-8")
        assert run.bare("spool", "drop", "notes.txt", "--yes").code == Exit.OK
        assert spool.set_aside() == []
        assert len(states(spool)) == 1

    @pytest.mark.parametrize("arguments", [[], ["7f8"]])
    def test_it_never_means_everything(
        self, broker: Broker, run: Submitting, spool: Spool, arguments: list[str]
    ) -> None:
        assert broker.steps == []
        spool.add([other()])
        assert run.bare("spool", "drop", *arguments, "--yes").code == Exit.USAGE
        assert len(states(spool)) == 1


class Log:
    """An event log that can be read once."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_all(self) -> Iterator[Event]:
        """All of it."""
        return iter(self._events)


class TestSettle:
    """``spool settle``."""

    def test_what_has_its_outcome_is_removed(
        self, broker: Broker, run: Submitting, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert broker.steps == []
        sent_ago(spool, a_request(), other())
        monkeypatch.setattr(command, "EventReader", lambda _: Log([an_event(Kind.IMPORTED, 1, 1)]))
        call = run.bare("spool", "settle")
        assert call.code == Exit.OK
        assert call.out.splitlines() == [f"{REQUEST_ID} imported hcs/phenix1/cell.tif", "1 settled, 1 left"]
        assert list(states(spool)) == [OTHER_ID]

    def test_another_lane_cannot_settle_it(
        self, broker: Broker, run: Submitting, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The broker keeps a producer to its lane, not to its request ids."""
        assert broker.steps == []
        sent_ago(spool, a_request())
        strange = an_event(Kind.WITHDRAWN, lane="confocal")
        monkeypatch.setattr(command, "EventReader", lambda _: Log([strange]))
        assert json.loads(run.bare("spool", "settle", "--json").out) == {"settled": [], "left": 1}

    @pytest.mark.parametrize(
        ("kinds", "outcome"),
        [
            ([], None),
            ([Kind.ACCEPTED, Kind.STARTED], None),
            ([Kind.ACCEPTED, Kind.STARTED, Kind.IMPORTED], Kind.IMPORTED),
            ([Kind.DEAD], Kind.DEAD),
            ([Kind.DEAD, Kind.ACCEPTED], None),
            ([Kind.DEAD, Kind.REPLAYED], None),
            ([Kind.DEAD, Kind.ACCEPTED, Kind.STARTED, Kind.DEAD], Kind.DEAD),
            ([Kind.DEAD, Kind.REPLAYED, Kind.CANCELLED], Kind.CANCELLED),
            ([Kind.IMPORTED, Kind.ACCEPTED], Kind.IMPORTED),
            ([Kind.IMPORTED, Kind.ACCEPTED, Kind.STARTED], Kind.IMPORTED),
            ([Kind.DEAD, Kind.RETRIED], None),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
    )
    def test_what_the_log_says_of_one_request(self, kinds: list[Kind], outcome: Kind | None) -> None:
        """In the log's order; what producers tell has no sequence, and a time that may be hours off."""
        early = NOW - timedelta(hours=5)
        told = [
            an_event(kind, at=early) if kind is Kind.ACCEPTED else an_event(kind, 1, seq)
            for seq, kind in enumerate(kinds, start=1)
        ]
        assert ended(told) == ({} if outcome is None else {("phenix1", REQUEST_ID): outcome})


# --- all of them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["list"], ["resend"], ["retry"], ["settle"], ["drop", "0d2f4c31", "--yes"]], ids=" ".join
)
def test_a_spool_that_fails_ends_every_command_alike(
    broker: Broker, run: Submitting, spool: Spool, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own exit code, and what to do."""

    def refuse(_folder: object) -> None:
        raise PermissionError(13, "Permission denied")

    spool.add([a_request()])
    monkeypatch.setattr("os.scandir", refuse)
    monkeypatch.setattr("os.listdir", refuse)
    (spool.folder / BAD).mkdir()
    call = run.bare("spool", *words)
    assert (call.code, broker.steps) == (Exit.NOT_KEPT, [])
    assert "Permission denied. Let producer.spool name a folder that this user may write to" in call.err


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59, "59 s"), (90, "1.5 m"), (7200, "2.0 h"), (129600, "1.5 d"), (-7200, "-2.0 h")],
)
def test_an_age_is_shown_in_the_largest_unit_that_fits(seconds: float, shown: str) -> None:
    """Negative on a host whose clock was set back."""
    assert show_age(seconds) == shown


def test_the_help_says_where_the_spool_is(capsys: pytest.CaptureFixture[str]) -> None:
    """For those who look for their requests."""
    cli.run(["spool", "--help"])
    assert "%LOCALAPPDATA%" in capsys.readouterr().out

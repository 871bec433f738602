"""What people are told, when, and that it arrives: after failures, after restarts, and never with a secret in it."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from fleet_common.broker.subscription import Message
from fleet_common.cli import Context
from fleet_common.commands.notify import notify
from fleet_common.errors import UsageError
from fleet_common.events import Event, Kind, encode_event
from fleet_common.exits import Exit
from fleet_common.ledger import Ledger
from fleet_common.messages import Batch
from fleet_common.notify import service
from fleet_common.notify.channel import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Channel, SendError
from fleet_common.notify.metrics import NotifyMetrics
from fleet_common.notify.notes import FINISHED, TOLD, Note, body, headline, of_batch, of_event
from fleet_common.notify.place import Place
from fleet_common.notify.service import Notifier, channels_of
from fleet_common.notify.settings import NotifySettings
from fleet_common.notify.teller import Teller
from fleet_common.settings import BrokerSettings, Settings
from support import series
from support.builders import BATCH, NOW, REQUEST_ID, an_event
from support.notes import a_note, dead
from support.receivers import MailReceiver, WebReceiver
from support.waiting import until

# --- notes ---


def test_a_dead_request_is_told_with_what_why_where_and_what_to_do() -> None:
    """Everything that a person needs, and the command that says more."""
    assert a_note().text.splitlines() == [
        "hcs/phenix1/P1/Images/Index.idx.xml is dead: nothing more happens by itself.",
        f"Lane phenix1, batch tuesday, request {REQUEST_ID}.",
        "Why: file-empty: P1/r01c01.tiff is empty",
        "What to do: Copy the file again.",
        f"More: omero-fleet dead show {REQUEST_ID}",
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_only_what_needs_people_is_told(kind: Kind) -> None:
    """Dead, incomplete, cancelled; the rest is for status."""
    assert (of_event(an_event(kind), 0) is not None) == (kind in TOLD)


def test_a_request_of_which_little_is_known_is_told_all_the_same() -> None:
    """A body that nobody could read has no source, batch or message."""
    note = of_event(an_event(Kind.CANCELLED), 0)
    assert note is not None
    assert note.text.splitlines() == [
        f"{REQUEST_ID} was cancelled.",
        f"Lane phenix1, request {REQUEST_ID}.",
        f"More: omero-fleet follow {REQUEST_ID}",
    ]


def test_secrets_and_control_characters_are_taken_out() -> None:
    """A producer may have written anything into its paths and names."""
    note = a_note(
        message="login with password=hunter2 at https://bob:pw@host/\nBcc: x", source="hcs/a\r\nSubject: b\x1b[2J"
    )
    assert "hunter2" not in note.text
    assert "bob:pw" not in note.text
    assert "\r" not in note.text + headline([note])
    assert "\n" not in headline([note])
    assert "\x1b" not in note.text


def a_batch(*kinds: Kind) -> Note:
    """The usual batch, all of whose requests ended so."""
    ledger = Ledger()
    for number, kind in enumerate(kinds):
        ledger.add(an_event(kind, seq=1, batch=BATCH, request_id=uuid.UUID(int=number)), 0.0)
    (tally,) = ledger.batches()
    return of_batch(tally, 9, NOW)


def test_a_finished_batch_says_how_its_requests_ended() -> None:
    """And whether anybody must look."""
    note = a_batch(Kind.IMPORTED, Kind.ALREADY_IMPORTED, Kind.DEAD)
    assert note.text.splitlines() == [
        "The batch tuesday is finished: of 3 requests 2 imported, 1 dead.",
        "Lane phenix1.",
        "What to do: Look at what was not imported.",
        "More: omero-fleet status --lane phenix1 --batch 'tuesday'",
    ]
    assert a_batch(Kind.IMPORTED).next_action == "Nothing: everything is in OMERO."


def test_one_thing_is_named_in_the_headline_and_many_are_counted() -> None:
    """Of a subject line people read a few words."""
    assert headline([a_note()]) == "dead: hcs/phenix1/P1/Images/Index.idx.xml (phenix1)"
    assert headline([a_batch(Kind.IMPORTED)]) == "finished: batch tuesday (phenix1)"
    assert headline([a_note(), a_note(), a_batch(Kind.IMPORTED)]) == "2 dead, 1 finished"


def test_a_flood_is_one_message_that_people_can_read() -> None:
    """Given 300 dead plates, then fifty are written out and the rest is counted, with those that were dropped."""
    text = body([a_note()] * 300, dropped=7)
    assert text.count("is dead") == 50
    assert text.endswith("And 257 more: see omero-fleet status and omero-fleet dead list.\n")


# --- when ---


@dataclass
class Told:
    """A teller that reads a log which tests write."""

    place: Place | None = None
    notes: list[Note] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.teller = Teller(
            self.place, self.notes.append, clock=lambda: NOW + timedelta(seconds=self.seconds), quiet_seconds=60
        )

    def hear(self, *events: Event, first: int = 0, live: bool = True) -> None:
        """Events at offsets from this one on."""
        for offset, event in enumerate(events, start=first):
            self.teller.hear(Message(encode_event(event), event.routing_key, offset, 0, None), live)

    def announced(self, after_seconds: float = 61.0) -> list[str]:
        """What batches are said to be finished by then."""
        before = len(self.notes)
        self.seconds += after_seconds
        self.teller.announce()
        return [note.message for note in self.notes[before:]]


def of_request(kind: Kind, number: int, seq: int = 1, batch: Batch = BATCH) -> Event:
    """An event of the numbered request of a batch."""
    return an_event(kind, seq=seq, batch=batch, request_id=uuid.UUID(int=number))


def test_a_dead_request_is_told_as_soon_as_it_is_heard_of() -> None:
    """And only it."""
    told = Told()
    told.hear(an_event(Kind.ACCEPTED), an_event(Kind.STARTED, seq=1), dead())
    assert [(note.kind, note.offset) for note in told.notes] == [("dead", 2)]


def test_a_batch_is_finished_when_all_have_an_outcome_and_nothing_was_added_for_a_while() -> None:
    """Given two requests, when the first ends before the second is submitted, then nothing is said too early."""
    told = Told()
    told.hear(of_request(Kind.ACCEPTED, 1, 0), of_request(Kind.IMPORTED, 1))
    assert told.announced(after_seconds=30) == []
    told.hear(of_request(Kind.ACCEPTED, 2, 0), first=2)
    assert told.announced() == []
    told.hear(of_request(Kind.IMPORTED, 2), first=3)
    assert told.announced(after_seconds=30) == []
    assert told.announced() == ["of 2 requests 2 imported"]
    assert told.announced() == []


def test_a_batch_that_grew_or_was_replayed_is_finished_again() -> None:
    """Given a dead request, when it is replayed and imported, then the batch is told anew."""
    told = Told()
    told.hear(of_request(Kind.DEAD, 1))
    assert told.announced() == ["of 1 request 1 dead"]
    told.hear(of_request(Kind.REPLAYED, 1, 2), first=1)
    assert told.announced() == []
    told.hear(of_request(Kind.IMPORTED, 1, 3), first=2)
    assert told.announced() == ["of 1 request 1 imported"]


def test_junk_and_heartbeats_are_passed_over() -> None:
    """And do not hold up the place."""
    told = Told()
    told.teller.hear(Message(b"junk", "phenix1.dead", 4, 0, None), live=True)
    told.teller.hear(Message(b"junk", "phenix1.heartbeat", 5, 0, None), live=True)
    assert (told.notes, told.teller.place(None).told_to) == ([], 5)


def test_after_a_restart_nothing_is_told_twice_and_nothing_is_left_out() -> None:
    """Given a batch half of which was told, when another process goes on, then it tells the other half and the end."""
    events = [of_request(Kind.ACCEPTED, 1, 0), of_request(Kind.DEAD, 1), of_request(Kind.ACCEPTED, 2, 0)]
    first = Told()
    first.hear(*events)
    place = first.teller.place(first_untold=None)
    assert (place.read_from, place.told_to) == (0, 2)
    second = Told(place)
    second.hear(*events, of_request(Kind.DEAD, 2), live=False)
    assert [note.offset for note in second.notes] == [3]
    assert second.announced() == ["of 2 requests 2 dead"]
    assert second.teller.place(None) == Place(read_from=4, told_to=3, announced={f"phenix1/{BATCH.id}": "dead=2"})


def test_what_was_not_sent_before_the_end_is_told_by_the_next_process() -> None:
    """Given a mail server that is away, then the place stays before the first note that was not sent."""
    events = [of_request(Kind.ACCEPTED, 1, 0), of_request(Kind.DEAD, 1)]
    first = Told()
    first.hear(*events)
    first.announced()
    place = first.teller.place(first_untold=1)
    assert (place.read_from, place.told_to, place.announced) == (0, 0, {})
    second = Told(place)
    second.hear(*events, live=False)
    assert [note.kind for note in second.notes] == ["dead"]
    assert second.announced() == ["of 1 request 1 dead"]


def test_an_announced_batch_does_not_hold_back_the_place() -> None:
    """Or a restart would read the log of years."""
    other = Batch(id=uuid.UUID(int=77), name="wednesday")
    told = Told()
    told.hear(of_request(Kind.IMPORTED, 1), of_request(Kind.STARTED, 2, batch=other))
    told.announced()
    assert told.teller.place(None).read_from == 1


# --- sending again ---


@dataclass
class Sent:
    """Takes messages, unless it is told to fail, or finds the note at which it breaks."""

    failures: int = 0
    messages: list[tuple[int, int]] = field(default_factory=list)
    error: type[Exception] = SendError
    poison: int | None = None

    def __call__(self, notes: Sequence[Note], *, dropped: int) -> None:
        if self.poison in {note.offset for note in notes}:
            raise KeyError(self.poison)
        if self.failures:
            self.failures -= 1
            raise self.error("away")
        self.messages.append((len(notes), dropped))


@dataclass
class Line:
    """A channel on a clock that a test moves."""

    sent: Sent = field(default_factory=Sent)
    most: int = 10
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.metrics = NotifyMetrics(channels=["mail"])
        self.channel = Channel(
            "mail", self.sent, self.metrics, gather_seconds=0, give_up_seconds=3600, most=self.most,
            monotonic=lambda: self.seconds,
        )  # fmt: skip

    def count(self, result: str) -> float:
        """Of what became of messages."""
        return series.total(self.metrics.registry, "notifications_total", channel="mail", result=result)


def test_notes_that_come_together_are_one_message() -> None:
    """And then nothing waits."""
    line = Line()
    line.channel.put(a_note(3))
    line.channel.put(a_note(4))
    assert line.channel.first_untold == 3
    assert line.channel.round(0.0) == 0
    assert (line.sent.messages, line.count("sent")) == ([(2, 0)], 2)
    assert not line.channel.first_untold


def test_a_message_that_is_not_taken_is_tried_again_and_later_each_time() -> None:
    """Up to ten minutes; nothing is lost meanwhile, and what comes joins it."""
    line = Line(Sent(failures=9))
    line.channel.put(a_note(1))
    pauses = [0.0]
    for _ in range(9):
        pauses.append(line.channel.round(pauses[-1]))
    assert pauses[1:4] == [FIRST_PAUSE_SECONDS, 10.0, 20.0]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    line.channel.put(a_note(2))
    line.channel.round(pauses[-1])
    assert (line.sent.messages, line.count("failed")) == ([(2, 0)], 9)


def test_how_long_the_oldest_waits_is_a_metric() -> None:
    """An alert looks at it."""
    line = Line()
    line.channel.put(a_note())
    line.seconds = 90.0
    assert series.total(line.metrics.registry, "notifications_oldest_seconds") == 90
    line.channel.round(0.0)
    assert series.total(line.metrics.registry, "notifications_oldest_seconds") == 0


def test_after_a_day_a_note_is_given_up_and_the_next_message_says_so() -> None:
    """Given a server that was away for too long, then it is counted, and the newer note is still told."""
    line = Line(Sent(failures=1))
    line.channel.put(a_note(1))
    line.seconds = 3601.0
    line.channel.put(a_note(2))
    line.channel.round(0.0)
    line.channel.round(5.0)
    assert (line.sent.messages, line.count("dropped"), line.channel.first_untold) == ([(1, 1)], 1, None)
    line.channel.put(a_note(3))
    line.channel.round(0.0)
    assert line.sent.messages[-1] == (1, 0)


def test_what_waits_is_bounded() -> None:
    """Given room for two, when a third comes, then the oldest goes and is counted."""
    line = Line(most=2)
    for offset in range(3):
        line.channel.put(a_note(offset))
    assert (line.channel.first_untold, line.count("dropped")) == (1, 1)
    line.channel.round(0.0)
    assert line.sent.messages == [(2, 1)]


@pytest.mark.parametrize("error", [SendError, KeyError])
def test_a_channel_lives_on_whatever_happens(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a failure or a defect, then the note is sent all the same, and the thread ends when it is told."""
    monkeypatch.setattr("fleet_common.notify.channel.FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("fleet_common.notify.channel.LONGEST_PAUSE_SECONDS", 0.001)
    line = Line(Sent(failures=1, error=error))
    assert line.channel.ended == "the thread that sends by mail has ended"
    line.channel.start()
    line.channel.put(a_note())
    until(lambda: line.sent.messages == [(1, 0)])
    until(lambda: not line.channel.ended)
    assert line.count("failed") == 1
    line.channel.stop()
    until(lambda: line.channel.ended)


def test_a_note_that_cannot_be_sent_at_all_does_not_block_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a note at which sending breaks, when a day is over, then it is given up, and the next is told."""
    monkeypatch.setattr("fleet_common.notify.channel.LONGEST_PAUSE_SECONDS", 0.001)
    line = Line(Sent(poison=1))
    line.channel.start()
    line.channel.put(a_note(1))
    until(lambda: line.count("failed") > 0)
    line.seconds = 3601.0
    line.channel.put(a_note(2))
    until(lambda: line.sent.messages == [(1, 1)])
    line.channel.stop()
    assert line.count("dropped") == 1


# --- the place ---


def test_the_place_comes_back_from_its_file(tmp_path: Path) -> None:
    """And a first start has none."""
    file = tmp_path / "state" / "place.json"
    assert Place.load(file) is None
    place = Place(read_from=3, told_to=9, announced={"hcs/1": "imported=2"})
    place.save(file)
    assert Place.load(file) == place
    assert [path.name for path in file.parent.iterdir()] == ["place.json"]


@pytest.mark.parametrize("text", ["", "junk", '{"read_from": -1, "told_to": 0}', '{"read_from": 1}'])
def test_a_file_that_is_no_place_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    """It is never guessed."""
    file = tmp_path / "place.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="move it away to begin anew"):
        Place.load(file)


# --- the process ---


def secret(folder: Path, name: str, text: str) -> Path:
    """A file with a secret."""
    file = folder / name
    file.write_text(f"{text}\n")
    return file


def test_the_ways_are_those_of_the_settings(tmp_path: Path) -> None:
    """One, the other, both; none is a mistake."""
    url = secret(tmp_path, "url", "https://chat.example.org/hooks/1")
    both = NotifySettings(webhook_url_file=url, smtp_host="mail", mail_to=("a@b.org",))
    assert list(channels_of(both)) == ["webhook", "mail"]
    assert list(channels_of(NotifySettings(smtp_host="mail", mail_to=("a@b.org",)))) == ["mail"]
    with pytest.raises(UsageError, match="nobody to tell"):
        channels_of(NotifySettings(smtp_host="mail"))


@pytest.mark.parametrize("text", [None, ""])
def test_a_secret_that_is_not_there_is_named(tmp_path: Path, text: str | None) -> None:
    """By its file, at the start."""
    file = tmp_path / "url"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match="the webhook's address"):
        channels_of(NotifySettings(webhook_url_file=file))


@dataclass
class FakeLog:
    """Stands for the log watch: a test says what is heard."""

    start_at: Any
    handle: Any
    tick: Any
    problem: str | None = None
    stuck: None = None

    def start(self) -> None:
        """Nothing to read from."""

    def stop(self) -> None:
        """Nothing to stop."""

    def hear(self, event: Event, offset: int) -> None:
        """One event, told now."""
        self.handle(Message(encode_event(event), event.routing_key, offset, 0, None), True)  # noqa: FBT003  as LogWatch


@pytest.fixture
def settings(tmp_path: Path, web: WebReceiver) -> Settings:
    """With a webhook and a state file."""
    return Settings(
        broker=BrokerSettings(user="monitor", password=SecretStr("x")),
        notify=NotifySettings(
            webhook_url_file=secret(tmp_path, "url", f"http://127.0.0.1:{web.port}/hook"),
            state_file=tmp_path / "place.json",
            gather_seconds=0,
            quiet_seconds=0,
        ),
    )


def a_notifier(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> tuple[Notifier, FakeLog]:
    """A notifier on a log that the test tells."""
    made: list[FakeLog] = []

    def a_log(_open: Any, start: Any, handle: Any, *, tick: Any) -> FakeLog:
        made.append(FakeLog(start, handle, tick))
        return made[-1]

    monkeypatch.setattr(service, "LogWatch", a_log)
    return Notifier(settings, monotonic=iter(range(0, 10**9, 10)).__next__), made[-1]


def test_people_are_told_and_a_restart_goes_on_where_it_was(
    settings: Settings, web: WebReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a dead request and the end of its batch, then both are posted, and the place is behind them."""
    notifier, log = a_notifier(settings, monkeypatch)
    assert log.start_at == "next"
    stop = threading.Event()
    running = threading.Thread(target=notifier.run, args=(stop,))
    running.start()
    log.hear(dead(), 7)
    until(lambda: len(web.posts) == 1)
    log.tick()
    until(lambda: len(web.posts) == 2)
    stop.set()
    running.join(30)
    assert [post["notes"][0]["kind"] for post in web.posts] == ["dead", FINISHED]
    assert json.loads((settings.notify.state_file or Path()).read_text())["told_to"] == 7
    assert a_notifier(settings, monkeypatch)[1].start_at == 8


def test_whether_the_log_is_read_is_a_metric(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert looks at it, for nobody is told anything while it is not."""
    notifier, log = a_notifier(settings, monkeypatch)
    assert series.total(notifier.metrics.registry, "notify_log_read") == 1
    log.problem = "no connection: refused"
    assert series.total(notifier.metrics.registry, "notify_log_read") == 0


def test_a_disk_that_is_full_keeps_nobody_from_being_told(
    settings: Settings, web: WebReceiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given a state file that cannot be written, then people are told all the same."""
    (tmp_path / "blocked").write_text("")
    changed = settings.notify.model_copy(update={"state_file": tmp_path / "blocked" / "place.json"})
    monkeypatch.setattr(Place, "load", classmethod(lambda _cls, _file: None))
    notifier, log = a_notifier(settings.model_copy(update={"notify": changed}), monkeypatch)
    for channel in notifier._channels.values():
        channel.start()
    log.hear(dead(), 7)
    log.tick()
    until(lambda: len(web.posts) >= 1)
    for channel in notifier._channels.values():
        channel.stop()


def test_the_settings_can_be_tried(
    tmp_path: Path, web: WebReceiver, mails: MailReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given --test, then one message goes through every channel, and what failed is said."""
    values = {
        "WEBHOOK_URL_FILE": str(secret(tmp_path, "url", f"http://127.0.0.1:{web.port}/hook")),
        "SMTP_HOST": "localhost",
        "SMTP_PORT": str(mails.port),
        "SMTP_SECURITY": "none",
        "MAIL_TO": '["ann@example.org"]',
    }
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
    for name, value in values.items():
        monkeypatch.setenv(f"OMERO_FLEET_NOTIFY__{name}", value)
    done = CliRunner().invoke(notify, ["--test"], obj=Context(None), standalone_mode=False)
    assert (done.return_value, done.output.splitlines()) == (Exit.OK, ["webhook: sent", "mail: sent"])
    assert "this is a test" in mails.mails[0].get_content()
    web.answers = [500]
    done = CliRunner().invoke(notify, ["--test"], obj=Context(None), standalone_mode=False)
    assert done.return_value == Exit.FAILED
    assert "webhook: 127.0.0.1 answered 500" in done.stderr

"""Dead letters: what their headers say, which are one, and which a command is about."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common import deadview
from fleet_common.broker import Buried
from fleet_common.dead import UNKNOWN, Filter, gather, read_letter
from fleet_common.durations import parse_duration
from fleet_common.errors import RULES, Reason, UsageError
from fleet_common.messages import encode
from support.builders import BATCH, NOW, REQUEST_ID, a_request
from support.dead import BODY, FLEET, WHY, a_buried, a_letter, death

# --- what a letter says --------------------------------------------------------------------------------------------


def test_a_workers_letter_says_everything() -> None:
    """In its headers, and in the body for what is the request's own."""
    letter = a_letter()
    assert (letter.request_id, letter.name) == (REQUEST_ID, str(REQUEST_ID))
    assert (letter.lane, letter.origin_key) == ("phenix1", "phenix1.bulk")
    assert (letter.batch, letter.source) == (BATCH, "hcs/phenix1/cell.tif")
    assert (letter.reason, letter.error_class, letter.message) == ("file-empty", "Permanent", "cell.tif is empty")
    assert (letter.worker, letter.attempt, letter.log_tail) == ("worker-1", 3, "ERROR x")
    assert letter.died_at == datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert letter.first_seen == datetime(2026, 1, 30, 10, tzinfo=UTC)
    assert letter.submitted_by == "phenix1"
    assert letter.next_action == RULES[Reason.FILE_EMPTY].next_action
    assert letter.is_whole


@pytest.mark.parametrize("user", ["phenix1", None])
def test_a_producers_headers_are_not_believed(user: str | None) -> None:
    """Given a producer that forges the fleet's headers, then the broker's word and its own name count."""
    letter = read_letter(
        a_buried(headers=WHY | death("delivery_limit"), user_id=user, routing_key="cv8000.urgent"), FLEET
    )
    assert (letter.origin_key, letter.lane, letter.submitted_by) == ("cv8000.urgent", "cv8000", user)
    assert (letter.reason, letter.attempt, letter.worker, letter.log_tail) == ("delivery-limit", 0, "", "")
    assert (letter.first_seen, letter.died_at) == (None, NOW)


@pytest.mark.parametrize(
    ("headers", "reason", "said", "action"),
    [
        (death("delivery_limit"), "delivery-limit", "import.lane.phenix1.bulk", "then replay"),
        (death("expired", "import.retry.10"), "unroutable", "import.retry.10", "--set lane=NAME"),
        (death("rejected"), "rejected", "import.lane.phenix1.bulk", "then replay"),
        ({}, UNKNOWN, "neither a worker nor the broker", "then replay"),
        ({"x-death": "forged"}, UNKNOWN, "neither a worker nor the broker", "then replay"),
        ({"x-death": []}, UNKNOWN, "neither a worker nor the broker", "then replay"),
        ({"x-death": ["forged"]}, UNKNOWN, "neither a worker nor the broker", "then replay"),
    ],
    ids=["delivery limit", "lane gone", "another reason", "by hand", "text", "empty", "list of text"],
)
def test_a_letter_of_the_broker_says_what_the_broker_says(
    headers: dict[str, Any], reason: str, said: str, action: str
) -> None:
    """Also of a copy that a worker had published: its attempts and submitter are believed."""
    carried = {"attempt": 2, "submitted-by": "phenix1", "first-seen": WHY["first-seen"]}
    letter = read_letter(a_buried(headers=carried | headers), FLEET)
    assert (letter.reason, letter.attempt, letter.submitted_by) == (reason, 2, "phenix1")
    assert said in letter.message
    assert action in letter.next_action
    assert letter.first_seen is not None


def test_a_replay_that_the_broker_gave_up_is_the_brokers_letter() -> None:
    """Given death headers in front and stale ones behind, then the last death counts."""
    deaths = [*death("delivery_limit")["x-death"], *death("expired", "import.retry.10")["x-death"]]
    letter = read_letter(a_buried(headers={"attempt": 0, "replayed-by": "x", "x-death": deaths}), FLEET)
    assert letter.reason == "delivery-limit"
    assert letter.submitted_by is None


@pytest.mark.parametrize(
    ("body", "message_id", "name"),
    [
        (b"no json", str(REQUEST_ID), str(REQUEST_ID)),
        (BODY.replace(b'"version":1', b'"version":2'), str(REQUEST_ID), str(REQUEST_ID)),
        (BODY, "another", str(REQUEST_ID)),
        (b"no json", "no id", f"body-{hashlib.sha256(b'no json').hexdigest()[:16]}"),
        (b"no json", None, f"body-{hashlib.sha256(b'no json').hexdigest()[:16]}"),
    ],
    ids=["unreadable", "newer", "other id beside it", "no id", "nothing beside it"],
)
def test_a_letter_has_a_name_whatever_its_body_is(body: bytes, message_id: str | None, name: str) -> None:
    """So that it can be shown and dropped."""
    assert read_letter(a_buried(body, message_id=message_id), FLEET).name == name


@pytest.mark.parametrize("header", ["died-at", "first-seen"])
@pytest.mark.parametrize("value", ["yesterday", 7, None, ""])
def test_a_time_that_is_none_is_unknown(header: str, value: object) -> None:
    """Nobody fails on it."""
    letter = a_letter(**{header: value})
    assert (letter.died_at if header == "died-at" else letter.first_seen) is None


def test_a_time_without_an_offset_is_utc() -> None:
    """As the broker's are."""
    assert a_letter(**{"died-at": "2026-01-31T09:00:00"}).died_at == datetime(2026, 1, 31, 9, tzinfo=UTC)


HEADERS = st.dictionaries(
    st.sampled_from([*WHY, "x-death", "x-first-death-reason"]),
    st.one_of(st.none(), st.text(max_size=9), st.integers(), st.booleans(), st.lists(st.text(max_size=3), max_size=2)),
)


@given(HEADERS, st.binary(max_size=30), st.sampled_from(["worker", "phenix1", None]), st.text(max_size=9))
def test_any_message_can_be_read_and_shown(headers: dict[str, Any], body: bytes, user: str | None, key: str) -> None:
    """Whatever somebody wrote into the queue, and without control characters on the terminal."""
    letter = read_letter(a_buried(body, headers=headers, user_id=user, routing_key=key, message_id=key), FLEET)
    lines = [*deadview.table([letter]), *deadview.full_text(letter)]
    assert all(line.isprintable() for line in lines)
    assert Filter(requests=(letter.name[:8],)).matches(letter, NOW)
    assert deadview.full(letter)["name"] == letter.name


# --- which letters are one -----------------------------------------------------------------------------------------


def test_copies_of_one_request_are_one_at_the_first_place_and_the_last_says_why() -> None:
    """Given a crash between burial and ack, then two letters are one."""
    first, other, second = a_letter(), read_letter(a_buried(b"other", message_id=None), FLEET), a_letter(reason="x")
    held = gather([(1, first), (2, other), (3, second)])
    assert [(one.letter.name, one.tags, one.letter.copies) for one in held] == [
        (str(REQUEST_ID), (1, 3), 2),
        (other.name, (2,), 1),
    ]
    assert held[0].letter.reason == "x"


@pytest.mark.parametrize(
    "other",
    [
        a_buried(encode(a_request(target="Screen:id:5"))),
        a_buried(headers=WHY | {"origin-key": "cv8000.bulk"}),
        a_buried(headers=WHY | {"origin-key": "phenix1.urgent"}),
    ],
    ids=["another target", "another lane", "another class"],
)
def test_what_differs_stays_apart(other: Buried) -> None:
    """Or one of them would be lost with the other."""
    held = gather([(1, a_letter()), (2, read_letter(other, FLEET))])
    assert [one.tags for one in held] == [(1,), (2,)]


# --- filters -------------------------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), True),
        (Filter(requests=("0d2f",)), True),
        (Filter(requests=("0D2F",)), True),
        (Filter(requests=("ffff", "0d2f")), True),
        (Filter(requests=("ffff",)), False),
        (Filter(lane="phenix1"), True),
        (Filter(lane="phenix"), False),
        (Filter(batch="tuesday"), True),
        (Filter(batch=str(BATCH.id)), True),
        (Filter(batch="tues"), False),
        (Filter(reason="file-empty"), True),
        (Filter(reason="file"), False),
        (Filter(older_than=HOUR), True),
        (Filter(older_than=HOUR + timedelta(seconds=1)), False),
        (Filter(newer_than=HOUR), True),
        (Filter(newer_than=HOUR - timedelta(seconds=1)), False),
        (Filter(older_than=HOUR / 2, newer_than=2 * HOUR), True),
        (Filter(lane="phenix1", reason="file-empty", batch="wednesday"), False),
    ],
    ids=str,
)
def test_all_conditions_must_hold(wanted: Filter, expected: bool) -> None:  # noqa: FBT001  a parameter of the test
    """The letter is one hour old."""
    assert wanted.matches(a_letter(), NOW) is expected
    assert wanted.is_empty is (wanted == Filter())


def test_a_letter_of_unknown_age_or_batch_is_in_none() -> None:
    """Rather kept than dropped by mistake."""
    letter = replace(a_letter(), died_at=None, request=None)
    assert not Filter(older_than=timedelta(0)).matches(letter, NOW)
    assert not Filter(newer_than=timedelta(days=9)).matches(letter, NOW)
    assert not Filter(batch="tuesday").matches(letter, NOW)
    assert Filter(lane="phenix1").matches(letter, NOW)


def test_requests_that_no_letter_is_of_are_named() -> None:
    """A typing error must not pass for nothing to do."""
    assert Filter(requests=("0d2f", "ffff", "abcd")).unknown([a_letter()]) == ["ffff", "abcd"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("3d", 259200), ("1w", 604800), ("1d12h", 129600), ("0s", 0)],
)
def test_durations_have_units(text: str, seconds: int) -> None:
    """One, or several."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2 h", "2H", "1.5h", "2h\n", "1y", "٣h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(UsageError, match="write for example 90s, 30m, 2h, 3d"):
        parse_duration(text)


# --- how they are shown --------------------------------------------------------------------------------------------


def test_a_table_has_one_line_a_request() -> None:
    """In columns, and how many there are."""
    second = replace(a_letter(), message_id=None, request=None, died_at=None, copies=2)
    assert deadview.table([a_letter(), second]) == [
        f"{'REQUEST':36}  {'DIED':19}  {'LANE':12}  REASON      ATTEMPTS  LETTERS  SOURCE",
        f"{REQUEST_ID}  2026-01-31 09:00:00  phenix1.bulk  file-empty  3         1        hcs/phenix1/cell.tif",
        f"{second.name.ljust(36)}  -                    phenix1.bulk  file-empty  3         2        -",
        "2 dead requests",
    ]
    assert deadview.table([]) == ["no dead letters"]
    assert deadview.count(1) == "1 dead request"


def test_everything_is_shown_of_one() -> None:
    """Why, what to do, who, when, the log, and the body for people."""
    lines = deadview.full_text(a_letter(**{"log-tail": "ERROR x\nat y"}))
    facts = dict(line.split("  ", 1) for line in lines if "  " in line and not line.startswith(" "))
    assert {name: value.strip() for name, value in facts.items()} == {
        "request": str(REQUEST_ID),
        "source": "hcs/phenix1/cell.tif",
        "batch": f"tuesday ({BATCH.id})",
        "lane.class": "phenix1.bulk",
        "reason": "file-empty",
        "message": "cell.tif is empty",
        "what to do": RULES[Reason.FILE_EMPTY].next_action,
        "error class": "Permanent",
        "attempts": "3",
        "worker": "worker-1",
        "submitted by": "phenix1",
        "first seen": "2026-01-30 10:00:00",
        "died": "2026-01-31 09:00:00",
        "letters": "1",
    }
    assert lines[lines.index("log of the server:") + 1 :][:2] == ["    ERROR x", "    at y"]
    assert '      "target": "Dataset:+name:Tuesday",' in lines


def test_a_terminal_gets_no_control_characters() -> None:
    """They come from whoever wrote the body."""
    body = b"\x1b[2J\x07" + "ä\u202e".encode()
    shown = "\n".join(deadview.full_text(read_letter(a_buried(body, headers=WHY | {"message": "\x1b[31m"}), FLEET)))
    assert "\\x1b[2J\\x07ä\\u202e" in shown
    assert "\\x1b[31m" in shown
    assert "\x1b" not in shown


def test_a_program_gets_everything_too() -> None:
    """The same names in list and show."""
    full, listed = deadview.full(a_letter()), deadview.summary(a_letter())
    assert full == listed | {"body": BODY.decode(), "body_bytes": len(BODY), "log_tail": "ERROR x"}
    assert full["request_id"] == full["name"] == str(REQUEST_ID)
    nameless = deadview.summary(replace(a_letter(), request=None, message_id=None))
    assert (nameless["request_id"], nameless["batch"], nameless["source"]) == (None, None, None)

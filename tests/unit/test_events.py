"""Events and the status that is folded from them."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import Permanent, Reason
from fleet_common.events import (
    FINAL,
    MAX_EVENT_BYTES,
    SUCCEEDED,
    Event,
    Kind,
    Phase,
    Progress,
    Result,
    decode_event,
    encode_event,
    fold,
    fold_all,
    next_seq,
    roll_up,
)
from fleet_common.messages import Batch
from support.builders import BATCH, NOW, REQUEST_ID, an_event

RESULT = Result(fileset_id=7, plate_ids=(51,), files=3, bytes=9, images=2, seconds={"upload": 1.5})


def state_of(*events: Event) -> Kind:
    """The folded state."""
    return fold(events).state


# --- the wire -----------------------------------------------------------------------------------------------------

FACTS = st.fixed_dictionaries(
    {},
    optional={
        "batch": st.just(BATCH),
        "source": st.text(max_size=20),
        "worker": st.text(max_size=20),
        "progress": st.builds(Progress, phase=st.sampled_from(Phase), files_done=st.integers(0, 9)),
        "result": st.just(RESULT),
        "reason": st.sampled_from(Reason),
        "message": st.text(max_size=20),
        "delay_seconds": st.floats(0, 1e6),
    },
)
EVENTS = st.builds(
    lambda kind, attempt, seq, seconds, facts: an_event(
        kind, attempt, seq, at=NOW + timedelta(seconds=seconds), **facts
    ),
    st.sampled_from(Kind),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(-3, 3),
    FACTS,
)


@given(EVENTS)
def test_an_event_survives_the_wire(event: Event) -> None:
    """What is told is what is read."""
    assert decode_event(encode_event(event)) == event


def test_the_key_is_lane_and_kind() -> None:
    """Topic permissions keep a producer to kinds of its own lane by this key."""
    assert an_event(Kind.ALREADY_IMPORTED, lane="cv8000").routing_key == "cv8000.already-imported"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"no json", "body"),
        (b"{}", "event_id"),
        (encode_event(an_event(Kind.STARTED)).replace(b'"started"', b'"begun"'), "kind"),
        (encode_event(an_event(Kind.STARTED)).replace(b'"version":1', b'"version":2'), "version"),
        (encode_event(an_event(Kind.STARTED)).replace(b"{", b'{"nice":1,', 1), "nice"),
        (encode_event(an_event(Kind.STARTED)).replace(b'"attempt":0', b'"attempt":-1'), "attempt"),
    ],
    ids=["no JSON", "empty", "kind", "version", "unknown field", "negative attempt"],
)
def test_a_body_that_is_no_event_is_refused_by_the_name_of_its_field(body: bytes, named: str) -> None:
    """Readers of the log count and skip it."""
    with pytest.raises(Permanent, match=rf"^not an event: {named}: "):
        decode_event(body)


def test_an_event_of_100_mb_is_refused_without_reading_it_all() -> None:
    """The log is open to everybody who may write to a lane."""
    valid = encode_event(an_event(Kind.STARTED, message="x"))
    padded = valid.replace(b'"x"', b'"' + b"x" * (MAX_EVENT_BYTES + 1) + b'"')
    with pytest.raises(Permanent, match="not an event"):
        decode_event(padded)


def test_the_largest_event_that_a_worker_makes_fits() -> None:
    """Ids are cut off after 1,000, and messages are short."""
    many = tuple(range(2**62, 2**62 + 1000))
    result = RESULT.model_copy(update={"plate_ids": many, "image_ids": many})
    event = an_event(Kind.IMPORTED, result=result, message="ä" * 2000, source="x" * 4096)
    assert len(encode_event(event)) <= MAX_EVENT_BYTES
    assert decode_event(encode_event(event)) == event


# --- the fold: which of two events wins ----------------------------------------------------------------------------

WINS = [
    # (what wins, what loses), each as (kind, attempt, seq)
    ("started over accepted", (Kind.STARTED, 1, 1), (Kind.ACCEPTED, 0, 0)),
    ("progress over started", (Kind.PROGRESS, 1, 2), (Kind.STARTED, 1, 1)),
    ("later progress over earlier", (Kind.PROGRESS, 1, 9), (Kind.PROGRESS, 1, 8)),
    ("retried over progress that comes late", (Kind.RETRIED, 1, 8), (Kind.PROGRESS, 1, 7)),
    ("handed back over progress", (Kind.HANDED_BACK, 1, 3), (Kind.PROGRESS, 1, 2)),
    ("a second attempt over the first's retry", (Kind.STARTED, 2, 10), (Kind.RETRIED, 1, 9)),
    ("a try of the same number over the retry before it", (Kind.STARTED, 1, 10), (Kind.RETRIED, 1, 9)),
    ("progress of the same number over a hand-back", (Kind.PROGRESS, 1, 11), (Kind.HANDED_BACK, 1, 9)),
    ("dead over progress", (Kind.DEAD, 1, 10), (Kind.PROGRESS, 1, 9)),
    ("dead over a retry of the same number", (Kind.DEAD, 1, 60), (Kind.RETRIED, 1, 51)),
    ("dead over an earlier attempt's retry", (Kind.DEAD, 5, 10), (Kind.RETRIED, 4, 9)),
    ("a replay over the death of the last attempt", (Kind.STARTED, 1, 10), (Kind.DEAD, 3, 9)),
    ("dead over what a producer told later", (Kind.DEAD, 1, 9), (Kind.ACCEPTED, 0, 0)),
    ("dead over progress of the same millisecond", (Kind.DEAD, 1, 9), (Kind.PROGRESS, 1, 9)),
    ("a later attempt over an earlier of the same millisecond", (Kind.STARTED, 2, 9), (Kind.RETRIED, 1, 9)),
    ("imported over everything of its attempt", (Kind.IMPORTED, 1, 3), (Kind.RETRIED, 1, 9)),
    ("imported over a later attempt", (Kind.IMPORTED, 1, 3), (Kind.STARTED, 2, 4)),
    ("imported over a later death", (Kind.IMPORTED, 1, 3), (Kind.DEAD, 4, 9)),
    ("already imported over dead", (Kind.ALREADY_IMPORTED, 1, 3), (Kind.DEAD, 4, 9)),
    ("already imported, later, over imported", (Kind.ALREADY_IMPORTED, 1, 10), (Kind.IMPORTED, 1, 9)),
    ("replayed over the death before it", (Kind.REPLAYED, 0, 10), (Kind.DEAD, 3, 9)),
    ("a death over the replay before it", (Kind.DEAD, 1, 11), (Kind.REPLAYED, 0, 10)),
    ("started over the replay before it", (Kind.STARTED, 1, 11), (Kind.REPLAYED, 0, 10)),
    ("replayed over what a producer told", (Kind.REPLAYED, 0, 10), (Kind.ACCEPTED, 0, 0)),
    ("dropped over the death before it", (Kind.DROPPED, 0, 10), (Kind.DEAD, 3, 9)),
    ("dropped over the replay before it", (Kind.DROPPED, 0, 11), (Kind.REPLAYED, 0, 10)),
    ("imported over a later drop", (Kind.IMPORTED, 1, 3), (Kind.DROPPED, 0, 9)),
    ("imported over a later replay", (Kind.IMPORTED, 1, 3), (Kind.REPLAYED, 0, 9)),
    ("started over a drop, when it was submitted again", (Kind.STARTED, 1, 11), (Kind.DROPPED, 0, 10)),
    ("cancelled over progress", (Kind.CANCELLED, 1, 10), (Kind.PROGRESS, 1, 9)),
    ("withdrawn over accepted", (Kind.WITHDRAWN, 0, 0), (Kind.ACCEPTED, 0, 0)),
    ("started over withdrawn", (Kind.STARTED, 1, 1), (Kind.WITHDRAWN, 0, 0)),
]


@pytest.mark.parametrize(("winner", "loser"), [row[1:] for row in WINS], ids=[row[0] for row in WINS])
def test_of_two_events_the_later_fact_wins_in_both_orders(
    winner: tuple[Kind, int, int], loser: tuple[Kind, int, int]
) -> None:
    """By sequence; the time that the loser tells is a day ahead and changes nothing."""
    wins, loses = an_event(*winner), an_event(*loser, at=NOW + timedelta(days=1))
    assert state_of(wins, loses) == state_of(loses, wins) == winner[0]


@pytest.mark.parametrize(
    ("previous", "after_ms", "expected_ms"),
    [(0, 0, 0), (-1, 0, 0), (0, 7, 7), (6, 7, 7), (7, 7, 8), (9, 7, 10)],
)
def test_the_next_number_is_the_clock_or_one_more(previous: int, after_ms: int, expected_ms: int) -> None:
    """Given a clock that stands still or was set back, then numbers grow all the same."""
    start = int(NOW.timestamp() * 1000)
    last = 0 if previous == 0 else start + previous
    assert next_seq(last, NOW + timedelta(milliseconds=after_ms)) == start + expected_ms


def test_a_number_is_above_0_whatever_the_clock_says() -> None:
    """0 is what producers tell."""
    assert next_seq(0, datetime(1960, 1, 1, tzinfo=UTC)) == 1


LIFE = (
    an_event(Kind.ACCEPTED, at=NOW + timedelta(hours=5), source="hcs/a.tif", batch=BATCH),
    an_event(Kind.STARTED, 1, 100, worker="w1"),
    an_event(Kind.RETRIED, 1, 103, worker="w1", reason=Reason.SESSION_LOST),
    an_event(Kind.STARTED, 1, 200, worker="w2"),
    an_event(Kind.DEAD, 1, 209, worker="w2", reason=Reason.READER_FAILED),
    an_event(Kind.REPLAYED, 0, 250, message="alice@desk put it back"),
    an_event(Kind.PROGRESS, 1, 301, worker="w1"),
    an_event(Kind.IMPORTED, 1, 302, worker="w1", result=RESULT),
)
"""A try that counted as none, a death, and a replay: all of them attempt 1."""


@pytest.mark.parametrize("length", range(1, len(LIFE) + 1))
def test_every_order_of_arrival_gives_the_same_status(length: int) -> None:
    """All permutations of every part of one life, up to 40,320."""
    expected = fold(LIFE[:length])
    assert expected.state == LIFE[length - 1].kind
    assert all(fold(order) == expected for order in itertools.permutations(LIFE[:length]))


@given(st.lists(EVENTS, min_size=1, max_size=7), st.data())
def test_order_and_duplicates_change_nothing(events: list[Event], data: st.DataObject) -> None:
    """Any events whatever, in any order, each any number of times."""
    again = data.draw(st.lists(st.sampled_from(events), max_size=5))
    shuffled = data.draw(st.permutations([*events, *again]))
    assert fold(shuffled) == fold(events)


@given(st.lists(EVENTS, min_size=1, max_size=7))
def test_a_success_absorbs_everything(events: list[Event]) -> None:
    """Nothing undoes an import."""
    states = {event.kind for event in events}
    assert (fold(events).state in SUCCEEDED) == bool(states & SUCCEEDED)


TRIES = st.lists(
    # (milliseconds since the last try, the kinds that its worker tells without the clock moving on)
    st.tuples(st.integers(1, 5), st.lists(st.sampled_from(Kind), min_size=1, max_size=3), st.integers(1, 3)),
    min_size=1,
    max_size=4,
)


@given(TRIES, st.data())
def test_whatever_workers_told_last_is_the_status_unless_it_was_imported(
    tries: list[tuple[int, list[Kind], int]], data: st.DataObject
) -> None:
    """Given tries of any attempt number, one after the other, then their clocks alone order them, however they come."""
    told: list[Event] = [an_event(Kind.ACCEPTED)]
    now = NOW
    for wait_ms, kinds, attempt in tries:
        seq, now = 0, now + timedelta(milliseconds=wait_ms + 3)
        for kind in kinds:
            seq = next_seq(seq, now)
            told.append(an_event(kind, attempt, seq))
    successes = [event for event in told if event.kind in SUCCEEDED]
    expected = (successes or told)[-1]
    status = fold(data.draw(st.permutations(told)))
    assert (status.state, status.attempt) == (expected.kind, expected.attempt)


@given(st.lists(EVENTS, min_size=1, max_size=7))
def test_a_status_is_one_of_the_events(events: list[Event]) -> None:
    """Nothing is mixed from two attempts: who, what and why come from the same event."""
    status = fold(events)
    told = (status.state, status.attempt, status.worker, status.progress, status.result, status.reason, status.message)
    assert told in [
        (one.kind, one.attempt, one.worker, one.progress, one.result, one.reason, one.message) for one in events
    ]


def test_a_life_without_accepted_has_a_status() -> None:
    """The log is bounded by age, and accepted is best effort."""
    status = fold(LIFE[1:])
    assert (status.state, status.attempt, status.worker, status.result) == (Kind.IMPORTED, 1, "w1", RESULT)


def test_batch_and_source_are_kept_from_any_event_that_knows_them() -> None:
    """A dead letter that nobody could read has neither."""
    status = fold([LIFE[0], an_event(Kind.DEAD, 1, reason=Reason.INVALID_REQUEST)])
    assert (status.state, status.batch, status.source) == (Kind.DEAD, BATCH, "hcs/a.tif")


def test_the_newest_batch_counts_when_a_request_was_submitted_twice() -> None:
    """Two accepted events differ in nothing but batch and time."""
    second = Batch(id=uuid.uuid4(), name="wednesday")
    events = [
        an_event(Kind.ACCEPTED, batch=BATCH),
        an_event(Kind.ACCEPTED, batch=second, at=NOW + timedelta(minutes=1)),
    ]
    assert fold(events).batch == fold(reversed(events)).batch == second


@pytest.mark.parametrize("kind", Kind)
def test_a_status_is_final_when_nothing_more_happens_by_itself(kind: Kind) -> None:
    """Those who wait go home on these, and only on these."""
    ends = {"imported", "already-imported", "expanded", "dead", "cancelled", "withdrawn", "dropped"}
    assert fold([an_event(kind)]).is_final == (str(kind) in ends)
    assert {str(one) for one in FINAL} == ends


def test_no_events_have_no_status() -> None:
    """Silence is not a state."""
    with pytest.raises(ValueError, match="at least 1"):
        fold([])


# --- many requests ------------------------------------------------------------------------------------------------


def test_requests_are_folded_apart_in_order_of_appearance() -> None:
    """One log holds the events of all."""
    other = uuid.uuid4()
    statuses = fold_all(
        [
            an_event(Kind.ACCEPTED, request_id=other),
            an_event(Kind.ACCEPTED),
            an_event(Kind.IMPORTED, 1, request_id=other),
        ]
    )
    assert [(key, one.state) for key, one in statuses.items()] == [
        (("phenix1", other), Kind.IMPORTED),
        (("phenix1", REQUEST_ID), Kind.ACCEPTED),
    ]


def test_what_another_lane_tells_of_a_request_changes_nothing() -> None:
    """Given a foreign producer that withdraws somebody's request, and has its own death told, then both are apart."""
    statuses = fold_all(
        [
            an_event(Kind.STARTED, 1, 1),
            an_event(Kind.WITHDRAWN, 9, 9, lane="cv8000"),
            an_event(Kind.DEAD, 1, 12, lane="cv8000"),
        ]
    )
    assert {key: one.state for key, one in statuses.items()} == {
        ("phenix1", REQUEST_ID): Kind.STARTED,
        ("cv8000", REQUEST_ID): Kind.DEAD,
    }
    assert [one.lane for one in statuses.values()] == ["phenix1", "cv8000"]


def test_a_roll_up_counts_every_state_also_those_without_requests() -> None:
    """Tables keep their columns."""
    counts = roll_up([fold([an_event(Kind.DEAD)]), fold([an_event(Kind.DEAD)]), fold([an_event(Kind.IMPORTED)])])
    assert counts == dict.fromkeys(Kind, 0) | {Kind.DEAD: 2, Kind.IMPORTED: 1}
    assert list(counts) == list(Kind)

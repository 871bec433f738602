"""Replays and drops as data: the copy, the changes, and the events that tell of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.broker import Names
from fleet_common.dead import Held, read_letter
from fleet_common.errors import UsageError
from fleet_common.events import Kind, fold, next_seq
from fleet_common.messages import Owner, Priority, decode, encode
from fleet_common.replays import CHANGEABLE, copy_of, drop_events, parse_changes, plan, replay_events
from support.builders import BATCH, NOW, REQUEST_ID, a_request, an_event
from support.dead import BODY, FLEET, a_buried, held

WHO = "alice@desk"

# --- what may be changed -------------------------------------------------------------------------------------------


def test_changes_are_fields_with_values() -> None:
    """A value may hold = itself."""
    texts = ["target=Screen:+name:a=b", "owner.user=bob", "priority=bulk"]
    assert parse_changes(texts) == {"target": "Screen:+name:a=b", "owner.user": "bob", "priority": "bulk"}
    assert parse_changes([]) == {}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["target"], "--set wants FIELD=VALUE, not 'target'"),
        (["target="], "--set wants FIELD=VALUE"),
        (["request_id=7"], "FIELD is one of owner.user, owner.group, target, priority, lane"),
        (["owner=bob"], "FIELD is one of"),
        (["lane=a", "lane=b"], "--set lane is given twice"),
    ],
)
def test_nothing_else_is(texts: list[str], said: str) -> None:
    """And the fields are named."""
    with pytest.raises(UsageError, match=said):
        parse_changes(texts)


# --- the copy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [BODY, BODY + b"  \n", b"no json \xff", b""], ids=["usual", "spaced", "rubbish", "none"]
)
def test_without_changes_the_body_is_byte_for_byte_the_same(body: bytes) -> None:
    """Under its old key, with no attempt, and in the name of who submitted it."""
    made = plan(held(body), {})
    copy = copy_of(made, Names(), WHO)
    assert (copy.exchange, copy.routing_key, copy.body) == ("import.requests", "phenix1.bulk", body)
    assert copy.mandatory
    assert copy.message_id == str(REQUEST_ID)
    assert copy.headers == {
        "attempt": 0,
        "replayed-by": WHO,
        "submitted-by": "phenix1",
    }
    assert made.changes == ()


def test_what_is_not_known_is_not_made_up() -> None:
    """A letter of somebody without a user id stays without one."""
    copy = copy_of(plan(held(headers={"submitted-by": "", "first-seen": ""}), {}), Names(), WHO)
    assert copy.headers == {"attempt": 0, "replayed-by": WHO}


@pytest.mark.parametrize(
    ("wanted", "expected", "key"),
    [
        ({"target": "Screen:id:5"}, {"target": "Screen:id:5"}, "phenix1.bulk"),
        ({"owner.user": "bob"}, {"owner": Owner(user="bob", group="screening")}, "phenix1.bulk"),
        ({"owner.group": "hcs"}, {"owner": Owner(user="alice", group="hcs")}, "phenix1.bulk"),
        ({"priority": "urgent"}, {"priority": Priority.URGENT}, "phenix1.urgent"),
        ({"lane": "cv8000"}, {"lane": "cv8000"}, "cv8000.bulk"),
        ({"lane": "cv8000", "priority": "urgent"}, {"lane": "cv8000", "priority": Priority.URGENT}, "cv8000.urgent"),
    ],
    ids=str,
)
def test_a_change_changes_one_field(wanted: Mapping[str, str], expected: dict[str, object], key: str) -> None:
    """And the id stays; class and lane of the key follow."""
    made = plan(held(), wanted)
    assert decode(made.body) == a_request().model_copy(update=expected)
    assert made.key == key
    assert [change.field for change in made.changes] == list(wanted)
    assert [change.after for change in made.changes] == list(wanted.values())


def test_a_change_to_what_it_is_already_changes_no_byte() -> None:
    """Nor is it told as one."""
    body = BODY + b" "
    made = plan(held(body), {"target": "Dataset:+name:Tuesday"})
    assert (made.body, made.changes) == (body, ())


def test_the_lane_that_it_came_through_can_be_made_the_bodys() -> None:
    """Given a body that names another lane, which is why it died, then --set mends it."""
    made = plan(held(encode(a_request(lane="cv8000"))), {"lane": "phenix1"})
    assert (made.key, decode(made.body).lane) == ("phenix1.bulk", "phenix1")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"target": "Nowhere:5"}, "target: .* is no target"),
        ({"target": "Screen:id:0"}, "is no id of a Screen"),
        ({"priority": "soon"}, "priority: Input should be 'urgent', 'normal' or 'bulk'"),
        ({"lane": "Not A Lane"}, "lane: String should match pattern"),
        ({"owner.user": "x" * 256}, "owner.user: String should have at most 255"),
        ({"owner.group": "a\x07"}, "owner.group: .*printable"),
    ],
    ids=str,
)
def test_a_value_that_no_request_may_have_is_refused(wanted: Mapping[str, str], said: str) -> None:
    """With the request and the field."""
    with pytest.raises(UsageError, match=rf"^{REQUEST_ID}: .*{said}"):
        plan(held(), wanted)


def test_what_cannot_be_read_cannot_be_changed() -> None:
    """But put back as it is: a newer worker may know it."""
    with pytest.raises(UsageError, match="its body cannot be read, so nothing of it can be changed; replay without"):
        plan(held(b"no json"), {"target": "Screen:id:5"})


def test_a_part_of_a_body_is_never_put_back() -> None:
    """Only the first MiB of a larger body was kept."""
    huge = Held(replace(held().letter, size_bytes=9_000_000), (1,))
    with pytest.raises(UsageError, match="its 9,000,000 bytes are no request, and would only die again"):
        plan(huge, {})


@given(st.dictionaries(st.sampled_from(CHANGEABLE), st.text(min_size=1, max_size=12)))
def test_a_change_is_a_valid_request_or_an_error(wanted: dict[str, str]) -> None:
    """Nothing is published that a worker could not read."""
    try:
        made = plan(held(), wanted)
    except UsageError:
        return
    request = decode(made.body)
    assert request.request_id == REQUEST_ID
    assert made.lane == request.lane


# --- what is told --------------------------------------------------------------------------------------------------


def test_a_replay_is_told_with_who_and_what() -> None:
    """From what to what, and of what it had died."""
    (event,) = replay_events(plan(held(), {"target": "Screen:id:5", "owner.user": "bob"}), WHO, NOW)
    assert (event.kind, event.request_id, event.lane, event.batch) == (Kind.REPLAYED, REQUEST_ID, "phenix1", BATCH)
    assert (event.source, event.attempt, event.at) == ("hcs/phenix1/cell.tif", 0, NOW)
    assert event.message == (
        "alice@desk put it back: target from 'Dataset:+name:Tuesday' to 'Screen:id:5'; "
        "owner.user from 'alice' to 'bob'; it was dead of file-empty"
    )


def test_a_replay_without_changes_says_so() -> None:
    """Not nothing."""
    (event,) = replay_events(plan(held(), {}), WHO, NOW)
    assert event.message == "alice@desk put it back: nothing changed; it was dead of file-empty"


def test_a_move_ends_in_the_old_lane_and_begins_in_the_new_one() -> None:
    """Who follows the old lane may not see the new one."""
    old, new = replay_events(plan(held(), {"lane": "cv8000"}), WHO, NOW)
    assert (old.kind, old.lane) == (Kind.DROPPED, "phenix1")
    assert (new.kind, new.lane) == (Kind.REPLAYED, "cv8000")
    assert old.message == (
        "alice@desk moved it to lane cv8000: lane from 'phenix1' to 'cv8000'; it was dead of file-empty"
    )
    assert fold([old]).is_final
    assert not fold([new]).is_final


def test_a_drop_is_told_with_who() -> None:
    """And is the end."""
    (event,) = drop_events(held().letter, WHO, NOW)
    assert (event.kind, event.lane) == (Kind.DROPPED, "phenix1")
    assert event.message == "alice@desk dropped it; it was dead of file-empty"


@pytest.mark.parametrize("behind", [timedelta(0), timedelta(hours=3)], ids=["same clock", "clock behind"])
@pytest.mark.parametrize("milliseconds", [0, 1, 500, 999])
def test_what_is_told_comes_after_the_death(behind: timedelta, milliseconds: int) -> None:
    """Given an operator whose clock is hours behind the worker's, then the status is right all the same."""
    told_at = NOW - timedelta(hours=1) + timedelta(milliseconds=milliseconds)
    died = an_event(Kind.DEAD, 3, next_seq(0, told_at))
    (replayed,) = replay_events(plan(held(), {}), WHO, NOW - behind)
    (dropped,) = drop_events(held().letter, WHO, NOW - behind)
    assert fold([replayed, died]).state is Kind.REPLAYED
    assert fold([dropped, died]).state is Kind.DROPPED
    assert fold([replayed, died, an_event(Kind.IMPORTED, 1, 1)]).state is Kind.IMPORTED


def test_of_a_letter_without_an_id_nothing_is_told() -> None:
    """Nothing ever was."""
    nameless = Held(read_letter(a_buried(b"x", message_id="no id"), FLEET), (1,))
    assert replay_events(plan(nameless, {}), WHO, NOW) == drop_events(nameless.letter, WHO, NOW) == ()


def test_of_a_key_that_is_no_lanes_nothing_is_told() -> None:
    """Published by hand: no status is kept of such a lane, and it can be dropped all the same."""
    strange = held(headers={"origin-key": "Not A Lane"})
    assert drop_events(strange.letter, WHO, NOW) == ()
    assert plan(strange, {}).key == "Not A Lane"


def test_every_event_has_an_id_of_its_own() -> None:
    """The log drops what was told twice."""
    events = [*drop_events(held().letter, WHO, NOW), *drop_events(held().letter, WHO, NOW)]
    assert len({event.event_id for event in events}) == 2
    assert all(isinstance(event.event_id, uuid.UUID) for event in events)


def test_the_changed_body_has_no_field_more_or_less() -> None:
    """As the producer wrote it, but for the change."""
    before, after = json.loads(BODY), json.loads(plan(held(), {"target": "Screen:id:5"}).body)
    assert after == before | {"target": "Screen:id:5"}

"""Orders of operators, and what holds after them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common import render
from fleet_common.control import MAX_ORDER_BYTES, Order, Orders, Paused, Verb, decode_order, encode_order
from fleet_common.errors import Permanent
from support.builders import BATCH, NOW, REQUEST_ID

LANES = ("phenix1", "cv8000", "hcs")
IDS = tuple(uuid.UUID(int=number) for number in range(1, 4))
BATCH_IDS = tuple(uuid.UUID(int=number) for number in range(11, 13))


def an_order(verb: Verb, *lanes: str, **facts: Any) -> Order:
    """An order of alice's, with an id of its own."""
    fields: dict[str, Any] = {"order_id": uuid.uuid4(), "verb": verb, "lanes": lanes, "at": NOW, "by": "alice@desk"}
    return Order(**(fields | facts))


def after(*orders: Order) -> Orders:
    """What holds after these."""
    made = Orders()
    for order in orders:
        made.add(order)
    return made


PAUSE_ALL, RESUME_ALL = an_order(Verb.PAUSE, everything=True), an_order(Verb.RESUME, everything=True)
PAUSE, RESUME = an_order(Verb.PAUSE, "phenix1"), an_order(Verb.RESUME, "phenix1")
CANCEL, UNCANCEL = (an_order(verb, request_id=REQUEST_ID) for verb in (Verb.CANCEL, Verb.UNCANCEL))
CANCEL_BATCH, UNCANCEL_BATCH = (an_order(verb, batch_id=BATCH.id) for verb in (Verb.CANCEL, Verb.UNCANCEL))

ABOUT_LANES = st.builds(
    lambda verb, lanes: an_order(verb, *lanes, everything=not lanes),
    st.sampled_from([Verb.PAUSE, Verb.RESUME]),
    st.lists(st.sampled_from(LANES), unique=True),
)
ABOUT_REQUESTS = st.builds(
    lambda verb, target: an_order(verb, request_id=target[0], batch_id=target[1]),
    st.sampled_from([Verb.CANCEL, Verb.UNCANCEL]),
    st.tuples(st.none() | st.sampled_from(IDS), st.none() | st.sampled_from(BATCH_IDS)).filter(any),
)
LOGS = st.lists(ABOUT_LANES | ABOUT_REQUESTS, max_size=12)


# --- the wire ------------------------------------------------------------------------------------------------------


@given(
    ABOUT_LANES | ABOUT_REQUESTS, st.none() | st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1)
)
def test_an_order_survives_the_wire(order: Order, why: str | None) -> None:
    """What is ordered is what is read."""
    order = order.model_copy(update={"why": why})
    assert decode_order(encode_order(order)) == order


def test_the_largest_order_fits() -> None:
    """A hundred lanes of the longest names, and texts of the widest letters."""
    lanes = [f"{number:03}{'x' * 60}" for number in range(100)]
    order = an_order(Verb.PAUSE, *lanes, by="\U0001f52c" * 255, why="\U0001f52c" * 255)
    assert len(encode_order(order)) <= MAX_ORDER_BYTES
    assert decode_order(encode_order(order)) == order


WIRE = encode_order(PAUSE)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"no json", "body"),
        (b"", "body"),
        (b"{}", "order_id"),
        (WIRE.replace(b'"version":1', b'"version":2'), "version"),
        (WIRE.replace(b"{", b'{"nice":1,', 1), "nice"),
        (WIRE.replace(b'"pause"', b'"stop"'), "verb"),
        (WIRE.replace(b'"phenix1"', b'"Phenix 1"'), r"lanes\.0"),
        (WIRE.replace(b"alice@desk", b"x" * 256), "by"),
        (WIRE.replace(b"alice@desk", b"\\u001b[2J"), "by"),
        (WIRE.replace(b"alice@desk", b"x" * (MAX_ORDER_BYTES + 1)), "body"),
    ],
    ids=["no JSON", "empty", "no order", "version", "unknown field", "verb", "lane", "long", "terminal codes", "huge"],
)
def test_a_body_that_is_no_order_is_refused_by_the_name_of_its_field(body: bytes, named: str) -> None:
    """Readers of the log count and skip it."""
    with pytest.raises(Permanent, match=rf"^not an order: {named}: "):
        decode_order(body)


@pytest.mark.parametrize(
    ("verb", "about"),
    [
        (Verb.PAUSE, {}),
        (Verb.PAUSE, {"lanes": ("hcs",), "everything": True}),
        (Verb.RESUME, {"lanes": ("hcs",), "request_id": REQUEST_ID}),
        (Verb.RESUME, {"everything": True, "batch_id": BATCH.id}),
        (Verb.CANCEL, {}),
        (Verb.CANCEL, {"everything": True}),
        (Verb.CANCEL, {"lanes": ("hcs",), "request_id": REQUEST_ID}),
        (Verb.UNCANCEL, {"everything": True, "batch_id": BATCH.id}),
    ],
    ids=str,
)
def test_an_order_says_exactly_what_it_is_about(verb: Verb, about: dict[str, Any]) -> None:
    """Pauses are about lanes or all, cancels about a request or a batch: a cancel of everything cannot be said."""
    with pytest.raises(ValueError, match="and nothing else"):
        an_order(verb, **about)


# --- paused --------------------------------------------------------------------------------------------------------

PAUSES = [
    ("nothing", (), False),
    ("by name", (PAUSE,), True),
    ("resumed by name", (PAUSE, RESUME), False),
    ("paused again", (PAUSE, RESUME, an_order(Verb.PAUSE, "phenix1")), True),
    ("another lane", (an_order(Verb.PAUSE, "cv8000"),), False),
    ("one of several", (an_order(Verb.PAUSE, "cv8000", "phenix1"),), True),
    ("all", (PAUSE_ALL,), True),
    ("all resumed", (PAUSE_ALL, RESUME_ALL), False),
    ("by name, and all resumed", (PAUSE, RESUME_ALL), False),
    ("all, and resumed by name", (PAUSE_ALL, RESUME), False),
    ("all, and another resumed", (PAUSE_ALL, an_order(Verb.RESUME, "cv8000")), True),
    ("resumed by name, then all", (RESUME, PAUSE_ALL), True),
    ("all resumed, then by name", (RESUME_ALL, PAUSE), True),
    ("a cancel in between", (PAUSE, CANCEL, UNCANCEL), True),
]


@pytest.mark.parametrize(("orders", "paused"), [row[1:] for row in PAUSES], ids=[row[0] for row in PAUSES])
def test_the_latest_order_that_concerns_a_lane_decides(orders: tuple[Order, ...], *, paused: bool) -> None:
    """Named or as one of all."""
    assert after(*orders).is_paused("phenix1") is paused


@given(LOGS, st.sampled_from([*LANES, "another"]))
def test_a_lane_is_paused_by_the_last_order_about_it_and_by_nothing_else(log: list[Order], lane: str) -> None:
    """The same, said backwards, for any log; also for a lane that no order names."""
    about = [order for order in log if order.everything or lane in order.lanes]
    assert after(*log).is_paused(lane) is (bool(about) and about[-1].verb is Verb.PAUSE)


@given(LOGS)
def test_the_list_of_pauses_tells_of_each_lane_what_holds(log: list[Order]) -> None:
    """Given the list alone, one can say of every lane whether it is paused."""
    orders = after(*log)
    named = {pause.lane for pause in orders.paused}
    but = {lane for pause in orders.paused for lane in pause.but}
    for lane in (*LANES, "another"):
        assert orders.is_paused(lane) is (lane in named or (None in named and lane not in but)), lane


def test_a_pause_is_shown_with_who_and_why() -> None:
    """For people who wonder."""
    why = an_order(Verb.PAUSE, everything=True, why="the server moves")
    orders = after(an_order(Verb.PAUSE, "hcs"), why, RESUME, an_order(Verb.PAUSE, "cv8000"))
    assert [render.paused_line(pause) for pause in orders.paused] == [
        "all lanes but phenix1: paused by alice@desk: the server moves (2026-01-31 10:00:00 UTC)",
        "lane cv8000: paused by alice@desk (2026-01-31 10:00:00 UTC)",
    ]
    assert render.paused_line(Paused(None, PAUSE_ALL)).startswith("all lanes: paused")


# --- cancelled -----------------------------------------------------------------------------------------------------

CANCELS = [
    ("nothing", (), None),
    ("the request", (CANCEL,), CANCEL),
    ("its batch", (CANCEL_BATCH,), CANCEL_BATCH),
    ("taken back", (CANCEL, UNCANCEL), None),
    ("the batch taken back", (CANCEL_BATCH, UNCANCEL_BATCH), None),
    ("one of a cancelled batch taken back", (CANCEL_BATCH, UNCANCEL), None),
    ("one of a batch that was taken back", (UNCANCEL_BATCH, CANCEL), CANCEL),
    ("the request, and its batch taken back", (CANCEL, UNCANCEL_BATCH), None),
    ("the request taken back, then its batch", (UNCANCEL, CANCEL_BATCH), CANCEL_BATCH),
    ("another request", (an_order(Verb.CANCEL, request_id=IDS[0]),), None),
    ("another batch", (an_order(Verb.CANCEL, batch_id=IDS[0]),), None),
    ("a pause in between", (CANCEL, PAUSE_ALL, RESUME_ALL), CANCEL),
]


@pytest.mark.parametrize(("orders", "expected"), [row[1:] for row in CANCELS], ids=[row[0] for row in CANCELS])
def test_a_cancel_stands_until_it_is_taken_back(orders: tuple[Order, ...], expected: Order | None) -> None:
    """The latest order about the request or its batch decides."""
    assert after(*orders).cancelled(REQUEST_ID, BATCH.id) == expected


@given(LOGS, st.sampled_from(IDS), st.none() | st.sampled_from(BATCH_IDS))
def test_a_request_is_cancelled_by_the_last_order_about_it_and_by_nothing_else(
    log: list[Order], request_id: uuid.UUID, batch_id: uuid.UUID | None
) -> None:
    """The same, said backwards, for any log."""
    about = [order for order in log if order.request_id == request_id or (batch_id and order.batch_id == batch_id)]
    cancelled = bool(about) and about[-1].verb is Verb.CANCEL
    assert after(*log).cancelled(request_id, batch_id) == (about[-1] if cancelled else None)


def test_a_request_without_a_batch_is_not_meant_by_orders_about_batches() -> None:
    """An id of a batch says nothing of a request that has the same."""
    assert after(CANCEL_BATCH).cancelled(BATCH.id) is None


@pytest.mark.parametrize(
    ("verb", "why", "expected"),
    [
        (Verb.CANCEL, "wrong plate", "cancelled by alice@desk: wrong plate"),
        (Verb.CANCEL, None, "cancelled by alice@desk"),
        (Verb.UNCANCEL, None, "no longer cancelled by alice@desk"),
    ],
)
def test_an_order_says_who_and_why(verb: Verb, why: str | None, expected: str) -> None:
    """In one sentence, for events and logs."""
    assert an_order(verb, request_id=REQUEST_ID, why=why).text == expected


# --- order and repetition ------------------------------------------------------------------------------------------


@given(LOGS, st.data())
def test_an_order_that_comes_again_changes_nothing(log: list[Order], data: st.DataObject) -> None:
    """Given a publisher that lost the connection before the confirm, then its order is there twice, and counts once."""
    again = list(log)
    for order in data.draw(st.lists(st.sampled_from(log), max_size=3)) if log else ():
        again.insert(data.draw(st.integers(log.index(order) + 1, len(again))), order)
    assert state(after(*again)) == state(after(*log))


def test_whether_an_order_is_new_is_told() -> None:
    """So that nobody is woken twice."""
    orders = Orders()
    assert [orders.add(PAUSE), orders.add(PAUSE), orders.add(RESUME), orders.add(PAUSE)] == [True, False, True, False]
    assert not orders.is_paused("phenix1")


def test_the_clocks_of_operators_decide_nothing() -> None:
    """Given a laptop that is a day ahead, then who orders later still has the last word."""
    ahead = an_order(Verb.PAUSE, "phenix1", at=NOW + timedelta(days=1))
    assert not after(ahead, RESUME).is_paused("phenix1")


def state(orders: Orders) -> tuple[Any, ...]:
    """Everything that can be asked."""
    lanes = tuple(orders.is_paused(lane) for lane in (*LANES, "another"))
    requests = tuple(orders.cancelled(one, batch) for one in IDS for batch in (None, *BATCH_IDS))
    return lanes, requests, orders.paused

"""Whose turn it is: bounds and shares, for any lanes, classes and costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.broker.costs import CAP_BYTES, FLOOR_BYTES
from fleet_common.broker.fairness import (
    CLASS_QUANTUM_BYTES,
    CLASS_WEIGHTS,
    LANE_QUANTUM_BYTES,
    Credits,
    Turns,
    always,
)
from fleet_common.messages import Priority

URGENT, NORMAL, BULK = Priority
PLATE, IMAGE = CAP_BYTES, FLOOR_BYTES
LANES = ("a", "b", "c")
Place = tuple[str, Priority]
PLACES = [(lane, priority) for lane in LANES for priority in Priority]
costs = st.one_of(st.sampled_from([IMAGE, PLATE]), st.integers(IMAGE, PLATE))


@dataclass
class Worker:
    """Takes as a worker does, from places where something always waits or that a test fills."""

    turns: Turns
    busy: set[Place] = field(default_factory=set)
    is_open: Callable[[str], bool] = always

    def take(self, cost: int | Mapping[Place, int] = IMAGE) -> Place | None:
        """Take from the first place that has something, at one cost or each at its own."""
        for lane, priority in self.turns.order(self.is_open):
            if (lane, priority) in self.busy:
                self.turns.charge(lane, priority, cost if isinstance(cost, int) else cost[lane, priority])
                return lane, priority
        self.turns.rest()
        return None

    def takes(self, count: int, cost: int | Mapping[Place, int] = IMAGE) -> list[Place | None]:
        """Some takes in a row."""
        return [self.take(cost) for _ in range(count)]


def a_worker(*busy: Place, lanes: tuple[str, ...] = LANES) -> Worker:
    """A worker that has taken nothing yet."""
    return Worker(Turns(lanes), set(busy))


def spent(worker: Worker, cost: Mapping[Place, int], takes: int) -> Counter[Place]:
    """What each place got of so many takes."""
    got: Counter[Place] = Counter()
    for _ in range(takes):
        place = worker.take(cost)
        assert place is not None
        got[place] += cost[place]
    return got


# --- enumerated ---


def test_a_worker_that_has_taken_nothing_looks_at_urgent_first_and_at_lanes_as_named() -> None:
    """The order of the settings, for it must be some order, and the same every time."""
    assert a_worker().turns.order() == tuple((lane, priority) for priority in Priority for lane in LANES)


def test_an_image_behind_plates_of_another_lane_is_taken_within_one_turn() -> None:
    """Given a lane full of plates, when an image comes into another lane, then it is next."""
    worker = a_worker(("a", NORMAL))
    assert worker.takes(3, PLATE) == [("a", NORMAL)] * 3
    worker.busy.add(("b", NORMAL))
    assert worker.take() == ("b", NORMAL)


def test_a_lane_of_plates_gets_no_more_work_than_a_lane_of_images() -> None:
    """Given plates and images waiting, then one plate is worth all the images that cost as much."""
    worker = a_worker(("a", NORMAL), ("b", NORMAL))
    cost = {("a", NORMAL): PLATE, ("b", NORMAL): IMAGE}
    got = Counter(worker.takes(20 * (PLATE // IMAGE + 1), cost))
    assert got == {("a", NORMAL): 20, ("b", NORMAL): 20 * PLATE // IMAGE}


def test_lanes_of_equal_requests_take_turns() -> None:
    """Given three lanes of images, then they are served one after the other."""
    worker = a_worker(*((lane, BULK) for lane in LANES))
    assert worker.takes(6) == [("a", BULK), ("b", BULK), ("c", BULK)] * 2


@pytest.mark.parametrize("before", [NORMAL, BULK])
def test_urgent_overtakes_at_once(before: Priority) -> None:
    """Given plates taken and waiting in every lane, when an urgent plate comes into any, then it is next."""
    worker = a_worker(*((lane, before) for lane in LANES))
    worker.takes(50, PLATE)
    worker.busy.add(("b", URGENT))
    assert worker.take(PLATE) == ("b", URGENT)


def test_urgent_goes_first_for_four_plates_in_a_row() -> None:
    """Given everything waiting from the start, then normal and bulk are next, with their quanta."""
    worker = a_worker(*(("a", priority) for priority in Priority))
    assert [place and place[1] for place in worker.takes(6, PLATE)] == [URGENT, URGENT, URGENT, URGENT, NORMAL, BULK]


def test_normal_and_bulk_move_behind_urgent_requests_without_end() -> None:
    """Given all classes waiting for ever, then they share as their weights say."""
    worker = a_worker(*(("a", priority) for priority in Priority))
    got = Counter(place and place[1] for place in worker.takes(2100, PLATE))
    assert [got[priority] for priority in Priority] == [1600, 400, 100]


def test_an_idle_lane_saves_nothing_up() -> None:
    """Given a lane that was empty while others worked, when it wakes up, then it gets one turn, not all it missed."""
    worker = a_worker(("a", NORMAL), ("b", NORMAL))
    worker.takes(1001)
    worker.busy.add(("c", NORMAL))
    assert worker.takes(4) == [("c", NORMAL), ("b", NORMAL), ("a", NORMAL), ("c", NORMAL)]


def test_an_idle_class_saves_nothing_up() -> None:
    """Given urgent idle for a thousand plates, when it wakes up, then it goes first for this round and the next one."""
    worker = a_worker(("a", NORMAL))
    worker.takes(1000, PLATE)
    worker.busy.add(("a", URGENT))
    assert worker.takes(9, PLATE) == [("a", URGENT)] * 8 + [("a", NORMAL)]


def test_a_lane_cannot_get_rid_of_what_it_owes_by_being_empty_for_a_moment() -> None:
    """Given a plate taken from a lane that then looks empty while others wait, then it still has to pay for it."""
    worker = a_worker(("a", NORMAL), ("b", NORMAL))
    assert worker.take(PLATE) == ("a", NORMAL)
    worker.busy.remove(("a", NORMAL))
    assert worker.takes(10) == [("b", NORMAL)] * 10
    worker.busy.add(("a", NORMAL))
    assert worker.takes(PLATE // IMAGE - 10) == [("b", NORMAL)] * (PLATE // IMAGE - 10)
    assert worker.take() == ("a", NORMAL)


def test_nobody_owes_anything_after_a_time_when_nothing_waited() -> None:
    """Given a lane that took plates while nobody else wanted any, when all had nothing, then all are equal again."""
    worker = a_worker(("a", NORMAL))
    worker.takes(3, PLATE)
    worker.busy.clear()
    assert worker.take() is None
    worker.busy |= {("a", NORMAL), ("b", NORMAL)}
    got = Counter(worker.takes(10))
    assert got == {("a", NORMAL): 5, ("b", NORMAL): 5}


def test_no_class_owes_anything_after_a_time_when_nothing_waited() -> None:
    """Given urgent with its quantum used up, when nothing waited any more, then it goes first again."""
    worker = a_worker(("a", URGENT))
    worker.takes(4, PLATE)
    worker.busy.clear()
    assert worker.take() is None
    worker.busy |= {("a", URGENT), ("a", NORMAL)}
    assert worker.take() == ("a", URGENT)


def test_a_closed_lane_is_not_looked_at() -> None:
    """Given a paused lane full of requests, then the others are served as if it were not there."""
    worker = a_worker(("a", URGENT), ("b", NORMAL))
    worker.is_open = lambda lane: lane != "a"
    assert "a" not in {lane for lane, _ in worker.turns.order(worker.is_open)}
    assert worker.takes(3) == [("b", NORMAL)] * 3


def test_a_closed_lane_is_not_credited() -> None:
    """Given a lane that owes a plate, when it was closed for a long time, then it owes it still."""
    worker = a_worker(("a", NORMAL), ("b", NORMAL))
    assert worker.take(PLATE) == ("a", NORMAL)
    worker.is_open = lambda lane: lane != "a"
    worker.takes(1000)
    worker.is_open = always
    images = PLATE // IMAGE - 1
    assert worker.takes(images + 1) == [("b", NORMAL)] * images + [("a", NORMAL)]


def test_whether_a_lane_is_open_is_asked_once_per_lane_every_time() -> None:
    """It may take a lock, and an answer that changes half-way would be no answer."""
    asked: list[str] = []

    def is_open(lane: str) -> bool:
        asked.append(lane)
        return True

    turns = Turns(LANES)
    turns.order(is_open)
    turns.order(is_open)
    assert asked == [*LANES, *LANES]


def test_all_lanes_closed_is_nothing_to_look_at() -> None:
    """Given that everything is paused, then there is no place to look, and that is no error."""
    assert Turns(LANES).order(lambda _: False) == ()


def test_a_lane_that_is_named_twice_is_one_lane() -> None:
    """A slip in the settings gives nobody two shares."""
    places = [("a", NORMAL), ("b", NORMAL)]
    cost = dict(zip(places, (PLATE, IMAGE), strict=True))
    once, twice = (a_worker(*places, lanes=lanes) for lanes in (("a", "b"), ("a", "b", "a")))
    assert once.takes(600, cost) == twice.takes(600, cost)


def test_credits_are_paid_off_by_whole_rounds() -> None:
    """Small enough to follow by hand: quanta of 10 and 5."""
    credits_ = Credits({"x": 10, "y": 5}, in_turn=False)
    both = ("x", "y")
    credits_.charge("x", 10, both)  # x 0, y 5: x needs one more round
    assert credits_.order() == ["y", "x"]
    credits_.charge("y", 15, both)  # x 0, y -10: y needs three more
    assert credits_.order() == ["x", "y"]
    credits_.charge("x", 25, both)  # after one round x 10-25, y -5: two more for each
    assert credits_.order() == ["x", "y"]
    credits_.charge("y", 1, both)  # after two rounds x 5, y 5-1
    assert credits_.order() == ["x", "y"]
    credits_.charge("x", 5, both)  # x 0, y 4
    assert credits_.order() == ["y", "x"]


# --- for any lanes and costs ---

CLASS_BOUND = {priority: weight * CLASS_QUANTUM_BYTES for priority, weight in CLASS_WEIGHTS.items()}


def rounds_of_debt(quantum: int) -> int:
    """How many rounds pay off the largest debt: it was above zero before one request of the cap."""
    return (PLATE - 1) // quantum + 1


def steps() -> st.SearchStrategy[list[tuple[int, frozenset[Place]]]]:
    """What each take costs, and where something waits then."""
    return st.lists(st.tuples(costs, st.frozensets(st.sampled_from(PLACES))), max_size=60)


def run(worker: Worker, plan: list[tuple[int, frozenset[Place]]], always_busy: Collection[Place]) -> Iterator[Place]:
    """Where each take of a plan found something."""
    for cost, busy in plan:
        worker.busy = set(busy) | set(always_busy)
        place = worker.take(cost)
        if place is not None:
            yield place


@given(steps(), st.sampled_from(PLACES), st.data())
def test_a_waiting_lane_is_passed_over_by_no_rival_of_its_class_for_more_than_two_plates(
    past: list[tuple[int, frozenset[Place]]], mine: Place, data: st.DataObject
) -> None:
    """Given any past, then each other lane of the class gets at most what pays my debt off, and one turn, before me."""
    worker = a_worker()
    list(run(worker, past, ()))
    lane, priority = mine
    rivals = {(other, priority) for other in LANES if other != lane}
    got: Counter[Place] = Counter()
    for _ in range(3000):
        cost = data.draw(costs) if len(got) < 1 else PLATE
        worker.busy = rivals | {mine}
        place = worker.take(cost)
        assert place is not None
        if place == mine:
            break
        got[place] += cost
    else:
        pytest.fail("passed over for ever")
    bound = rounds_of_debt(LANE_QUANTUM_BYTES) * LANE_QUANTUM_BYTES + PLATE + LANE_QUANTUM_BYTES
    assert all(passed <= bound for passed in got.values())


@given(steps(), st.sampled_from(Priority), costs)
def test_a_waiting_class_is_passed_over_for_no_more_than_its_debt_in_rounds(
    past: list[tuple[int, frozenset[Place]]], mine: Priority, cost: int
) -> None:
    """Given any past and the others busy in all lanes, then each gets at most so many of its quanta before me."""
    worker = a_worker()
    list(run(worker, past, ()))
    worker.busy = {(lane, priority) for lane in LANES for priority in Priority if priority != mine} | {("a", mine)}
    got: Counter[Priority] = Counter()
    while (place := worker.take(cost)) is not None and place[1] != mine:
        got[place[1]] += cost
        for other, passed in got.items():
            assert passed <= (rounds_of_debt(CLASS_BOUND[mine]) + 1) * CLASS_BOUND[other] + PLATE


@given(steps(), st.sets(st.sampled_from(PLACES), min_size=1))
def test_everything_that_waits_is_taken_in_the_end(
    past: list[tuple[int, frozenset[Place]]], waiting: set[Place]
) -> None:
    """Given any past and any places busy for ever with plates, then each of them is served."""
    worker = a_worker(*waiting)
    list(run(worker, past, ()))
    worker.busy = set(waiting)
    assert set(worker.takes(500, PLATE)) == waiting


@given(st.lists(costs, min_size=3, max_size=3))
def test_lanes_get_the_same_in_the_long_run_whatever_their_requests_cost(each: list[int]) -> None:
    """Given three lanes, each with requests of one size, then what they got differs by less than two requests."""
    cost = {(lane, NORMAL): bytes_ for lane, bytes_ in zip(LANES, each, strict=True)}
    got = spent(a_worker(*cost), cost, 1000)
    assert max(got.values()) - min(got[place] for place in cost) <= 2 * PLATE


@given(st.lists(costs, min_size=3, max_size=3), st.permutations(LANES))
def test_classes_get_their_weights_in_the_long_run_whatever_their_requests_cost(
    each: list[int], lanes: list[str]
) -> None:
    """Given all classes busy, then what they got, by weight, differs by less than a plate and a quantum."""
    cost = {(lane, priority): bytes_ for lane, priority, bytes_ in zip(lanes, Priority, each, strict=True)}
    got = spent(a_worker(*cost), cost, 1000)
    by_weight = [got[lane, priority] / CLASS_WEIGHTS[priority] for lane, priority in cost]
    assert max(by_weight) - min(by_weight) <= 2 * PLATE + 2 * CLASS_QUANTUM_BYTES


@given(steps())
def test_the_same_past_gives_the_same_turns(past: list[tuple[int, frozenset[Place]]]) -> None:
    """No clock and no chance: what happened can be done again."""
    first, second = a_worker(), a_worker()
    assert list(run(first, past, ())) == list(run(second, past, ()))
    assert first.turns.order() == second.turns.order()


@given(steps(), st.frozensets(st.sampled_from(LANES)))
def test_every_open_place_is_looked_at_once(past: list[tuple[int, frozenset[Place]]], closed: frozenset[str]) -> None:
    """Given any past, then an order leaves nothing out: whatever waits is found in one round."""
    worker = a_worker()
    list(run(worker, past, ()))
    order = worker.turns.order(lambda lane: lane not in closed)
    assert sorted(order) == sorted(place for place in PLACES if place[0] not in closed)


@given(st.lists(st.sets(st.sampled_from(["a", "b"]), min_size=1), max_size=60), st.integers(1, 20))
def test_a_lane_that_was_idle_is_no_more_than_one_turn_ahead(past: list[set[str]], rounds: int) -> None:
    """Given a lane that was empty for any time, when it wakes up, then all get the same from the next turn on."""
    worker = a_worker()
    for busy in past:
        worker.busy = {(lane, NORMAL) for lane in busy}
        worker.take()
    worker.busy = {(lane, NORMAL) for lane in LANES}
    got = Counter(worker.takes(3 * rounds))
    assert all(abs(got[lane, NORMAL] - rounds) <= 1 for lane in LANES)

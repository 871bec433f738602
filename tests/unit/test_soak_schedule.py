"""Faults and requests of a soak follow from the seed alone, and hold what they promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from soak.schedule import HABITS, PAUSE_SECONDS, VICTIMS, WORKERS, Fault, Kind, Victim, make_schedule
from soak.wishes import BY_HAND, GOOD, OWNERS, PRODUCERS, REASONS, Sort, make_wishes

TWENTY_MINUTES = 1200.0
SEEDS = range(20)
SERVERS = {Victim.RABBITMQ, Victim.OMERO}


def schedules() -> list[Fault]:
    """All faults of many soaks."""
    return [fault for seed in SEEDS for fault in make_schedule(seed, TWENTY_MINUTES)]


# --- faults ---


def test_the_same_seed_gives_the_same_faults() -> None:
    assert make_schedule(7, TWENTY_MINUTES) == make_schedule(7, TWENTY_MINUTES)


def test_another_seed_gives_other_faults() -> None:
    assert make_schedule(7, TWENTY_MINUTES) != make_schedule(8, TWENTY_MINUTES)


def test_a_shorter_soak_begins_as_a_longer_one() -> None:
    """What went wrong after two minutes of twenty can be had in two."""
    short = make_schedule(7, 120)
    assert short
    assert make_schedule(7, TWENTY_MINUTES)[: len(short)] == short


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_come_every_two_to_ten_seconds(seed: int) -> None:
    """A longer pause comes only from a moment at which everybody was down already."""
    shortest, longest = PAUSE_SECONDS
    times = [fault.at_seconds for fault in make_schedule(seed, TWENTY_MINUTES)]
    assert 0 < times[0] <= longest
    assert times[-1] < TWENTY_MINUTES
    # Times are rounded to a tenth of a second.
    assert all(shortest - 0.1 <= later - earlier <= longest + 0.1 for earlier, later in pairwise(times))


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_gets_a_second_fault_before_the_first_is_over(seed: int) -> None:
    """And the servers rest for a while, so that work gets done."""
    by_victim: defaultdict[tuple[Victim, int], list[Fault]] = defaultdict(list)
    for fault in make_schedule(seed, TWENTY_MINUTES):
        by_victim[fault.victim].append(fault)
    for faults in by_victim.values():
        for earlier, later in pairwise(faults):
            over = earlier.at_seconds + earlier.seconds + HABITS[earlier.kind].rest_seconds
            assert later.at_seconds >= over - 0.1


def test_every_kind_of_fault_comes() -> None:
    assert {fault.kind for fault in schedules()} == set(Kind)


def test_every_victim_is_met() -> None:
    met = {fault.victim for fault in schedules()}
    assert met == {(victim, index) for victim, count in VICTIMS.items() for index in range(count)}


def test_faults_of_servers_are_the_rare_ones() -> None:
    """All workers feel them: there are some in every soak, but work gets done between them."""
    counts = Counter(fault.kind for fault in schedules())
    rare = counts[Kind.BLITZ_KILLED] + counts[Kind.OMERO_RESTARTED]
    assert len(SEEDS) * 2 <= rare <= len(SEEDS) * 10
    assert counts[Kind.OMERO_RESTARTED] < counts[Kind.BLITZ_KILLED] < counts[Kind.WORKER_KILLED]
    restarts = counts[Kind.RABBITMQ_RESTARTED] + counts[Kind.RABBITMQ_KILLED] + counts[Kind.MEMORY_ALARM]
    assert restarts < counts[Kind.WORKER_KILLED]


def test_a_paused_worker_is_missed_by_its_broker() -> None:
    """Three heartbeats of 10 s."""
    paused = [fault.seconds for fault in schedules() if fault.kind is Kind.WORKER_PAUSED]
    assert set(paused) == {30.0}


@pytest.mark.parametrize("kind", [Kind.WORKER_KILLED, Kind.WORKER_STOPPED])
def test_some_workers_come_back_at_once_and_some_later(kind: Kind) -> None:
    """For a worker that is told to stop: some are told twice."""
    seconds = [fault.seconds for fault in schedules() if fault.kind is kind]
    at_once = sum(one == 0 for one in seconds)
    assert 0.3 < at_once / len(seconds) < 0.7


def test_links_are_broken_for_one_to_forty_seconds() -> None:
    links = {Victim.BROKER_LINK, Victim.OMERO_LINK}
    seconds = [fault.seconds for fault in schedules() if HABITS[fault.kind].victim in links]
    assert 1 <= min(seconds) < 5
    assert 35 < max(seconds) <= 40


def test_a_fault_says_what_it_is() -> None:
    fault = Fault(3, 12.34, Kind.WORKER_KILLED, 2, 4.0, 0.5)
    assert str(fault).split() == ["12.3", "s", "worker", "killed", "2", "4.0", "s"]


# --- requests ---


def test_the_same_seed_gives_the_same_requests() -> None:
    assert make_wishes(7, 300, TWENTY_MINUTES) == make_wishes(7, 300, TWENTY_MINUTES)


def test_another_seed_gives_other_requests() -> None:
    assert make_wishes(7, 300, TWENTY_MINUTES) != make_wishes(8, 300, TWENTY_MINUTES)


@pytest.mark.parametrize("count", [1, 2, 7, 12, 60, 300])
def test_there_are_as_many_requests_as_wanted(count: int) -> None:
    """In order of time, and numbered by it."""
    wishes = make_wishes(7, count, TWENTY_MINUTES)
    assert [wish.number for wish in wishes] == list(range(count))
    assert all(earlier.at_seconds <= later.at_seconds for earlier, later in pairwise(wishes))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mixture_does_not_depend_on_chance(seed: int) -> None:
    """Good ones of all kinds, every kind of bad one, and thirty that are submitted twice."""
    wishes = make_wishes(seed, 300, TWENTY_MINUTES)
    own = Counter(wish.sort for wish in wishes if wish.same_as is None)
    assert set(own) == set(Sort)
    assert sum(own[sort] for sort in REASONS) == 38
    assert (own[Sort.PLATE], own[Sort.FILES]) == (27, 32)
    assert sum(wish.same_as is not None for wish in wishes) == 30


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_submitted_twice_is_good_and_the_same_for_the_same_owner(seed: int) -> None:
    """At once or later, by either producer, but never before its original."""
    wishes = make_wishes(seed, 300, TWENTY_MINUTES)
    later = []
    for copy in (wish for wish in wishes if wish.same_as is not None):
        original = wishes[copy.origin]
        assert original.same_as is None
        assert original.sort in GOOD
        assert (copy.sort, copy.size, copy.user, copy.group, copy.target) == (
            original.sort, original.size, original.user, original.group, original.target,
        )  # fmt: skip
        later.append(copy.at_seconds - original.at_seconds)
    assert later.count(0.0) >= 3
    assert all(one == 0 or 20 <= one <= 120.1 for one in later)
    assert any(later)


def test_every_producer_keeps_to_its_lanes() -> None:
    used = {(wish.producer, wish.lane) for seed in SEEDS for wish in make_wishes(seed, 60, 60)}
    assert used == {(producer, lane) for producer, lanes in enumerate(PRODUCERS) for lane in lanes}


def test_all_owners_and_priorities_have_requests() -> None:
    wishes = [wish for wish in make_wishes(7, 300, TWENTY_MINUTES) if wish.sort in GOOD]
    assert {(wish.user, wish.group) for wish in wishes} == set(OWNERS)
    assert {wish.priority for wish in wishes} == {"urgent", "normal", "bulk"}


def test_only_bad_requests_have_a_reason() -> None:
    wishes = make_wishes(7, 300, TWENTY_MINUTES)
    assert all((wish.reason is None) == (wish.sort in GOOD) for wish in wishes)
    assert not BY_HAND & set(GOOD)


def test_faults_and_workers_fit() -> None:
    assert VICTIMS[Victim.WORKER] == WORKERS == 4
    assert VICTIMS[Victim.PRODUCER] == len(PRODUCERS) == 2
    assert all(VICTIMS[victim] == 1 for victim in SERVERS)

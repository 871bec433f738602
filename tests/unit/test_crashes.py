"""What becomes of a request that workers die of, and that its neighbours are never punished."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_worker.crashes import CRASH_LIMIT, SUSPECT_AFTER, Course, Judgement, judge

COUNTS = range(CRASH_LIMIT + 2)


def test_a_first_delivery_is_run() -> None:
    """The usual case."""
    assert judge(alone=None, deliveries=0, idle=False, reconnected=False) == Judgement(Course.RUN)


@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.parametrize(
    ("deliveries", "course"), [(1, Course.RUN), (2, Course.RUN), (3, Course.SET_ASIDE), (50, Course.SET_ASIDE)]
)
def test_what_came_back_three_times_is_a_suspect(deliveries: int, course: Course, *, idle: bool) -> None:
    """It starts anew as a copy with a count of its own: those deaths may have been a neighbour's."""
    assert judge(alone=None, deliveries=deliveries, idle=idle, reconnected=False) == Judgement(course)


def test_after_an_outage_of_the_broker_nobody_is_a_suspect() -> None:
    """Every delivery that was held came back, from workers that live."""
    assert judge(alone=None, deliveries=SUSPECT_AFTER, idle=True, reconnected=True).course is Course.RUN


@pytest.mark.parametrize(("alone", "deliveries"), [*itertools.product(COUNTS, COUNTS)])
def test_a_suspect_runs_alone_or_waits_until_three_workers_died_of_it(alone: int, deliveries: int) -> None:
    """Deaths that its copy carries, and those that came since."""
    deaths = alone + deliveries
    dead = deaths >= CRASH_LIMIT
    busy = judge(alone=alone, deliveries=deliveries, idle=False, reconnected=False)
    idle = judge(alone=alone, deliveries=deliveries, idle=True, reconnected=False)
    assert busy == Judgement(Course.BURY if dead else Course.LATER, deaths)
    assert idle == Judgement(Course.BURY if dead else Course.RUN_ALONE, deaths)


@pytest.mark.parametrize("alone", range(CRASH_LIMIT))
def test_a_suspect_that_came_back_from_a_living_worker_starts_with_its_old_count(alone: int) -> None:
    """As a new copy, so that this return is not counted the next time."""
    assert judge(alone=alone, deliveries=1, idle=True, reconnected=True) == Judgement(Course.SET_ASIDE, alone)
    assert judge(alone=alone, deliveries=0, idle=True, reconnected=True) == Judgement(Course.RUN_ALONE, alone)


@given(st.lists(st.sampled_from(["poison", "neighbour", "outage"]), max_size=40))
def test_only_deaths_alone_bury_a_request(deaths: list[str]) -> None:
    """Whatever kills workers in whatever order: a request is buried only once three died of it alone."""
    alone: int | None = None
    deliveries, died_alone, reconnected = 0, 0, False
    for death in deaths:
        judgement = judge(alone=alone, deliveries=deliveries, idle=True, reconnected=reconnected)
        if judgement.course is Course.SET_ASIDE:
            alone, deliveries = judgement.deaths, 0
            judgement = judge(alone=alone, deliveries=deliveries, idle=True, reconnected=reconnected)
        if judgement.course is Course.BURY:
            assert died_alone >= CRASH_LIMIT
            return
        assert judgement.course in {Course.RUN, Course.RUN_ALONE}
        died_alone += judgement.course is Course.RUN_ALONE and death != "outage"
        deliveries, reconnected = deliveries + 1, death == "outage"


def test_a_poisonous_request_ends() -> None:
    """Three deaths make it a suspect, three more alone bury it."""
    alone: int | None = None
    deliveries = deaths = 0
    while (judgement := judge(alone=alone, deliveries=deliveries, idle=True, reconnected=False)).course != "bury":
        if judgement.course is Course.SET_ASIDE:
            alone, deliveries = judgement.deaths, 0
        else:
            deliveries, deaths = deliveries + 1, deaths + 1
    assert deaths == SUSPECT_AFTER + CRASH_LIMIT

"""Names and retry tiers: what everything in the broker is called, and which tier a delay belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fleet_common.broker import RETRY_TIERS_SECONDS, Names, pick_tier
from fleet_common.connect import broker_names
from fleet_common.messages import Priority
from fleet_common.settings import BrokerSettings


def test_names_are_those_of_the_documentation() -> None:
    """Facilities write them into permissions and alerts, so they are fixed."""
    names = Names()
    assert names.lane_queues("demo") == (
        "import.lane.demo.urgent",
        "import.lane.demo.normal",
        "import.lane.demo.bulk",
    )
    assert names.lane_queue("demo", Priority.BULK) == "import.lane.demo.bulk"
    assert names.retry_for(11) == "import.retry.60"
    assert (names.requests, names.due, names.dead) == ("import.requests", "import.due", "import.dead")
    assert (names.events, names.event_log) == ("import.events", "import.event-log")
    assert (names.control, names.control_log) == ("import.control", "import.control-log")
    assert names.slots("omero", "create", 2) == ("import.slot.omero.create.0", "import.slot.omero.create.1")
    assert names.lock("gate.omero") == "import.lock.gate.omero"
    assert names.doorbell("abc") == "import.wake.abc"
    assert names.follower("demo", "abc") == "import.follow.demo.abc"


def test_another_prefix_is_another_fleet() -> None:
    """Two fleets can share a virtual host."""
    assert Names("test.").lane_queue("demo", "normal") == "test.lane.demo.normal"


def test_slots_are_told_from_locks_by_their_names() -> None:
    """Only slots have a grace after a reconnect."""
    names = Names()
    assert names.is_slot(names.slot("omero", "import", 0))
    assert not names.is_slot(names.lock("import.slot.x"))


@pytest.mark.parametrize("part", ["", "a b", "a/b", "a*b", "a#b", "ä", "x" + "\n", ".hidden"])
def test_what_cannot_be_part_of_a_name_is_refused(part: str) -> None:
    """Wildcards and spaces would change what a permission or a binding means."""
    with pytest.raises(ValueError, match="cannot be part of a queue's name"):
        Names().lock(part)


@pytest.mark.parametrize(
    ("delay_seconds", "tier"),
    [(0, 10), (10, 10), (10.5, 60), (60, 60), (61, 300), (1800, 1800), (28_799, 28_800), (1e9, 28_800)],
)
def test_a_delay_is_rounded_up_to_a_tier(delay_seconds: float, tier: int) -> None:
    """Never shorter than asked for, but for the longest."""
    assert pick_tier(delay_seconds) == tier


@given(st.floats(min_value=0, max_value=RETRY_TIERS_SECONDS[-1]))
def test_no_tier_is_shorter_than_the_delay(delay_seconds: float) -> None:
    """A retry never comes too early."""
    tier = pick_tier(delay_seconds)
    assert tier >= delay_seconds
    assert not [other for other in RETRY_TIERS_SECONDS if delay_seconds <= other < tier]


# --- tiers of a facility's own ---

tiers = st.lists(st.integers(1, 10**6), min_size=1, max_size=8).map(tuple)


@pytest.mark.parametrize(
    ("own", "delay_seconds", "tier"),
    [
        ((1, 2, 4), 0, 1),
        ((1, 2, 4), 1, 1),
        ((1, 2, 4), 1.01, 2),
        ((1, 2, 4), 3.9, 4),
        ((1, 2, 4), 4.1, 4),
        ((1, 2, 4), 28_800, 4),
        ((4, 1), 0.5, 1),
        ((4, 1), 2, 4),
        ((7,), 0, 7),
    ],
)
def test_a_delay_is_rounded_up_to_a_tier_of_the_facility(own: tuple[int, ...], delay_seconds: float, tier: int) -> None:
    """However the settings order them; what is beyond the longest waits for the longest."""
    assert pick_tier(delay_seconds, own) == tier
    assert Names(tiers_seconds=own).retry_for(delay_seconds) == f"import.retry.{tier}"


def test_names_have_the_usual_tiers_unless_told_otherwise() -> None:
    """Ten seconds to eight hours."""
    assert Names().tiers_seconds == RETRY_TIERS_SECONDS == (10, 60, 300, 1800, 7200, 28800)


def test_names_have_the_tiers_of_the_settings() -> None:
    """Worker and topology read the same setting, so a copy finds its tier."""
    assert broker_names(BrokerSettings(retry_tiers_seconds=(1, 2, 4))).tiers_seconds == (1, 2, 4)


@pytest.mark.parametrize("wrong", [(), (0,), (-1, 10)], ids=str)
def test_tiers_that_cannot_be_are_refused(wrong: tuple[int, ...]) -> None:
    """Without one there is no way to wait, and a queue has no time to live below a moment."""
    with pytest.raises(ValidationError, match="retry_tiers_seconds"):
        BrokerSettings(retry_tiers_seconds=wrong)


@given(tiers, st.floats(0, 2e6))
def test_the_tier_of_a_delay_is_the_shortest_that_is_long_enough(own: tuple[int, ...], delay_seconds: float) -> None:
    """And one of the facility's, always: there is no other queue."""
    tier = pick_tier(delay_seconds, own)
    assert tier in own
    long_enough = [other for other in own if other >= delay_seconds]
    assert tier == (min(long_enough) if long_enough else max(own))

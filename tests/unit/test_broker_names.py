"""Names and retry tiers: what everything in the broker is called, and which tier a delay belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.broker import RETRY_TIERS_SECONDS, Names, pick_tier
from fleet_common.messages import Priority


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

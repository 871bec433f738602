"""How full the queues are, out of what the management API says of all of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fleet_common.broker import Names, overview
from fleet_common.broker.management import Management
from fleet_common.broker.overview import Filling, Overview, read
from fleet_common.messages import Priority

NAMES = Names(tiers_seconds=(10, 60))


def a_queue(name: str, ready: int | None = None, unacked: int = 0, **more: Any) -> dict[str, Any]:
    """What the API says of a queue; one that starts has no numbers."""
    numbers = {} if ready is None else {"messages_ready": ready, "messages_unacknowledged": unacked}
    return {"name": name, **numbers, **more}


def look(*queues: dict[str, Any]) -> Overview:
    """Of the server called omero."""
    return read(queues, NAMES, "omero")


def test_lanes_are_seen_by_class() -> None:
    """Given two lanes, then each class has what is ready and what is held."""
    found = look(
        a_queue("import.lane.hcs.normal", 3, 1), a_queue("import.lane.hcs.bulk", 4), a_queue("import.lane.a.urgent", 0)
    )
    assert found.lanes == {
        ("hcs", Priority.NORMAL): Filling(3, 1),
        ("hcs", Priority.BULK): Filling(4, 0),
        ("a", Priority.URGENT): Filling(0, 0),
    }


def test_a_queue_that_is_starting_counts_as_empty() -> None:
    """The API leaves its numbers out for a moment."""
    assert look(a_queue("import.lane.hcs.normal")).lanes == {("hcs", Priority.NORMAL): Filling()}


def test_retries_and_dead_letters_count_held_ones_too() -> None:
    """A command that looks at dead letters holds all of them."""
    found = look(a_queue("import.retry.10", 2), a_queue("import.retry.60", 3, 1), a_queue("import.dead", 1, 7))
    assert (found.retries, found.dead) == (6, 8)


def test_every_worker_has_a_doorbell() -> None:
    """The exchange of that name is no queue."""
    assert look(a_queue("import.wake.a1", 0), a_queue("import.wake.b2", 1)).workers == 2


def test_slots_are_those_of_the_server() -> None:
    """Given slots of two servers, then only ours are counted, by kind."""
    names = ["omero.import.0", "omero.import.3", "omero.upload.31", "omero2.import.0", "omero.x.import.0"]
    assert look(*[a_queue(f"import.slot.{name}", 0) for name in names]).slots == {"import": 2, "upload": 1}


def test_what_is_not_the_fleets_is_left_alone() -> None:
    """Other applications, other prefixes, names that only look alike."""
    names = ["celery", "import.lane.hcs.later", "import.lane.normal", "other.lane.hcs.normal", "import.lock.x"]
    assert look(*[a_queue(name, 5) for name in names]) == Overview()


def test_the_shortest_delivery_timeout_of_a_lane_counts() -> None:
    """By argument or by policy, whichever is lower; other queues do not matter."""
    asked = {"x-consumer-timeout": 604_800_000}
    found = look(
        a_queue("import.lane.a.normal", 0, arguments=asked),
        a_queue(
            "import.lane.b.normal", 0, arguments=asked, effective_policy_definition={"consumer-timeout": 1_800_000}
        ),
        a_queue("celery", 0, arguments={"x-consumer-timeout": 1}),
    )
    assert found.delivery_timeout_seconds == 1800


def test_a_queue_that_asks_for_no_timeout_has_none() -> None:
    """It is declared by somebody else."""
    assert look(a_queue("import.lane.a.normal", 0, arguments={})).delivery_timeout_seconds is None


@pytest.mark.parametrize(("version", "seconds"), [("3.10.8", None), ("3.13.7", None), ("4.0.5", 7.0), ("4.3.6", 7.0)])
def test_a_timeout_that_the_broker_does_not_heed_is_not_told(version: str, seconds: float | None) -> None:
    """RabbitMQ before 4.0 has its own in rabbitmq.conf, and does not tell it."""
    queue = a_queue("import.lane.a.normal", 0, arguments={"x-consumer-timeout": 7000})
    answers = {("overview",): {"rabbitmq_version": version}, ("queues", "fleet"): [queue]}
    api = cast("Management", SimpleNamespace(get=lambda *path: answers[path]))
    assert overview.look(api, "fleet", NAMES, "omero").delivery_timeout_seconds == seconds

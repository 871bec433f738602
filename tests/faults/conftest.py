"""A facility in which everything that can break is broken, one row of the table after the other, or side by side.

The stack is called ``t-faults``; its RabbitMQ is the one that ``FLEET_TEST_RABBITMQ`` names (3.10, 4.0 or newest; 4.0
by default). ``FLEET_TEST_KEEP=1`` leaves it running for the next run, for people who work on a test. Threading: four
threads play rows, owned by ``played``; a test waits for its own row and looks at what became of it.
"""

from __future__ import annotations

import itertools
import os
import queue
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fleet_common.messages import Priority
from fleet_stack import stack
from fleet_stack.fleet import LANES, Fleet
from fleet_stack.layout import Layout
from fleet_stack.parts import Options
from support.facility import Facility
from support.proof import Proof
from support.rabbit import install_or_skip
from support.scenes import TIERS_SECONDS, Ending, Ground, Played, Row, check_in_omero, scene

STACK: Final = "t-faults"
PARTS: Final = ("rabbitmq", "omero")
AT_ONCE: Final = 4
LAST: Final = ("test_afterwards.py", "test_load.py", "test_servers.py")
"""Run after all others: these look at what the others left, and then stop or flood the servers."""

TIMEOUT_SECONDS: Final = 1500
"""Of one test: it waits for its row, and the row for a place among the four that are played, perhaps as the last."""
_HERE: Final = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what disturbs others behind the others, and give each test the time of all rows."""
    for item in items:
        if item.path.parent == _HERE:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))
    items.sort(key=lambda item: LAST.index(item.path.name) if item.path.name in LAST else -1)


@pytest.fixture(scope="session")
def version() -> str:
    """Which RabbitMQ breaks; a newest that cannot be had is skipped."""
    wanted = os.environ.get("FLEET_TEST_RABBITMQ", "4.0")
    install_or_skip(Layout.for_name(STACK), Options(rabbitmq_version=wanted))
    return wanted


@pytest.fixture(scope="session")
def facility(version: str) -> Iterator[Facility]:
    """Servers, shares, settings and lanes of the tests' own producers; no worker."""
    keep = bool(os.environ.get("FLEET_TEST_KEEP"))
    if not keep:
        stack.wipe(STACK)
    try:
        description = stack.up(STACK, PARTS, Options(rabbitmq_version=version))
        layout = Layout.for_name(STACK)
        shares = {name: layout.state / "shares" / name for name in ("hcs", "confocal")}
        for folder in shares.values():
            # An empty share looks to the fleet like one that is not mounted.
            (folder / "something").mkdir(parents=True, exist_ok=True)
        extra = {"broker": {"retry_tiers_seconds": TIERS_SECONDS}}
        fleet = Fleet(description, layout.state / "fleet", shares, extra=extra)
        fleet.apply_topology()
        yield Facility(layout, fleet, None)
    finally:
        if not keep:
            stack.wipe(STACK)


@pytest.fixture(scope="session")
def ground(facility: Facility) -> Iterator[Ground]:
    """What all rows stand on, with an OMERO that has imported once.

    One that has just started sometimes loses a service of its very first imports; tests that count attempts must not
    meet that.
    """
    layout = facility.layout
    proof = Proof(facility.fleet.stack.omero, next(layout.omero.glob("**/ManagedRepository")))
    ports: queue.SimpleQueue[int] = queue.SimpleQueue()
    for port in layout.ports.spare:
        ports.put(port)
    made = Ground(facility, proof, ports, f"r{uuid.uuid4().hex[:6]}")
    _warm_up(made)
    yield made
    proof.close()


def _warm_up(ground: Ground) -> None:
    """Import a plate through one of the lanes that are there already.

    A call that such a server never answers is given up early, and the request is tried again.
    """
    with scene(ground, Row("warm-up", lambda _: [], lanes=("demo",))) as stage:
        stage.trapped(call_seconds=30).wait_ready()
        plate = stage.plate()
        check_in_omero(ground, stage.ending(stage.send(plate), plate))


@pytest.fixture(scope="session")
def chosen(request: pytest.FixtureRequest) -> list[Row]:
    """The rows of this run, the longest first."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    params = (value for item in items for value in item.callspec.params.values())
    rows = {value.name: value for value in params if isinstance(value, Row)}
    return sorted(rows.values(), key=lambda row: -row.seconds)


@pytest.fixture(scope="session")
def played(ground: Ground, chosen: list[Row]) -> Iterator[Played]:
    """All rows of this run are on their way; who must be alone is played when a test asks for it."""
    lanes = [*LANES, *(lane for row in chosen for lane in row.lanes)]
    _declare(ground.facility, lanes)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="row") as pool:
        results = {row.name: pool.submit(_play, ground, row) for row in chosen if not row.alone}

        def wait(row: Row) -> list[Ending]:
            if row.name not in results:
                results[row.name] = pool.submit(_play, ground, row)
            return results[row.name].result()

        yield wait
        pool.shutdown(cancel_futures=True)


def _declare(facility: Facility, lanes: list[str]) -> None:
    """All lanes, without what a run that was broken off may have left in a stack that was kept."""
    fleet = facility.fleet
    replace(fleet, lanes=tuple(lanes), folder=fleet.folder / "topology").apply_topology()
    with facility.channel("admin") as channel:
        for lane, priority in itertools.product(lanes, Priority):
            channel.queue_purge(f"import.lane.{lane}.{priority}")


def _play(ground: Ground, row: Row) -> list[Ending]:
    with scene(ground, row) as stage:
        return row.play(stage)

"""A whole facility for the end-to-end tests: a real broker, OMERO with its web client, and two real worker processes.

The stack is called ``t-e2e``. It is new for every run, because what was imported once is not imported again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from fleet_stack import stack
from fleet_stack.fleet import Fleet, WorkerProcess, stop_all
from fleet_stack.layout import Layout
from fleet_stack.omero import jars
from fleet_stack.plates import tiff
from fleet_stack.readback import logged_in
from support.facility import Facility

STACK = "t-e2e"
LANE_RULES = {
    # The lane that the tests submit to may ask for everything in its shares, as everybody.
    "demo": {"shares": {"hcs": [""], "confocal": [""]}, "users": ["*"], "groups": ["*"], "targets": ["*"]},
    # A narrow lane, for requests that ask for what is another's.
    "hcs": {"shares": {"hcs": ["phenix1/"]}, "users": ["alice"], "groups": ["screening"], "targets": ["Screen:*"]},
    "confocal": {"shares": {"confocal": [""]}, "users": ["bob"], "groups": ["screening"], "targets": ["Dataset:*"]},
}


LAST: Final = ("test_lost_outcome.py", "test_inplace.py", "test_tls.py", "test_outages.py")
"""Run after all others, in this order: these delete the event log, end the shared workers, and stop the servers."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what disturbs others behind the others."""
    items.sort(key=lambda item: LAST.index(item.path.name) if item.path.name in LAST else -1)


@pytest.fixture(scope="session")
def facility() -> Iterator[Facility]:
    """Servers, shares and settings; no worker yet."""
    stack.wipe(STACK)
    try:
        description = stack.up(STACK)
        layout = Layout.for_name(STACK)
        shares = {name: layout.state / "shares" / name for name in ("hcs", "confocal")}
        for folder in shares.values():
            folder.mkdir(parents=True, exist_ok=True)
        scan = {"jar": str(jars.bioformats(layout.cache))}
        fleet = Fleet(description, layout.state / "fleet", shares, LANE_RULES, extra={"scan": scan})
        fleet.apply_topology()
        with logged_in(description.omero, "root") as root:
            yield Facility(layout, fleet, root)
    finally:
        stack.wipe(STACK)


@pytest.fixture(scope="session")
def shared() -> Iterator[list[WorkerProcess]]:
    """The workers that all tests share, once they were started."""
    started: list[WorkerProcess] = []
    yield started
    stop_all(started)
    print(*(worker.tail() for worker in started))  # noqa: T201  pytest shows it beside a failure


@pytest.fixture(scope="session")
def workers(facility: Facility, shared: list[WorkerProcess]) -> tuple[WorkerProcess, WorkerProcess]:
    """Two workers that take from all lanes, ready."""
    ports = facility.layout.ports.spare
    first, second = (facility.fleet.start_worker(f"w{number}", ports[number]) for number in (0, 1))
    shared += [first, second]
    first.wait_ready()
    second.wait_ready()
    warm_up(facility)
    return first, second


def warm_up(facility: Facility) -> None:
    """Import one image first: an OMERO that has just started sometimes loses a service of its very first imports.

    The fleet tries such an import again (``import-interrupted``), but tests that count attempts must not meet it.
    """
    folder = facility.share("confocal") / "warm-up"
    folder.mkdir(exist_ok=True)
    done = facility.submit(tiff(folder / "first.tif", size=64, seed=0), target="Dataset:+name:Warm-up")
    assert done.exit_code == 0, done.errors


@pytest.fixture(scope="session")
def alone(facility: Facility, shared: list[WorkerProcess]) -> Facility:
    """The facility without the shared workers, for tests that must know which worker does what."""
    stop_all(shared)
    return facility


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """Where tests leave what people may want to look at."""
    folder = Path("build")
    folder.mkdir(exist_ok=True)
    return folder

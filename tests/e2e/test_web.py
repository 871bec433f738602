"""People look at an imported plate with OMERO.web in a browser: those who may see it do, others do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet_stack import apt
from fleet_stack.console import StackError
from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import PlateSpec, make_plate
from support.browser import PACKAGES, WebClient, chromium
from support.facility import Facility

# The first run installs a browser.
pytestmark = pytest.mark.timeout(600)

SPEC = PlateSpec(name="seen in a browser", wells=24, fields=2, channels=3, size=128, seed=11)
LABELS = {f"{row}{column}" for row in "AB" for column in range(1, 13)}


@dataclass(frozen=True)
class Shown:
    """An imported plate, and browsers to look at it with."""

    facility: Facility
    plate_id: int
    folder: Path

    @contextmanager
    def to(self, user: str) -> Iterator[WebClient]:
        """A browser in which a user has logged in and followed the link to the plate."""
        omero = self.facility.fleet.stack.omero
        with chromium(self.folder / user) as browser:
            client = WebClient(browser, omero.web_url)
            client.log_in(user, omero.users[user].read_text(encoding="utf-8").strip())
            client.show_plate(self.plate_id)
            yield client


@pytest.fixture(scope="module")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the browsers' profiles, on a machine that has Chromium."""
    try:
        apt.ensure(PACKAGES)
    except StackError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    return tmp_path_factory.mktemp("chromium")


@pytest.fixture(scope="module")
def shown(browsers: Path, facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]) -> Shown:
    """Given a plate of alice's in a read-annotate group."""
    plate = make_plate(facility.share("hcs"), SPEC)
    done = facility.submit(plate.folder, target="Screen:+name:for the browser")
    assert done.exit_code == 0, done.errors + workers[0].tail() + workers[1].tail()
    return Shown(facility, done.only["result"]["plate_ids"][0], browsers)


def test_its_owner_sees_the_plate_with_all_its_wells(shown: Shown, artefacts: Path) -> None:
    """Every well has a thumbnail; the picture of it is kept for people to look at."""
    with shown.to("alice") as client:
        assert set(client.wait_wells(24)) == LABELS
        assert client.selected().startswith(SPEC.name)
        client.screenshot(artefacts / "omero-web-plate.png")


def test_a_colleague_sees_it_too(shown: Shown) -> None:
    """In a read-annotate group everybody looks at everybody's data."""
    with shown.to("bob") as client:
        assert set(client.wait_wells(24)) == LABELS
        assert client.selected().startswith(SPEC.name)


def test_a_stranger_does_not_see_it(shown: Shown) -> None:
    """The link leads a user of another group to his own data, and nothing there tells of the plate."""
    with shown.to("dave") as client:
        assert client.selected() == "Dave Example"
        assert client.wells() == []
        assert SPEC.name not in client.text()

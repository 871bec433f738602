"""Requests that must not be imported, published by hand past the producer's own checks: each ends as documented.

All are published at once and settled side by side; every test looks at one of them. ``docs/reference/reasons.md`` says
what a reason means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import omero
import omero.model
import pytest
from omero.rtypes import rstring

from fleet_common.errors import RULES, Reason
from fleet_common.messages import ImportRequest, Owner
from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import MadePlate, PlateSpec, make_plate, tiff
from fleet_stack.readback import logged_in
from support.facility import Facility
from support.handmade import Settled, assert_workers_go_on, image_request, letter, plate_request, post
from support.stories import ended, stories

NO_SUCH_ID = 999_999_999
BEFORE_THE_UPLOAD = {"check", "target"}


@dataclass(frozen=True)
class Material:
    """What the requests are about: files on the shares, and other people's Screens."""

    facility: Facility
    image: Path
    plate: MadePlate
    phenix1: MadePlate
    phenix10: MadePlate
    holed: MadePlate
    screens: Mapping[str, int]

    def of(self, user: str, group: str = "screening", **changes: Any) -> ImportRequest:
        """The good image, for somebody."""
        return image_request(self.facility, self.image, owner=Owner(user=user, group=group), **changes)

    def file(self, name: str, content: bytes | None = b"") -> ImportRequest:
        """A file with this content on the share; None for no file."""
        path = self.image.parent / name
        if content is not None:
            path.write_bytes(content)
        return image_request(self.facility, path)

    def whole(self, target: str) -> ImportRequest:
        """The good plate, into a target."""
        return plate_request(self.facility, self.plate, target=target)

    def hcs(self, plate: MadePlate | None = None, **changes: Any) -> ImportRequest:
        """What the narrow lane hcs may ask for, but for the changes."""
        return plate_request(self.facility, plate or self.phenix1, lane="hcs", **changes)


@dataclass(frozen=True)
class Case:
    """One request, the reason that it must be refused for, and words of the text that people read."""

    make: Callable[[Material], ImportRequest]
    reason: Reason
    words: tuple[str, ...]
    lane: str = ""


TARGETS = {
    "a Screen id that does not exist": Case(
        lambda m: m.whole(f"Screen:id:{NO_SUCH_ID}"), Reason.TARGET_NOT_FOUND, (f"Screen {NO_SUCH_ID}", "'screening'")
    ),
    "a Dataset id that does not exist": Case(
        lambda m: m.of("alice", target=f"Dataset:id:{NO_SUCH_ID}"), Reason.TARGET_NOT_FOUND, (f"Dataset {NO_SUCH_ID}",)
    ),
    "a Screen id of a group of other people": Case(
        lambda m: m.whole(f"Screen:id:{m.screens['dave']}"), Reason.TARGET_NOT_FOUND, ("may not see",)
    ),
    "a Screen id of another group of the owner's": Case(
        lambda m: m.whole(f"Screen:id:{m.screens['alice']}"), Reason.TARGET_NOT_FOUND, ("not in the group",)
    ),
    "a colleague's Screen that the owner may only annotate": Case(
        lambda m: m.whole(f"Screen:id:{m.screens['bob']}"), Reason.TARGET_NOT_LINKABLE, ("not put anything into it",)
    ),
    "an image for a Screen": Case(
        lambda m: m.of("alice", target="Screen:+name:E2E by hand"), Reason.TARGET_MISMATCH, ("goes into a Dataset",)
    ),
    "a plate for a Dataset": Case(
        lambda m: m.whole("Dataset:+name:E2E by hand"), Reason.TARGET_MISMATCH, ("goes into a Screen",)
    ),
}
OWNERS = {
    "a user who does not exist": Case(lambda m: m.of("nobody"), Reason.OWNER_UNKNOWN, ("'nobody'",)),
    "a user whose name is a query": Case(lambda m: m.of("alice' or '1'='1"), Reason.OWNER_UNKNOWN, ("no user",)),
    "a group that does not exist": Case(lambda m: m.of("alice", "nowhere"), Reason.GROUP_UNKNOWN, ("'nowhere'",)),
    "a group that the user is not in": Case(
        lambda m: m.of("bob", "private-lab"), Reason.OWNER_NOT_IN_GROUP, ("'bob'", "'private-lab'")
    ),
    "OMERO's root": Case(lambda m: m.of("root"), Reason.OWNER_REFUSED, ("'root'", "administrator")),
    "OMERO's root in its own group": Case(lambda m: m.of("root", "system"), Reason.OWNER_REFUSED, ("'root'",)),
    "OMERO's guest": Case(lambda m: m.of("guest", "guest"), Reason.OWNER_REFUSED, ("'guest'",)),
    "the service account": Case(lambda m: m.of("importer"), Reason.OWNER_REFUSED, ("'importer'",)),
    "OMERO's group of all users": Case(lambda m: m.of("alice", "user"), Reason.OWNER_REFUSED, ("own group 'user'",)),
}
FILES = {
    "an empty file": Case(lambda m: m.file("empty.tif"), Reason.FILE_EMPTY, ("confocal/refusals/empty.tif",)),
    "a plate with an empty plane": Case(
        lambda m: plate_request(m.facility, m.holed), Reason.FILE_EMPTY, ("well A02", "field 1", "is empty")
    ),
    "a name with a colon": Case(lambda m: m.file("a:b.tif", b"x"), Reason.NAME_REFUSED, ("a:b.tif", "it holds :")),
    "a file that is no image": Case(lambda m: m.file("notes.txt", b"no image\n" * 9), Reason.UNKNOWN_FORMAT, ()),
    "a format that is not installed": Case(
        lambda m: plate_request(m.facility, m.plate, format="no-such"), Reason.UNSUPPORTED, ("no-such", "harmony")
    ),
    "an index that is no index": Case(
        lambda m: image_request(m.facility, m.image, format="harmony", target="Screen:+name:E2E by hand"),
        Reason.FORMAT_BROKEN,
        (),
    ),
}
LANES = {
    "another lane's share": Case(
        lambda m: m.of("alice", lane="hcs", target="Screen:+name:E2E by hand"),
        Reason.NOT_ALLOWED,
        ("share 'confocal'",),
    ),
    "another lane's folder of the share": Case(
        lambda m: m.hcs(m.plate), Reason.NOT_ALLOWED, ("outside this lane's part", "'phenix1/'")
    ),
    "a folder whose name begins like the lane's": Case(
        lambda m: m.hcs(m.phenix10), Reason.NOT_ALLOWED, ("phenix10/", "'phenix1/'")
    ),
    "another lane's owner": Case(
        lambda m: m.hcs(owner=Owner(user="bob", group="screening")), Reason.NOT_ALLOWED, ("user 'bob'", "'alice'")
    ),
    "another lane's group": Case(
        lambda m: m.hcs(owner=Owner(user="alice", group="private-lab")), Reason.NOT_ALLOWED, ("group 'private-lab'",)
    ),
    "another lane's target": Case(
        lambda m: m.hcs(target="Dataset:+name:E2E by hand"), Reason.NOT_ALLOWED, ("target", "'Screen:*'")
    ),
    "another lane's name": Case(
        lambda m: plate_request(m.facility, m.phenix1, lane="demo"), Reason.NOT_ALLOWED, ("'demo'", "'hcs'"), lane="hcs"
    ),
    # Only OMERO knows that this user does not exist: the allow-list must have spoken before.
    "an owner who is unknown to OMERO, too": Case(
        lambda m: m.hcs(owner=Owner(user="nobody", group="nowhere")), Reason.NOT_ALLOWED, ("user 'nobody'",)
    ),
}
CASES = TARGETS | OWNERS | FILES | LANES
CONTROLS: Mapping[str, Callable[[Material], ImportRequest]] = {
    "what the lane hcs may ask for": lambda m: m.hcs(),
    "carol in a private group": lambda m: m.of("carol", "private-lab"),
    "bob in screening": lambda m: m.of("bob"),
}


def _screen(facility: Facility, user: str, group: str) -> int:
    """A Screen of somebody's in a group."""
    with logged_in(facility.fleet.stack.omero, user, group) as gateway:
        screen = omero.model.ScreenI()
        screen.name = rstring(f"E2E {user}'s")
        made = gateway.getUpdateService().saveAndReturnObject(screen, gateway.SERVICE_OPTS)
        assert made.details.group.id.val == gateway.getGroupFromContext().getId()
        return int(made.id.val)


@pytest.fixture(scope="module")
def material(facility: Facility) -> Material:
    """Files on both shares, and Screens of alice's, bob's and dave's."""
    folder, hcs = facility.share("confocal") / "refusals", facility.share("hcs")
    folder.mkdir(exist_ok=True)

    def plate(place: str, name: str, seed: int) -> MadePlate:
        return make_plate(hcs / place, PlateSpec(name=name, wells=2, fields=1, channels=1, size=16, seed=seed))

    holed = plate("refusals", "holed", 4)
    list(holed.tiffs.values())[-1].write_bytes(b"")
    screens = {"alice": "private-lab", "bob": "screening", "dave": "other"}
    return Material(
        facility,
        image=tiff(folder / "good.tif", size=32, seed=1),
        plate=plate("refusals", "whole", 1),
        phenix1=plate("phenix1", "first", 2),
        phenix10=plate("phenix10", "tenth", 3),
        holed=holed,
        screens={user: _screen(facility, user, group) for user, group in screens.items()},
    )


@pytest.fixture(scope="module")
def settled(facility: Facility, workers: tuple[WorkerProcess, ...], material: Material) -> Settled:
    """Given all these requests in their lanes, when the workers took them, then each is imported or dead."""
    assert workers
    letters = {}
    for name, case in CASES.items():
        made = case.make(material)
        letters[name] = letter(made, lane=case.lane or made.lane)
    letters |= {name: letter(make(material)) for name, make in CONTROLS.items()}
    post(facility, letters.values())
    told = stories(facility, [one.key for one in letters.values()], ended)
    dead = {message_id: (headers, body) for headers, body, message_id in facility.dead_letters()}
    return Settled(letters, told, dead)


@pytest.mark.parametrize("name", CASES)
def test_what_must_not_be_imported_is_dead_with_its_reason(settled: Settled, name: str) -> None:
    """The outcome says why, in words for people, and what to do next."""
    case, story = CASES[name], settled.story(name)
    outcome = story.only("dead")
    assert outcome["reason"] == case.reason, outcome
    assert [word for word in case.words if word not in outcome["message"]] == [], outcome["message"]
    assert outcome["next_action"] == RULES[case.reason].next_action
    assert "retried" not in story.kinds


@pytest.mark.parametrize("name", CASES)
def test_the_dead_letter_is_the_request_untouched(settled: Settled, name: str) -> None:
    """Body as published; the headers say why, who submitted it, and which lane a replay belongs into."""
    sent = settled.letters[name]
    headers, body = settled.dead[sent.key]
    outcome = settled.story(name).only("dead")
    assert body == sent.body
    assert (headers["reason"], headers["message"]) == (outcome["reason"], outcome["message"])
    assert (headers["submitted-by"], headers["origin-key"]) == (sent.lane, f"{sent.lane}.normal")
    assert headers["worker"] == outcome["worker"]


@pytest.mark.parametrize("name", [name for name in CASES if name != "a file that is no image"])
def test_nothing_was_sent_to_omero(facility: Facility, settled: Settled, name: str) -> None:
    """Refused before the upload: no phase after the look for the target, and no fileset."""
    assert settled.story(name).phases <= BEFORE_THE_UPLOAD
    assert facility.filesets_of(settled.letters[name].key) == []


@pytest.mark.parametrize("name", LANES)
def test_a_lane_is_refused_before_its_files_are_looked_at(settled: Settled, name: str) -> None:
    """Not even the target is looked for, and events speak in the name of the lane that was written to."""
    story = settled.story(name)
    assert story.phases <= {"check"}
    assert {event["lane"] for event in story.events} == {"hcs"}


def test_a_file_that_is_no_image_is_dead_with_the_end_of_the_servers_log(facility: Facility, settled: Settled) -> None:
    """The log says which file the server could not read, without any session's uuid, and no fileset is left."""
    key = settled.letters["a file that is no image"].key
    log = settled.dead[key][0]["log-tail"]
    assert "notes.txt" in log
    assert 100 < len(log) <= 4000
    assert facility.filesets_of(key) == []
    assert not re.search("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-", log, re.IGNORECASE)
    assert facility.query("select o.id from OriginalFile o where o.name = 'notes.txt'") == []
    assert list(facility.layout.omero.glob("**/ManagedRepository/**/notes.txt")) == []


@pytest.mark.parametrize("name", CONTROLS)
def test_the_same_without_the_mistake_is_imported(facility: Facility, settled: Settled, name: str) -> None:
    """What was refused above was refused for the one thing that was wrong with it."""
    outcome = settled.story(name).only("imported")
    assert facility.filesets_of(settled.letters[name].key) == [outcome["result"]["fileset_id"]]


def test_data_in_a_private_group_are_their_owners_alone(facility: Facility, settled: Settled) -> None:
    """Carol's image belongs to her in private-lab; she sees it, and alice, a member of the group, does not."""
    image = settled.story("carol in a private group").only("imported")["result"]["image_ids"][0]
    owner = facility.query(
        "select i.details.owner.omeName, i.details.group.name from Image i where i.id = :id", id=image
    )
    assert owner == [("carol", "private-lab")]
    for user, sees in (("carol", True), ("alice", False)):
        with logged_in(facility.fleet.stack.omero, user, "private-lab") as gateway:
            assert (gateway.getObject("Image", image) is not None) is sees, user


def test_the_workers_go_on_after_refusals(
    facility: Facility, settled: Settled, workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    """Both live, are ready, and import what is good."""
    assert settled.told
    assert_workers_go_on(facility, workers, "refusals")

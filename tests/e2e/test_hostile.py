"""What somebody who wants to do harm, or a broken program, may put into a lane: the worker neither obeys nor falls.

Everything is published by hand through the broker account of a lane, which is all that such a somebody has.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet_common.errors import Reason
from fleet_common.messages import ImportRequest, encode
from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import PlateSpec, make_plate, tiff
from support.facility import Facility, until
from support.handmade import (
    Letter,
    Settled,
    assert_workers_go_on,
    image_request,
    letter,
    plate_request,
    post,
    request,
    rubbish,
)
from support.stories import stories

SECRET = "not-for-the-fleet-7d1f0a"


@dataclass(frozen=True)
class Trap:
    """Files on the share that lead elsewhere, and what they lead to."""

    facility: Facility
    folder: Path
    outside: Path

    def request(self, path: str = "good.tif", **changes: Any) -> ImportRequest:
        """A request for something in the folder."""
        return image_request(self.facility, self.folder / path, **changes)

    def altered(self, **changes: Any) -> bytes:
        """The body of a good request with some fields changed, as no model would let it pass."""
        return _json(json.loads(encode(self.request())) | changes)

    def at(self, path: str) -> bytes:
        """The body of a good request whose path is another one."""
        body = json.loads(encode(self.request()))
        return _json(body | {"source": body["source"] | {"path": path}})

    def named(self, path: str) -> ImportRequest:
        """A good request for a path that only the worker's own check refuses."""
        return request("confocal", path, {path: 100})

    def index(self, name: str, old: str, new: str) -> ImportRequest:
        """A plate whose index was tampered with."""
        spec = PlateSpec(name=name, wells=1, fields=1, channels=1, size=16)
        plate = make_plate(self.facility.share("hcs") / "hostile", spec)
        text = plate.entry.read_text(encoding="utf-8")
        assert old in text
        plate.entry.write_text(text.replace(old, new), encoding="utf-8")
        return plate_request(self.facility, plate)


@dataclass(frozen=True)
class Case:
    """A message, and the reason and words that it must end dead with."""

    make: Callable[[Trap], bytes | ImportRequest]
    reason: Reason
    words: tuple[str, ...] = ()
    user_id: bool = True
    message_id: str | None = None


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


DEEP = 100_000
PLANE = "r01c01f01p01-ch1sk1fk1fl1.tiff"
BODIES = {
    "no JSON": Case(lambda _: b"\x89PNG\r\n\x1a\n\xff\x00", Reason.INVALID_REQUEST, ("JSON",)),
    "nothing": Case(lambda _: b"", Reason.INVALID_REQUEST),
    "a list": Case(lambda _: b"[]", Reason.INVALID_REQUEST),
    "an older version": Case(lambda t: t.altered(version=0), Reason.UNKNOWN_VERSION, ("version: 0",)),
    "a version that is no number": Case(lambda t: t.altered(version="1"), Reason.INVALID_REQUEST, ("version",)),
    "no version that a computer could hold": Case(
        lambda _: b'{"version": -' + b"9" * 200_000 + b"}", Reason.INVALID_REQUEST, ("out of range",)
    ),
    "2 MiB": Case(lambda t: t.altered() + b" " * 2 * 1024**2, Reason.REQUEST_TOO_LARGE, ("1,048,576",)),
    "no user id": Case(lambda t: t.request(), Reason.NO_USER_ID, ("which broker user",), user_id=False),
    "lists in lists": Case(lambda _: b'{"options":' + b"[" * DEEP + b"]" * DEEP + b"}", Reason.INVALID_REQUEST),
    "objects in objects": Case(lambda _: b'{"a":' * DEEP + b"1" + b"}" * DEEP, Reason.INVALID_REQUEST),
    "a field of tomorrow": Case(lambda t: t.altered(urgency=9), Reason.INVALID_REQUEST, ("urgency",)),
    "an option of tomorrow": Case(lambda t: t.altered(options={"colour": 1}), Reason.INVALID_REQUEST, ("colour",)),
    "a NUL in a name": Case(
        lambda t: t.altered(owner={"user": "al\0ice", "group": "screening"}), Reason.INVALID_REQUEST, ("owner.user",)
    ),
    "half a character": Case(
        lambda t: t.altered().replace(b"screening", rb"\ud800"), Reason.INVALID_REQUEST
    ),
}  # fmt: skip
PATHS = {
    "an absolute path": Case(lambda t: t.at("/etc/passwd"), Reason.INVALID_REQUEST, ("source.path", "relative")),
    "a path that climbs": Case(lambda t: t.at("hostile/../../outside"), Reason.INVALID_REQUEST, ("source.path",)),
    "a path with backslashes": Case(lambda t: t.at("hostile\\..\\x.tif"), Reason.INVALID_REQUEST, ("source.path",)),
    "a URL": Case(lambda t: t.at("http://127.0.0.1/x.tif"), Reason.INVALID_REQUEST, ("source.path",)),
    "a drive": Case(lambda t: t.named("C:/Windows/x.tif"), Reason.UNSAFE_PATH, ("drive letter",)),
    "a link to a file outside": Case(lambda t: t.request("link.tif"), Reason.NOT_A_REGULAR_FILE, ("link.tif",)),
    "a link to a folder outside": Case(
        lambda t: t.request("folder-link/secret.tif"), Reason.NOT_A_REGULAR_FILE, ("folder-link",)
    ),
    "a link to a file inside": Case(lambda t: t.request("inner-link.tif"), Reason.NOT_A_REGULAR_FILE),
    "a FIFO": Case(lambda t: t.request("fifo.tif"), Reason.NOT_A_REGULAR_FILE, ("fifo.tif",)),
    "a FIFO as an index": Case(
        lambda t: t.request("fifo.tif", format="harmony", target="Screen:+name:X"), Reason.NOT_A_REGULAR_FILE
    ),
    "a folder": Case(lambda t: t.request("."), Reason.NOT_A_REGULAR_FILE),
    "an index that climbs out of its share": Case(
        lambda t: t.index("climbs", f"<URL>{PLANE}", "<URL>../../../../outside/secret.tif"), Reason.UNSAFE_PATH
    ),
    "an index that names a file of the host": Case(
        lambda t: t.index("absolute", f"<URL>{PLANE}", "<URL>/etc/passwd"), Reason.UNSAFE_PATH
    ),
    "an index that names a URL": Case(
        lambda t: t.index("url", f"<URL>{PLANE}", f"<URL>http://127.0.0.1/{PLANE}"), Reason.UNSAFE_PATH, ("URL",)
    ),
    "an index with an entity from a file": Case(
        lambda t: t.index("entity", "?>", f'?><!DOCTYPE x [<!ENTITY e SYSTEM "file://{t.outside}/secret.tif">]>'),
        Reason.FORMAT_BROKEN,
    ),
}
STRANGE_IDS = {
    "an id that is none": Case(lambda _: b"{", Reason.INVALID_REQUEST, message_id="../../etc/passwd"),
    "no id at all": Case(lambda _: b"{", Reason.INVALID_REQUEST, message_id=""),
}
CASES = BODIES | PATHS


@pytest.fixture(scope="module")
def trap(facility: Facility) -> Iterator[Trap]:
    """A folder of the share with a good image, links out of it, and a FIFO that nobody writes to."""
    folder, outside = facility.share("confocal") / "hostile", facility.layout.state / "shares" / "outside"
    for place in (folder, outside):
        place.mkdir(exist_ok=True)
    tiff(folder / "good.tif", size=32, seed=21)
    (outside / "secret.tif").write_text(SECRET)
    links = {"link.tif": outside / "secret.tif", "folder-link": outside, "inner-link.tif": folder / "good.tif"}
    for name, leads_to in links.items():
        (folder / name).symlink_to(leads_to)
    os.mkfifo(folder / "fifo.tif")
    yield Trap(facility, folder, outside)
    for name in (*links, "fifo.tif"):
        (folder / name).unlink()


def _letter(trap: Trap, case: Case) -> Letter:
    made = case.make(trap)
    properties = {"user_id": case.user_id, "message_id": case.message_id}
    return rubbish(made, **properties) if isinstance(made, bytes) else letter(made, **properties)


@pytest.fixture(scope="module")
def settled(facility: Facility, workers: tuple[WorkerProcess, ...], trap: Trap) -> Settled:
    """Given all this in a lane, when the workers took it, then each message is dealt with."""
    assert workers
    letters = {name: _letter(trap, case) for name, case in CASES.items()}
    post(facility, letters.values())
    told = stories(facility, [one.key for one in letters.values()])
    dead = {message_id: (headers, body) for headers, body, message_id in facility.dead_letters()}
    return Settled(letters, told, dead)


@pytest.mark.parametrize("name", CASES)
def test_harm_is_dead_with_its_reason(facility: Facility, settled: Settled, name: str) -> None:
    """With words that name the place, the body untouched, and nothing in OMERO."""
    case, sent = CASES[name], settled.letters[name]
    outcome = settled.story(name).only("dead")
    assert outcome["reason"] == case.reason, outcome
    assert [word for word in case.words if word not in outcome["message"]] == [], outcome["message"]
    headers, body = settled.dead[sent.key]
    assert body == sent.body
    assert headers["reason"] == case.reason
    assert facility.filesets_of(sent.key) == []


def test_what_dead_letters_and_events_say_of_a_megabyte_is_short(settled: Settled) -> None:
    """Nobody's terminal is filled by what somebody else wrote."""
    messages = [settled.story(name).only("dead")["message"] for name in CASES]
    assert max(map(len, messages)) < 1000
    assert all(message.isprintable() for message in messages)


def test_nothing_outside_the_share_was_read(
    facility: Facility, settled: Settled, workers: tuple[WorkerProcess, ...]
) -> None:
    """What the links lead to is in no log, no dead letter and not in OMERO."""
    told = json.dumps([story.events for story in settled.told.values()])
    letters = str([headers for headers, _ in settled.dead.values()])
    logs = "".join(worker.log.read_text(errors="replace") for worker in workers)
    assert SECRET not in told + letters + logs
    assert "root:x:0" not in told + letters + logs
    assert facility.query("select e.id from FilesetEntry e where e.clientPath like '%secret.tif'") == []


def test_nobody_waits_for_a_fifo(settled: Settled, trap: Trap) -> None:
    """A FIFO that somebody has open for reading could be opened for writing without waiting."""
    assert settled.story("a FIFO").kinds[-1] == "dead"
    with pytest.raises(OSError, match="No such device") as refusal:
        os.open(trap.folder / "fifo.tif", os.O_WRONLY | os.O_NONBLOCK)
    assert refusal.value.errno == errno.ENXIO


def test_a_newer_version_waits_for_newer_workers(facility: Facility, settled: Settled, trap: Trap) -> None:
    """During a rolling upgrade it goes into a retry queue, and costs no attempt."""
    assert settled.told
    sent = rubbish(trap.altered(version=2, colours=["red"]))
    post(facility, [sent])
    retried = stories(facility, [sent.key])[sent.key].only("retried")
    assert (retried["reason"], retried["delay_seconds"]) == ("newer-version", 300.0)
    with facility.channel("topology") as channel:
        assert channel.queue_declare("import.retry.300", passive=True).method.message_count >= 1


@pytest.mark.parametrize("name", STRANGE_IDS)
def test_a_message_that_says_not_which_request_it_is_ends_dead_all_the_same(
    facility: Facility, settled: Settled, trap: Trap, name: str
) -> None:
    """No event can speak of it, but the dead letter does."""
    assert settled.told
    sent = _letter(trap, STRANGE_IDS[name])
    unique = Letter(sent.key, b"{" + sent.key.encode(), message_id=sent.message_id)
    post(facility, [unique])
    headers = until(lambda: _dead_with_body(facility, unique.body), 60, f"a dead letter for {name}")
    assert headers["reason"] == "invalid-request"


def _dead_with_body(facility: Facility, wanted: bytes) -> Mapping[str, Any] | None:
    return next((headers for headers, body, _ in facility.dead_letters() if body == wanted), None)


def test_the_workers_go_on_after_harm(
    facility: Facility, settled: Settled, workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    """Both live, are ready, met no defect, and import what is good."""
    assert settled.told
    assert_workers_go_on(facility, workers, "hostile")

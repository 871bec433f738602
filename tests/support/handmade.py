"""Requests made by hand, as a producer with a program of its own might: valid but for what a test is about."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika

from fleet_common.messages import ImportRequest, Manifest, encode
from fleet_common.storage import ManifestEntry, summarise
from fleet_stack.plates import MadePlate, tiff
from support.builders import a_request, a_source
from support.facility import Facility
from support.stories import Story, ended, stories

TARGET = "Dataset:+name:E2E by hand"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to publish into a lane, and under which id it can be found again.

    Attributes:
        key: The event log's request id, and the message id unless ``message_id`` says otherwise.
        lane: Whose producer publishes it, and where to.
        user_id: Whether the publisher says who it is.
    """

    key: str
    body: bytes
    lane: str = "demo"
    user_id: bool = True
    message_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)


def letter(request: ImportRequest, **properties: Any) -> Letter:
    """The message that carries a request, into the lane that the request names unless told otherwise."""
    fields: dict[str, Any] = {"lane": request.lane, "key": str(request.request_id), "body": encode(request)}
    return Letter(**(fields | properties))


def rubbish(body: bytes, **properties: Any) -> Letter:
    """A message that carries no request."""
    return Letter(str(uuid.uuid4()), body, **properties)


def post(facility: Facility, letters: Iterable[Letter]) -> None:
    """Publish all, each as its lane's own producer, and ring the doorbell of idle workers."""
    by_lane: defaultdict[str, list[Letter]] = defaultdict(list)
    for one in letters:
        by_lane[one.lane].append(one)
    for lane, ones in by_lane.items():
        with facility.channel(lane) as channel:
            for one in ones:
                channel.basic_publish("import.requests", f"{lane}.normal", one.body, _properties(one), mandatory=True)
            channel.basic_publish("import.wake", "", b"")


def _properties(one: Letter) -> pika.BasicProperties:
    return pika.BasicProperties(
        delivery_mode=2,
        message_id=one.key if one.message_id is None else one.message_id,
        user_id=one.lane if one.user_id else None,
        headers=dict(one.headers),
    )


def request(share: str, entry: str, sizes: Mapping[str, int], **changes: Any) -> ImportRequest:
    """A request of alice's with an id of its own, as of now.

    Args:
        share: Of the files.
        entry: The entry file, relative to the share.
        sizes: Size in bytes of every file by its path in the share: what the manifest is made of.
        changes: Fields of the request; ``format`` goes into its source.
    """
    total = summarise(ManifestEntry(path, size) for path, size in sizes.items())
    manifest = Manifest(files=total.files, bytes=total.bytes, digest=total.digest)
    source = a_source(share=share, path=entry, format=changes.pop("format", "file"), manifest=manifest)
    fields: dict[str, Any] = {
        "request_id": uuid.uuid4(),
        "submitted_at": datetime.now(UTC),
        "lane": "demo",
        "source": source,
        "target": TARGET,
    }
    return a_request(**(fields | changes))


def image_request(facility: Facility, file: Path, share: str = "confocal", **changes: Any) -> ImportRequest:
    """A request for one file of a share; without a file its manifest speaks of 100 bytes."""
    path = file.relative_to(facility.share(share)).as_posix()
    return request(share, path, {path: file.stat().st_size if file.is_file() else 100}, **changes)


def plate_request(facility: Facility, plate: MadePlate, share: str = "hcs", **changes: Any) -> ImportRequest:
    """A request for a plate of a share."""
    root = facility.share(share)
    sizes = {file.relative_to(root).as_posix(): file.stat().st_size for file in plate.files}
    fields: dict[str, Any] = {"format": "harmony", "target": "Screen:+name:E2E by hand"}
    return request(share, plate.entry.relative_to(root).as_posix(), sizes, **(fields | changes))


def filesets_named(facility: Facility, requests: Collection[str]) -> dict[str, list[int]]:
    """The filesets of each of these requests; those without one are left out."""
    found = {one: facility.filesets_of(one) for one in requests}
    return {one: ids for one, ids in found.items() if ids}


def assert_workers_go_on(facility: Facility, workers: Sequence[Any], folder: str) -> None:
    """Both processes live, are ready, met no defect, and each of them imports a good image now."""
    for worker in workers:
        assert worker.process.poll() is None, worker.tail()
        assert worker.ready(), worker.fetch("/readyz")
        assert worker.metric("omero_import_internal_errors_total") == 0, worker.tail()
    place = facility.share("confocal") / folder
    place.mkdir(exist_ok=True)
    busy: set[str] = set()
    for number in range(0, 30, 3):
        files = [tiff(place / f"afterwards {number + one}.tif", size=32, seed=(9, number + one)) for one in range(3)]
        letters = [letter(image_request(facility, file)) for file in files]
        post(facility, letters)
        told = stories(facility, [one.key for one in letters], ended)
        busy |= {story.only("imported")["worker"] for story in told.values()}
        if busy == {worker.name for worker in workers}:
            return
    raise AssertionError(f"only {busy} took part")


@dataclass(frozen=True)
class Settled:
    """Every message with what became of it."""

    letters: Mapping[str, Letter]
    told: Mapping[str, Story]
    dead: Mapping[str, tuple[Mapping[str, Any], bytes]]

    def story(self, name: str) -> Story:
        """What was told of a message."""
        return self.told[self.letters[name].key]

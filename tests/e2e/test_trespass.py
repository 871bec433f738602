"""What one account may not do to another's requests, in the broker and in OMERO.

The producer of a lane tries what is not its own, with pika; a colleague writes the fleet's annotations, with omero-py.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import omero
import omero.gateway
import omero.model
import pika
import pytest
from omero.rtypes import rstring

from fleet_common.messages import ImportRequest, Owner
from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import tiff
from fleet_stack.readback import logged_in
from support.facility import DEAD_QUEUE, Facility
from support.handmade import assert_workers_go_on, image_request, letter, post
from support.stories import ended, stories

NAMESPACE = "omero-import-fleet/request"


@pytest.fixture(scope="module")
def folder(facility: Facility) -> Path:
    """A folder of the share."""
    place = facility.share("confocal") / "trespass"
    place.mkdir(exist_ok=True)
    return place


REFUSED_BY_THE_BROKER = {
    "a request in another lane": ("import.requests", "hcs.normal", None, 403),
    "a request in another user's name": ("import.requests", "demo.normal", "hcs", 406),
    "a copy in a worker's name": ("import.requests", "demo.normal", "worker", 406),
    "a dead letter": ("import.dead", "demo.normal", None, 403),
    "a retry": ("import.retry.10", "demo.normal", None, 403),
    "a due request": ("import.due", "hcs.normal", None, 403),
    "an outcome": ("import.events", "demo.imported", None, 403),
    "an event of another lane": ("import.events", "hcs.accepted", None, 403),
    "a word to all workers": ("import.control", "", None, 403),
}


@pytest.mark.parametrize("what", REFUSED_BY_THE_BROKER)
def test_the_broker_keeps_a_producer_to_its_lane(facility: Facility, what: str) -> None:
    """Permissions, topic permissions and the check of the user id hold without any worker's help."""
    exchange, key, user_id, code = REFUSED_BY_THE_BROKER[what]
    with facility.channel("demo") as channel, pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.basic_publish(exchange, key, b"{}", pika.BasicProperties(user_id=user_id))
    assert refusal.value.reply_code == code


def test_a_producer_can_neither_empty_a_lane_nor_read_dead_letters(facility: Facility) -> None:
    """Nor take a lock or a slot of the workers."""
    for queue in ("import.lane.demo.normal", DEAD_QUEUE, "import.event-log"):
        with facility.channel("demo") as channel, pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
            channel.basic_get(queue)
        assert refusal.value.reply_code == 403
    for queue in (f"import.lock.{uuid.uuid4()}", "import.slot.omero.import.0"):
        with facility.channel("demo") as channel, pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
            channel.queue_declare(queue, exclusive=True)
        assert refusal.value.reply_code in {403, 405}


def test_a_colleague_cannot_stop_an_import_with_its_request_id(
    facility: Facility, workers: tuple[WorkerProcess, ...], folder: Path
) -> None:
    """Given bob put alice's request id on a fileset of his and on one of hers, then her import happens all the same."""
    assert workers
    files = [tiff(folder / f"{name}.tif", size=32, seed=number) for number, name in enumerate(("his", "hers"), 31)]
    his, hers = (
        letter(image_request(facility, file, owner=Owner(user=user, group="screening")))
        for file, user in zip(files, ("bob", "alice"), strict=True)
    )
    post(facility, [his, hers])
    before = stories(facility, [his.key, hers.key], ended)
    wanted = image_request(facility, tiff(folder / "wanted.tif", size=32, seed=33))
    annotated = [story.only("imported")["result"]["fileset_id"] for story in before.values()]
    _annotate_as_bob(facility, annotated, wanted)
    assert facility.filesets_of(str(wanted.request_id)) == sorted(annotated)
    post(facility, [letter(wanted)])
    outcome = stories(facility, [str(wanted.request_id)], ended)[str(wanted.request_id)].only("imported")
    assert outcome["result"]["fileset_id"] not in annotated
    entries = facility.query(
        "select e.clientPath, e.fileset.details.owner.omeName from FilesetEntry e where e.fileset.id = :id",
        id=outcome["result"]["fileset_id"],
    )
    assert entries == [("confocal/trespass/wanted.tif", "alice")]


def _annotate_as_bob(facility: Facility, filesets: list[int], wanted: ImportRequest) -> None:
    told = {"request_id": str(wanted.request_id), "digest": wanted.source.manifest.digest, "result": "verified"}
    with logged_in(facility.fleet.stack.omero, "bob", "screening") as gateway:
        for fileset in filesets:
            annotation = omero.model.MapAnnotationI()
            annotation.ns = rstring(NAMESPACE)
            annotation.mapValue = [omero.model.NamedValue(name, value) for name, value in told.items()]
            link = omero.model.FilesetAnnotationLinkI()
            link.parent, link.child = omero.model.FilesetI(fileset, False), annotation  # noqa: FBT003  Ice knows no keywords
            gateway.getUpdateService().saveObject(link, gateway.SERVICE_OPTS)


def test_forged_headers_count_for_nothing(facility: Facility, workers: tuple[WorkerProcess, ...], folder: Path) -> None:
    """A producer's attempt count, age, deaths and submitter are not believed."""
    assert workers
    forged = {
        "attempt": 99,
        "submitted-by": "hcs",
        "first-seen": "1999-01-01T00:00:00Z",
        "x-delivery-count": 99,
        "x-death": [{"count": 99, "queue": "import.retry.10"}],
        "large": "x" * 50_000,
    }
    file, nobody = tiff(folder / "forged.tif", size=32, seed=30), Owner(user="nobody", group="nowhere")
    good = letter(image_request(facility, file), headers=forged)
    bad = letter(image_request(facility, file, owner=nobody), headers=forged)
    post(facility, [good, bad])
    told = stories(facility, [good.key, bad.key], ended)
    story = told[good.key]
    assert story.only("imported")["attempt"] == story.kinds.count("started")
    headers = facility.dead_letter(bad.key)
    assert (headers["attempt"], headers["submitted-by"]) == (1, "demo")
    assert "large" not in headers
    assert not headers["first-seen"].startswith("1999")


def test_the_workers_go_on_after_trespassers(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess], folder: Path
) -> None:
    """Both live, are ready, met no defect, and import what is good."""
    assert_workers_go_on(facility, workers, folder.name)

"""Fair taking on a real broker: lanes of any size, classes, paused lanes, lanes that come and go, long queues."""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from fleet_common.broker import Delivery, LaneSource, Outgoing, Publisher, apply, hand_back, publish_retry, queue_depth
from fleet_common.broker.channels import on_throwaway
from fleet_common.broker.costs import CAP_BYTES
from fleet_common.messages import Manifest, Priority, encode
from support.builders import DIGEST, a_request, a_source
from support.rabbit import LANES, NAMES, Rabbit
from support.waiting import seconds_until, until

FLEET: Final = ("worker", "operator")
ONCE: Final = 5.0
URGENT, NORMAL, BULK = Priority


def request_of(manifest_bytes: int) -> bytes:
    """The body of a request for files of so many bytes."""
    return encode(a_request(source=a_source(manifest=Manifest(files=1, bytes=manifest_bytes, digest=DIGEST))))


PLATE: Final = request_of(CAP_BYTES)
IMAGE: Final = request_of(5_000_000)


def publish(publisher: Publisher, key: str, body: bytes, times: int = 1) -> None:
    """Publish requests."""
    for _ in range(times):
        publisher.publish(Outgoing(NAMES.requests, key, body, message_id=str(uuid.uuid4())))


def taken(source: LaneSource, deadline_seconds: float = ONCE) -> Delivery:
    """The next request, settled."""
    delivery = source.take(deadline_seconds)
    assert delivery is not None
    assert delivery.ack()
    return delivery


# --- lanes and classes ---


def test_an_image_of_one_lane_is_not_behind_the_plates_of_another(rabbit: Rabbit) -> None:
    """Given 58 plates waiting in a lane, when an image comes into another, then the next take brings the image."""
    publish(rabbit.publisher("hcs"), "hcs.normal", PLATE, 58)
    source = rabbit.source("hcs", "confocal")
    assert [taken(source).lane for _ in range(3)] == ["hcs", "hcs", "hcs"]
    publish(rabbit.publisher("confocal"), "confocal.normal", IMAGE)
    assert taken(source).lane == "confocal"


def test_a_worker_that_has_just_started_takes_the_image_after_one_plate_at_most(rabbit: Rabbit) -> None:
    """Given 58 plates and an image waiting, and a lane order that favours the plates, then the image is second."""
    publish(rabbit.publisher("hcs"), "hcs.normal", PLATE, 58)
    publish(rabbit.publisher("confocal"), "confocal.normal", IMAGE)
    source = rabbit.source("hcs", "confocal")
    assert [taken(source).lane for _ in range(3)] == ["hcs", "confocal", "hcs"]


def test_a_plate_is_worth_many_images_of_another_lane(rabbit: Rabbit) -> None:
    """Given plates in one lane and images in another, then after the first plate images are taken for a while."""
    publish(rabbit.publisher("hcs"), "hcs.normal", PLATE, 5)
    publish(rabbit.publisher("confocal"), "confocal.normal", IMAGE, 50)
    source = rabbit.source("hcs", "confocal")
    assert [taken(source).lane for _ in range(51)] == ["hcs"] + ["confocal"] * 50


def test_an_urgent_request_behind_many_normal_ones_is_next(rabbit: Rabbit) -> None:
    publish(rabbit.publisher("hcs"), "hcs.normal", PLATE, 30)
    publish(rabbit.publisher("demo"), "demo.bulk", PLATE, 5)
    source = rabbit.source()
    before = [taken(source).priority for _ in range(10)]
    assert NORMAL in before
    publish(rabbit.publisher("hcs"), "hcs.urgent", PLATE)
    assert taken(source).priority is URGENT


def test_bulk_moves_behind_urgent_and_normal_requests_without_end(rabbit: Rabbit) -> None:
    """Given urgent and normal that never run dry, then bulk is taken all the same, and again."""
    publisher = rabbit.publisher("demo")
    for key in ("demo.urgent", "demo.normal", "demo.bulk"):
        publish(publisher, key, PLATE, 2)
    source = rabbit.source("demo")
    classes = []
    for _ in range(48):
        delivery = taken(source)
        publish(publisher, delivery.routing_key, PLATE)
        classes.append(delivery.priority)
    assert classes[:6] == [URGENT] * 4 + [NORMAL, BULK]
    assert classes.count(BULK) >= 2
    assert classes.count(URGENT) > 2 * classes.count(NORMAL) > 4 * classes.count(BULK)


def test_a_body_that_is_no_request_neither_stops_taking_nor_jumps_the_queue(rabbit: Rabbit) -> None:
    """Given rubbish in a lane, then it takes turns like images."""
    publish(rabbit.publisher("hcs"), "hcs.normal", b"\xff no json {", 3)
    publish(rabbit.publisher("confocal"), "confocal.normal", IMAGE, 3)
    source = rabbit.source("hcs", "confocal")
    assert [taken(source).lane for _ in range(6)] == ["hcs", "confocal"] * 3


# --- copies keep their class ---


@pytest.mark.parametrize("priority", Priority)
def test_a_request_that_was_handed_back_is_still_of_its_class(rabbit: Rabbit, priority: Priority) -> None:
    publish(rabbit.publisher("demo"), f"demo.{priority}", IMAGE)
    source = rabbit.source("demo")
    first = source.take(ONCE)
    assert first is not None
    hand_back(rabbit.publisher("worker"), first, fleet_users=FLEET)
    assert first.ack()
    second = taken(source)
    assert (second.priority, second.lane, second.body) == (priority, "demo", IMAGE)


def test_a_retried_bulk_request_comes_back_as_bulk_behind_normal(rabbit: Rabbit) -> None:
    """Given a bulk request that was retried, when a normal one came meanwhile, then that is taken first."""
    publish(rabbit.publisher("demo"), "demo.bulk", IMAGE)
    source = rabbit.source("demo")
    first = source.take(ONCE)
    assert first is not None
    soon = partial(publish_retry, jitter=1.0, chance=lambda: 0.9)
    soon(rabbit.publisher("worker"), first, attempt=1, delay_seconds=1, reason="x", fleet_users=FLEET)
    assert first.ack()
    link = rabbit.link(rabbit.plain("admin"))
    until(lambda: (depth := queue_depth(link, NAMES.lane_queue("demo", "bulk"))) and depth.ready == 1, 20)
    publish(rabbit.publisher("demo"), "demo.normal", IMAGE)
    assert [taken(source).priority for _ in range(2)] == [NORMAL, BULK]


# --- paused lanes, rings ---


class Taker:
    """A thread that takes once, and the lanes that it was asked about meanwhile."""

    def __init__(self, rabbit: Rabbit, *paused: str) -> None:
        self.paused = set(paused)
        self.looks = 0
        self.got: list[Delivery | None] = []
        self.source = rabbit.source("demo", "hcs", poll_seconds=60, is_open=self.is_open)
        self.thread = threading.Thread(target=lambda: self.got.append(self.source.take(50)))

    def is_open(self, lane: str) -> bool:
        """Whether a lane is not paused; counts how often the worker looked."""
        self.looks += lane == "demo"
        return lane not in self.paused

    def look(self) -> None:
        """Wait for one more look, rung for: the bell of a new link may ring by itself."""
        before = self.looks
        self.source.ring()
        until(lambda: self.looks > before)


@pytest.fixture
def idle(rabbit: Rabbit) -> Iterator[Taker]:
    """A worker that polls once a minute, with the lane ``demo`` paused, which has a request waiting."""
    publish(rabbit.publisher("demo"), "demo.urgent", IMAGE)
    taker = Taker(rabbit, "demo")
    taker.thread.start()
    try:
        until(lambda: rabbit.part.management.get(f"/api/exchanges/fleet/{NAMES.wake}/bindings/source"))
        taker.look()
        yield taker
    finally:
        taker.source.wake()
        taker.thread.join(10)


def test_a_paused_lane_is_skipped_and_found_at_once_when_it_is_resumed(idle: Taker) -> None:
    """Given an idle worker and a request in a paused lane, when it is resumed with a ring, then it is taken at once."""
    assert idle.got == []
    idle.paused.clear()
    idle.source.ring()
    assert seconds_until(lambda: idle.got) < 2
    assert idle.got[0] is not None
    assert idle.got[0].lane == "demo"


def test_a_paused_lane_does_not_keep_others_waiting(rabbit: Rabbit, idle: Taker) -> None:
    """Given an urgent request in a paused lane, when a bulk one comes into another, then that is taken."""
    publisher = rabbit.publisher("hcs")
    publish(publisher, "hcs.bulk", IMAGE)
    publisher.ring()
    until(lambda: idle.got)
    assert idle.got[0] is not None
    assert (idle.got[0].lane, idle.got[0].priority) == ("hcs", BULK)


def test_a_ring_alone_does_not_end_a_take(idle: Taker) -> None:
    """Given nothing to take, when it is rung, then it looks and waits on; only waking ends it."""
    for _ in range(3):
        idle.look()
    assert idle.thread.is_alive()
    idle.source.wake()
    assert seconds_until(lambda: idle.got == [None]) < 2


# --- a lane that comes and goes ---


@pytest.fixture
def deleted(rabbit: Rabbit) -> Iterator[str]:
    """A lane's queue that a test deletes; made again afterwards."""
    try:
        yield NAMES.lane_queue("demo", "normal")
    finally:
        apply(rabbit.plain("topology"), LANES)


def delete(rabbit: Rabbit, queue: str) -> None:
    """Delete a queue."""
    rabbit.admin(lambda channel, then: channel.queue_delete(queue, callback=then))


def complaints(logged: list[Any], queue: str) -> int:
    """How often the worker complained about a queue."""
    return sum(one["log_level"] == "warning" and one.get("queue") == queue for one in logged)


def test_a_lane_that_was_deleted_and_made_again_is_taken_from_by_itself(rabbit: Rabbit, deleted: str) -> None:
    """Given a worker that is taking, when the lane is gone for a while, then it goes on, and complained once."""
    publisher = rabbit.publisher("demo")
    source = rabbit.source("demo", "hcs")
    got: list[Delivery | None] = []
    with capture_logs() as logged:
        assert source.take(0.3) is None
        assert complaints(logged, deleted) == 0
        taker = threading.Thread(target=lambda: got.append(source.take(30)))
        delete(rabbit, deleted)
        taker.start()
        until(lambda: complaints(logged, deleted))
        apply(rabbit.plain("topology"), LANES)
        publish(publisher, "demo.normal", IMAGE)
        taker.join(10)
    assert got[0] is not None
    assert got[0].ack()
    assert complaints(logged, deleted) == 1
    # A refused look must not cost the connection, which holds locks and slots.
    assert "broker connection lost" not in {one["event"] for one in logged}


def test_other_lanes_are_taken_from_while_one_is_gone(rabbit: Rabbit, deleted: str) -> None:
    delete(rabbit, deleted)
    publish(rabbit.publisher("hcs"), "hcs.bulk", IMAGE, 3)
    publish(rabbit.publisher("demo"), "demo.bulk", IMAGE)
    source = rabbit.source("demo", "hcs")
    assert [taken(source).lane for _ in range(4)] == ["demo", "hcs", "hcs", "hcs"]


def test_a_lane_that_is_gone_is_complained_about_once_each_time(rabbit: Rabbit, deleted: str) -> None:
    """Given a lane gone, there again and gone again, then there are two complaints, however often it was looked for."""
    source = rabbit.source("demo")
    with capture_logs() as logged:
        for times in (1, 2):
            delete(rabbit, deleted)
            for _ in range(3):
                assert source.take(0.3) is None
            assert complaints(logged, deleted) == times
            apply(rabbit.plain("topology"), LANES)
            assert source.take(0.3) is None


@pytest.fixture
def blind(rabbit: Rabbit) -> Iterator[Rabbit]:
    """A broker whose worker may not read lanes until the test's end."""
    worker = ("set_permissions", "-p", rabbit.description.vhost, "worker")
    try:
        rabbit.part.ctl(*worker, ".*", ".*", "^import.wake")
        yield rabbit
    finally:
        rabbit.part.start()  # permissions as they should be


def test_a_lane_that_may_not_be_read_is_complained_about_once(blind: Rabbit) -> None:
    """Given a worker that may look into a lane, but not get, then a look that goes well does not end the complaint."""
    publish(blind.publisher("demo"), "demo.normal", IMAGE)
    source = blind.source("demo")
    with capture_logs() as logged:
        for _ in range(3):
            assert source.take(0.3) is None
    assert complaints(logged, NAMES.lane_queue("demo", "normal")) == 1


# --- long queues ---


def fill(rabbit: Rabbit, key: str, count: int) -> None:
    """Publish many small requests, quicker than one by one."""
    link = rabbit.link(rabbit.plain("admin"))
    for _ in range(count // 500):
        link.call(on_throwaway(partial(_publish_many, key, 500)), 30)
    link.call(on_throwaway(partial(_publish_many, key, count % 500)), 30)


def _publish_many(key: str, count: int, channel: Any, then: Any) -> None:
    def acked(frame: Any) -> None:
        if frame.method.delivery_tag == count:
            then(None)

    channel.confirm_delivery(acked)
    for _ in range(count):
        channel.basic_publish(NAMES.requests, key, IMAGE)
    if not count:
        then(None)


def seconds_of_a_take(source: LaneSource) -> float:
    """How long a take lasts, with the ack left out."""
    began = time.perf_counter()
    delivery = source.take(ONCE)
    seconds = time.perf_counter() - began
    assert delivery is not None
    assert delivery.ack()
    return seconds


@pytest.mark.timeout(180)
def test_taking_lasts_the_same_however_many_wait(rabbit: Rabbit) -> None:
    """Given 10 requests waiting in a lane and 10,000 in another, then a take from either lasts the same.

    Taken in turn, so that whatever else the machine does disturbs both.
    """
    fill(rabbit, "hcs.bulk", 10)
    fill(rabbit, "demo.bulk", 10_000)
    few, many, refill = rabbit.source("hcs"), rabbit.source("demo"), rabbit.publisher("hcs")
    pairs = []
    for _ in range(60):
        pairs.append((seconds_of_a_take(few), seconds_of_a_take(many)))
        publish(refill, "hcs.bulk", IMAGE)
    median_few, median_many = (statistics.median(side) for side in zip(*pairs, strict=True))
    assert median_many < 3 * median_few
    assert median_few < 3 * median_many

"""RabbitMQ and OMERO end and come back in the middle of imports; played alone, because all rows stand on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, cast

import pytest

from fleet_stack.fleet import WorkerProcess
from fleet_stack.omero.part import OmeroPart
from fleet_stack.parts import part
from fleet_stack.plates import MadePlate
from fleet_stack.rabbitmq.part import RabbitPart
from support.scenes import HALF, SLOW_PLATE, SLOWLY, Ending, Ground, Played, Row, Scene, check

THREE: Final = 3
ALARM_SECONDS: Final = 12.0
"""Longer than a lease is believed in without proof."""
CONSUMER_TIMEOUT_SECONDS: Final = 5
WIDE_PLATE: Final[Mapping[str, Any]] = {"wells": 24, "fields": 4, "size": 16}
"""So many files that their registration takes a while."""


def omero(stage: Scene) -> OmeroPart:
    """The OMERO under test; its database stays as it is."""
    return cast("OmeroPart", part(stage.facility.layout, "omero"))


# --- RabbitMQ ---


def restarted(stage: Scene) -> None:
    """In an orderly way."""
    stage.broker.stop()
    stage.broker.start()


def node_killed(stage: Scene) -> None:
    """As a power cut would."""
    stage.broker.kill()
    stage.broker.stop()
    stage.broker.start()


def three_imports(fault: Callable[[Scene], None], stage: Scene) -> list[Ending]:
    """Given three workers with an import each in the server, when something happens to RabbitMQ."""
    plates = [stage.plate(str(number), **SLOW_PLATE) for number in range(THREE)]
    workers = [stage.trapped(*SLOWLY, traps=[f"server-step-1:hold:1:{THREE}"]) for _ in plates]
    ids = [stage.send(plate) for plate in plates]
    stage.sprung("server-step-1", THREE)
    fault(stage)
    stage.release("server-step-1")
    return _all_ended(stage, ids, plates, workers)


def alarm(stage: Scene) -> list[Ending]:
    """Given three imports, when RabbitMQ has a memory alarm until all of them are done, then nobody loses anything."""
    plates = [stage.plate(str(number)) for number in range(THREE)]
    workers = [stage.trapped(*SLOWLY, traps=[f"server-step-1:hold:1:{THREE}"]) for _ in plates]
    ids = [stage.send(plate) for plate in plates]
    stage.sprung("server-step-1", THREE)
    with _memory_alarm(stage):
        stage.release("server-step-1")
        stage.last(ALARM_SECONDS)
    endings = _all_ended(stage, ids, plates, workers)
    assert [ending.story.kinds for ending in endings] == [["started", "imported"]] * THREE
    return endings


@contextmanager
def _memory_alarm(stage: Scene) -> Iterator[None]:
    broker = stage.broker
    broker.ctl("set_vm_memory_high_watermark", "0.000001")
    try:
        yield
    finally:
        broker.ctl("set_vm_memory_high_watermark", "0.6")


def channel_closed(stage: Scene) -> list[Ending]:
    """Given an import, when the broker closes the delivery's channel and nothing else, then the copy finds it done."""
    broker, plate = stage.broker, stage.plate()
    with _consumer_timeout(broker, stage.lane):
        worker = stage.trapped(*SLOWLY, traps=["server-step-1:hold"])
        request_id = stage.send(plate)
        stage.sprung("server-step-1")
        stage.until(lambda: stage.waiting() == 1, 90, "the request in its lane again")
    stage.release("server-step-1")
    ending = stage.ending(request_id, plate, outcomes=2)
    assert [kind for kind in ending.story.kinds if kind != "started"] == ["imported", "already-imported"]
    assert worker.process.poll() is None
    return [ending]


@contextmanager
def _consumer_timeout(broker: RabbitPart, lane: str) -> Iterator[None]:
    """The queue's policy counts since 4.0, the node's setting before; both are looked at once a second."""
    milliseconds = CONSUMER_TIMEOUT_SECONDS * 1000
    settings = {"consumer_timeout": milliseconds, "channel_tick_interval": 1000}
    policy = (
        "-p",
        "fleet",
        "--apply-to",
        "queues",
        "short",
        f"^import.lane.{lane}\\.",
        f'{{"consumer-timeout": {milliseconds}}}',
    )
    for name, value in settings.items():
        broker.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")
    if broker.version != "3.10":
        broker.ctl("set_policy", *policy)
    try:
        yield
    finally:
        broker.ctl("eval", "application:set_env(rabbit, consumer_timeout, 604800000).")
        broker.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 60000).")
        if broker.version != "3.10":
            broker.ctl("clear_policy", "-p", "fleet", "short")


# --- OMERO ---


def omero_restarted(stage: Scene) -> None:
    """In an orderly way."""
    server = omero(stage).server
    server.stop()
    server.start()


def blitz_killed(stage: Scene) -> None:
    """As the kernel does when memory is short; IceGrid starts it again."""
    server = omero(stage).server
    server.kill_blitz()
    server.wait_until_ready()


def three_points(fault: Callable[[Scene], None], stage: Scene) -> list[Ending]:
    """Given a worker in an upload, one whose import runs, and one that registers, when OMERO ends."""
    uploading, importing, registering = stage.fleet.lanes
    traps = {uploading: f"uploading:hold:{HALF}", importing: "server-step-1:hold", registering: "inside-register:tell"}
    workers = [stage.trapped(*SLOWLY, traps=[trap], fleet=stage.of_lane(lane)) for lane, trap in traps.items()]
    plates = [stage.plate("a"), stage.plate("b", **SLOW_PLATE), stage.plate("c", **WIDE_PLATE)]
    ids = [stage.send(plate, lane=lane) for plate, lane in zip(plates[:2], traps, strict=False)]
    stage.sprung("uploading")
    stage.sprung("server-step-1")
    ids.append(stage.send(plates[2], lane=registering))
    stage.sprung("inside-register")
    fault(stage)
    stage.release("uploading")
    stage.release("server-step-1")
    return _all_ended(stage, ids, plates, workers)


def _all_ended(stage: Scene, ids: list[str], plates: list[MadePlate], workers: list[WorkerProcess]) -> list[Ending]:
    endings = [
        stage.ending(request_id, plate, deadline_seconds=240) for request_id, plate in zip(ids, plates, strict=True)
    ]
    for worker in workers:
        stage.until(worker.ready, 90, f"{worker.name}, which goes on")
    return endings


def _alone(name: str, play: Callable[[Scene], list[Ending]], **more: Any) -> Row:
    return Row(name, play, 60, alone=True, **more)


ROWS: Final = [
    _alone("rabbitmq-alarm", alarm),
    _alone("rabbitmq-channel-closed", channel_closed),
    _alone("rabbitmq-restarted", partial(three_imports, restarted)),
    _alone("rabbitmq-killed", partial(three_imports, node_killed)),
    *(
        _alone(name, partial(three_points, fault), lanes=tuple(f"row-{name}-{letter}" for letter in "abc"))
        for name, fault in {"omero-restarted": omero_restarted, "blitz-killed": blitz_killed}.items()
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_servers_that_end_and_come_back_cost_requests_nothing(played: Played, ground: Ground, row: Row) -> None:
    """One complete fileset each, at the first attempt, and every worker goes on by itself."""
    for ending in played(row):
        check(ground, ending)

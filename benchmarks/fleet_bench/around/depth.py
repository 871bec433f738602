"""What it costs to take one request when few and when very many wait, with the worker's own lane source.

Each sample is the time of one take; the request is settled and replaced outside of it, so the depth stays. Threading:
one thread; link and publisher bring their own.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Iterator
from typing import Final

from fleet_bench.around import lanes
from fleet_bench.around.figures import figure
from fleet_bench.around.spooling import requests
from fleet_bench.model import Case, Curve, Effort, Result, Target
from fleet_bench.stage import LANE, Stage
from fleet_common.broker import LaneSource, Link, Names, OnTheWay, Outgoing, Publisher
from fleet_common.connect import broker_address
from fleet_common.messages import encode
from fleet_common.settings import load
from fleet_stack.console import StackError
from fleet_stack.fleet import Fleet

NAME: Final = "around-depth"
_TITLE: Final = "taking one request, by how many wait"
_DEPTHS: Final = (10, 1000, 100_000)
_QUICK_DEPTHS: Final = (10, 100, 1000)
_SAMPLES: Final = 200
_QUICK_SAMPLES: Final = 20
_ON_THE_WAY: Final = 200
_SECONDS: Final = 30.0
_MS: Final = 1000.0


def measure(stage: Stage, effort: Effort) -> Result:
    """Fill the lane step by step, and take some at each depth."""
    fleet = stage.fleet()
    fleet.apply_topology()
    lanes.empty(stage)
    depths = _QUICK_DEPTHS if effort.quick else _DEPTHS
    count = _QUICK_SAMPLES if effort.quick else _SAMPLES
    with _ends(fleet) as (publisher, source):
        taken = {depth: _takes(stage, publisher, source, depth, count) for depth in depths}
    lanes.empty(stage)
    figures = [figure(f"take at {depth:,} waiting", "ms", values) for depth, values in taken.items()]
    ratio = figures[-1].value.median / figures[0].value.median
    points = tuple((float(depth), one.value.median) for depth, one in zip(depths, figures, strict=True))
    return Result(
        case=NAME,
        title=_TITLE,
        figures=(figure(f"take at {depths[-1]:,} by at {depths[0]}", "x", [ratio], Target(limit=1.5)), *figures),
        curves=(Curve(name="one take", x="requests that wait", y="ms", points=points),),
    )


def _takes(stage: Stage, publisher: Publisher, source: LaneSource, depth: int, count: int) -> list[float]:
    """Milliseconds of so many takes at this depth."""
    _publish(publisher, depth - lanes.waiting(stage))
    return [_take(publisher, source) for _ in range(count)]


def _take(publisher: Publisher, source: LaneSource) -> float:
    began = time.perf_counter()
    delivery = source.take(_SECONDS)
    milliseconds = (time.perf_counter() - began) * _MS
    if delivery is None or not delivery.ack():
        raise StackError("a request that waits could not be taken")
    _publish(publisher, 1)
    return milliseconds


def _publish(publisher: Publisher, count: int) -> None:
    (request,) = requests(1)
    body = encode(request)
    on_the_way: deque[OnTheWay] = deque()
    for _ in range(count):
        message = Outgoing(publisher.names.requests, request.routing_key, body, message_id=str(uuid.uuid4()))
        on_the_way.append(publisher.begin(message, deadline_seconds=_SECONDS))
        if len(on_the_way) >= _ON_THE_WAY:
            on_the_way.popleft().wait()
    for sending in on_the_way:
        sending.wait()


@contextlib.contextmanager
def _ends(fleet: Fleet) -> Iterator[tuple[Publisher, LaneSource]]:
    """A producer's publisher and a worker's lane source."""
    publisher = Publisher(broker_address(load(fleet.settings(LANE)).broker))
    link = Link(broker_address(load(fleet.settings("worker")).broker), role="benchmark")
    publisher.start()
    link.start()
    try:
        if not (publisher.wait_connected(_SECONDS) and link.wait_connected(_SECONDS)):
            raise StackError("the broker was not reached")
        yield publisher, LaneSource(link, Names(), [LANE])
    finally:
        publisher.stop(_SECONDS)
        link.stop(_SECONDS)


CASE: Final = Case(NAME, _TITLE, measure, minutes=2)

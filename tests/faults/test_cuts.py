"""Connections to RabbitMQ and to OMERO that are cut, half open, or silent for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import pytest

from support.proxy import Proxy
from support.scenes import HALF, SLOW_PLATE, SLOWLY, Ending, Ground, Played, Row, Scene, check

Fault = Callable[[Scene, Proxy], None]

SILENCE_SECONDS: Final = 30.0
CALL_SECONDS: Final = 60
"""Until a call of OMERO that stays unanswered is given up: a facility's workers wait for five minutes."""
MISSED_SECONDS: Final = 60.0
"""Until a worker has missed a connection that only the server knows to be gone: heartbeats, and a little."""


def cut(_: Scene, proxy: Proxy) -> None:
    """Both sides see it at once, and can connect again."""
    proxy.cut()


def half_open(_: Scene, proxy: Proxy) -> None:
    """Only the server sees it; the worker can connect again once it has noticed."""
    proxy.half_open()


def silent(stage: Scene, proxy: Proxy) -> None:
    """Nothing passes for a while, then everything that waited."""
    proxy.hold()
    stage.last(SILENCE_SECONDS)
    proxy.release()


BROKEN: Final[Mapping[str, Fault]] = {"cut": cut, "half-open": half_open, "silent": silent}
AT: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "half-uploaded": (f"uploading:hold:{HALF}", {}),
    "importing": ("server-step-1:hold", SLOW_PLATE),
    "before-ack": ("told-not-acked:hold", {}),
}


def while_idle(fault: Fault, stage: Scene) -> list[Ending]:
    """Given an idle worker, when its connection to RabbitMQ breaks, then it takes the next request all the same."""
    fleet, proxy = stage.behind_proxy("broker")
    worker = stage.worker(*SLOWLY, fleet=fleet)
    worker.wait_ready()
    fault(stage, proxy)
    plate = stage.plate()
    return [stage.ending(stage.send(plate), plate)]


def in_work(group: str, where: str, fault: Fault, stage: Scene) -> list[Ending]:
    """Given a worker in the middle of a request, when its connection breaks, while another worker is there."""
    trap, spec = AT[where]
    fleet, proxy = stage.behind_proxy(group)
    plate, point = stage.plate(**spec), trap.partition(":")[0]
    worker = stage.trapped(*SLOWLY, traps=[trap], fleet=fleet, call_seconds=CALL_SECONDS)
    request_id = stage.send(plate)
    stage.sprung(point)
    fault(stage, proxy)
    stage.worker(*SLOWLY)
    stage.release(point)
    ending = stage.ending(request_id, plate, deadline_seconds=400)
    stage.until(lambda: worker.metric("omero_import_requests_in_progress") == 0, 400, "a worker that let go")
    stage.until(worker.ready, MISSED_SECONDS, "a worker that found its connection again")
    return [ending]


ROWS: Final = [
    *(Row(f"broker-{name}-idle", partial(while_idle, fault), 60) for name, fault in BROKEN.items()),
    *(
        Row(f"broker-{name}-{where}", partial(in_work, "broker", where, fault), 60)
        for name, fault in BROKEN.items()
        for where in ("half-uploaded", "before-ack")
    ),
    *(
        Row(f"omero-{name}-{where}", partial(in_work, "omero", where, BROKEN[name]), 40 if name == "cut" else 100)
        for name in ("cut", "half-open")
        for where in ("half-uploaded", "importing")
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_broken_connection_costs_a_request_nothing(played: Played, ground: Ground, row: Row) -> None:
    """Neither an attempt nor a second fileset, and the worker goes on."""
    for ending in played(row):
        check(ground, ending)

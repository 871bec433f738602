"""Many small files over a connection with a round trip of 30 ms."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from fleet_bench import bare
from fleet_bench.cases import many
from fleet_bench.comparison import Comparison
from fleet_bench.delay import DelayingProxy
from fleet_bench.model import Case, Effort, Result
from fleet_bench.stage import Stage

ROUND_TRIP_SECONDS: Final = 0.030
_PLAIN_DOOR: Final = "omero.router.insecure"
"""The setting by which the server tells a client where plain TCP is."""
LATENCY: Final = Comparison(
    "latency",
    f"{many.WHAT}, 8 uploads, 8 filesets, with a round trip of 30 ms between client and server",
    many.make,
    "Screen",
    uploads=8,
    filesets=8,
)


@contextlib.contextmanager
def delayed(stage: Stage) -> Iterator[int]:
    """The port of the server's TLS door with the delay; clients are sent to a delayed plain door, too."""
    omero, half = stage.description.omero, ROUND_TRIP_SECONDS / 2
    with DelayingProxy(omero.ssl_port, half) as secure, DelayingProxy(omero.tcp_port, half) as plain:
        _send_to(stage, plain.port)
        try:
            yield secure.port
        finally:
            _send_to(stage, omero.tcp_port)


def _send_to(stage: Stage, port: int) -> None:
    with bare.logged_in(stage, user="root") as client:
        door = f"OMERO.Glacier2/router:tcp -p {port} -h {stage.description.omero.host}"
        client.sf.getConfigService().setConfigValue(_PLAIN_DOOR, door)


def _measure(stage: Stage, effort: Effort) -> Result:
    with delayed(stage) as port:
        return replace(LATENCY, port=port).measure(stage, effort)


CASES: Final = (Case(LATENCY.name, LATENCY.title, _measure, minutes=3.5),)

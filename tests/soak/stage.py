"""Where a soak takes place: a stack of its own, with lanes, shares and settings of the fleet.

Threading: one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final, TextIO

import click

from fleet_stack import stack
from fleet_stack.fleet import Fleet
from fleet_stack.layout import Layout
from fleet_stack.omero.part import OmeroPart
from fleet_stack.parts import Options
from fleet_stack.rabbitmq.part import RabbitPart
from soak.brokereyes import BrokerEyes
from soak.wishes import ALLOWED_TARGETS, LANES

STACK: Final = "soak"
_SHARES: Final = ("hcs", "confocal")
_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "broker": {"retry_tiers_seconds": [1, 2, 4]},
    "worker": {"parallel_filesets": 2, "sweep_seconds": 60, "grace_seconds": 30},
}
# By default OMERO looks for sessions that are idle for too long every half an hour (omero-server.properties): nobody
# could tell then whether one was left behind.
_OMERO_SETTINGS: Final = {"omero.sessions.sync_interval": "30000", "omero.sessions.sync_force": "30000"}


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that is there before the first worker starts."""

    layout: Layout
    fleet: Fleet
    rabbitmq: RabbitPart
    omero: OmeroPart
    eyes: BrokerEyes

    @property
    def repository(self) -> Path:
        """OMERO's managed repository on the disk."""
        return next(self.layout.omero.glob("**/ManagedRepository"))


def set_up(broker: str, folder: Path) -> Stage:
    """A new stack; the one of an earlier soak goes.

    Args:
        broker: Version of RabbitMQ: 3.10, 4.0 or newest.
        folder: For settings and logs of the fleet.

    Raises:
        StackError: A server does not come up.
    """
    stack.wipe(STACK)
    description = stack.up(STACK, ("rabbitmq", "omero"), Options(broker, _OMERO_SETTINGS))
    layout = Layout.for_name(STACK)
    shares = {name: layout.state / "shares" / name for name in _SHARES}
    for share in shares.values():
        share.mkdir(parents=True, exist_ok=True)
    everything = {"shares": {name: [""] for name in _SHARES}, "users": ["*"], "groups": ["*"]}
    rules = {lane: {**everything, "targets": list(ALLOWED_TARGETS)} for lane in LANES}
    fleet = Fleet(description, folder, shares, rules, lanes=LANES, extra=_SETTINGS)
    fleet.apply_topology()
    return Stage(layout, fleet, RabbitPart(layout), OmeroPart(layout, _OMERO_SETTINGS), BrokerEyes(description.broker))


class Diary:
    """What happens, with the seconds since the start: all of it in a file, the important part on the terminal too.

    Threading: any thread may write.
    """

    def __init__(self, file: Path) -> None:
        self._file: TextIO = file.open("w", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        self._began = monotonic()

    def note(self, text: str) -> None:
        """Write a line into the file."""
        with self._lock:
            self._file.write(f"{monotonic() - self._began:7.1f}  {text}\n")

    def say(self, text: str) -> None:
        """Write a line into the file, and show it."""
        self.note(text)
        click.echo(f"{monotonic() - self._began:7.1f}  {text}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

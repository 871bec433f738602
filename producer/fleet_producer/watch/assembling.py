"""Puts a watch together from the settings: the one place that knows all of its parts. Any thread; does not start it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import pydantic

from fleet_common.broker import Publisher
from fleet_common.errors import RequestError, UsageError
from fleet_common.messages import Name
from fleet_common.producermetrics import ProducerMetrics
from fleet_common.settings import Settings
from fleet_common.storage import Share, Shares
from fleet_common.watching import WatchedFolder
from fleet_producer.spool import Spool, now_utc
from fleet_producer.watch.byhand import ByHand
from fleet_producer.watch.folder import Folder
from fleet_producer.watch.keeping import Keeper
from fleet_producer.watch.outbox import Outbox
from fleet_producer.watch.parts import Parts
from fleet_producer.watch.resting import Breath, Pulse
from fleet_producer.watch.store import Store
from fleet_producer.watch.watcher import Identity, Watcher

STATE: Final = "watch"


@dataclass(frozen=True, slots=True)
class World:
    """What a watch is given of the world; tests give another one.

    Attributes:
        clock: The present time of this host, in UTC.
        monotonic: A clock in seconds that nobody can set.
        stopping: Set to end the watch; every pause waits for it.
        metrics: Where all is counted.
    """

    clock: Callable[[], datetime] = now_utc
    monotonic: Callable[[], float] = time.monotonic
    stopping: threading.Event = field(default_factory=threading.Event)
    metrics: ProducerMetrics = field(default_factory=ProducerMetrics)


def state_folder(settings: Settings, spool: Spool) -> Path:
    """Where the state is: what the settings name, else beside the spool, one for each broker like it."""
    if settings.watch.state is not None:
        return settings.watch.state
    return spool.folder.with_name(f"{STATE}-{spool.folder.name}")


def lane_of(settings: Settings) -> str:
    """The lane in which this host tells how it is.

    Raises:
        UsageError: The broker user, which is the default, is no name of a lane.
    """
    lane = settings.producer.lane or settings.broker.user
    try:
        return pydantic.TypeAdapter(Name).validate_python(lane)
    except pydantic.ValidationError as error:
        raise UsageError(
            f"the broker user {lane!r} is no name of a lane: give producer.lane in the settings"
        ) from error


def assemble(settings: Settings, spool: Spool, store: Store, publisher: Publisher, world: World) -> Watcher:
    """Make the watch.

    Raises:
        UsageError: No folder is watched, one lies in no share, or there is no lane.
        StateError: The state cannot be read.
    """
    if not settings.watch.folders:
        raise UsageError("nothing to watch: name a folder, or give watch.folders in the settings")
    shares = {name: Share(name, root) for name, root in settings.shares.items()}
    submitted = ByHand(spool, world.monotonic)
    keeper = Keeper(settings, spool, store, world.clock, lambda key: _exists(key, shares), submitted)
    breath = Breath(settings.watch, world.stopping.wait, world.metrics.worked_seconds.inc, world.monotonic)
    pulse = Pulse(world.monotonic, world.stopping, breath)
    parts = Parts(keeper, store, settings.watch, world.monotonic, breath, world.metrics.internal_errors.inc, pulse)
    folders = [_folder(one, settings, shares, parts) for one in settings.watch.folders]
    remembered = list(store.records())
    for one in folders:
        one.remember(remembered)
    identity = Identity(lane_of(settings), settings.producer.host)
    return Watcher(
        folders,
        Outbox(spool, publisher, world.clock, world.monotonic, world.metrics),
        settings.watch,
        identity,
        world.metrics,
        monotonic=world.monotonic,
        clock=world.clock,
        pulse=pulse,
        stopping=world.stopping,
        hear=submitted.hear,
    )


def _folder(watched: WatchedFolder, settings: Settings, shares: dict[str, Share], parts: Parts) -> Folder:
    try:
        name, top = Shares(shares.values()).locate(watched.path)
    except RequestError as error:
        raise UsageError(f"watch.folders: {watched.path}: {error}") from error
    instrument = watched.instrument or settings.producer.instrument or ""
    return Folder(shares[name], top, watched, instrument, parts)


def _exists(key: str, shares: dict[str, Share]) -> bool:
    """Whether there is still something at a place; what cannot be seen counts as there."""
    name, _, path = key.partition("/")
    if name not in shares or not shares[name].root.is_dir():
        return True
    try:
        (shares[name].root / path).lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True

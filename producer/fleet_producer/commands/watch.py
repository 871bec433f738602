"""``omero-fleet watch``: publishes what instruments have completely written, each plate once, for years.

Role: the process around :mod:`fleet_producer.watch`: settings, lock, connections, signals, exit code. Threading: the
command's own thread watches; publisher, outcomes and metrics bring threads of their own.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
import structlog

from fleet_common.broker import LiveFollower, Publisher
from fleet_common.cli import Context
from fleet_common.connect import broker_address, broker_names
from fleet_common.errors import UsageError
from fleet_common.exits import Exit
from fleet_common.health import Health
from fleet_common.producermetrics import ProducerMetrics
from fleet_common.settings import Settings
from fleet_common.signals import set_from_handler
from fleet_common.watching import WatchedFolder
from fleet_producer.choosing import duration_seconds, show_age
from fleet_producer.spool import SpoolError
from fleet_producer.spoolfolder import spool_of
from fleet_producer.watch.assembling import World, assemble, lane_of, state_folder
from fleet_producer.watch.lock import Lock
from fleet_producer.watch.outcomes import Settling
from fleet_producer.watch.records import Record
from fleet_producer.watch.store import StateError, Store
from fleet_producer.watch.watcher import Watcher

_STOP_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 30.0
_LOG = structlog.get_logger()


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER]...")
@click.option("--once", is_flag=True, help="End when nothing is about to be complete; for trials and schedulers.")
@click.option("--settle", type=duration_seconds, metavar="DURATION", help="Settle time of the FOLDERs: 90s, 30m, 12h.")
@click.option("--depth", type=click.IntRange(1, 8), help="How many folders below the FOLDERs the plates lie.")
@click.option("--state", is_flag=True, help="Show what is remembered, and do nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, at the end.")
@click.option("--metrics-port", type=int, help="Port for /metrics, /healthz and /readyz.  [default: metrics.port]")
@click.pass_obj
def watch(context: Context, /, folders: tuple[Path, ...], **given: Any) -> int:
    """Publish plates and images of watched folders once they are complete, each of them once.

    FOLDERs are watched instead of watch.folders of the settings. A plate is complete when its index was read to its
    end, the instrument does not say that it still runs, every listed file is there and whole, no name is temporary, and
    nothing has changed for the settle time. Who owns it and where it goes, watch.rules say. What stays incomplete is
    told after its deadline, with wells and fields; omero-fleet submit --partial imports it all the same.

    Ends at SIGTERM or Ctrl-C. What it knows is kept (watch.state), so it may be stopped and killed at any time.

    \b
    Examples:
      omero-fleet --config producer.toml watch
      omero-fleet --config producer.toml watch /data/hcs/phenix1 --settle 2h
      omero-fleet --config producer.toml watch --once --json
      omero-fleet --config producer.toml watch --state
    """
    settings = _settings(context, folders, given)
    spool = spool_of(settings)
    state = state_folder(settings, spool)
    if given["state"]:
        return _show_state(state, as_json=given["as_json"])
    try:
        with Lock(state), Store(state) as store, ExitStack() as stack:
            world = World()
            publisher = _publisher(settings, stack)
            watcher = assemble(settings, spool, store, publisher, world)
            _serve(settings, world.metrics, watcher, publisher, stack)
            if not given["once"]:
                stack.enter_context(Settling(spool, lambda: _follower(settings), watcher.hear))
            stack.enter_context(_stopped_by_signals(world.stopping))
            _run(watcher, publisher, once=given["once"])
            _show(watcher.records, watcher.troubles, as_json=given["as_json"])
    except (SpoolError, StateError) as error:
        click.echo(f"omero-fleet: {error}", err=True)
        return Exit.NOT_KEPT
    return Exit.OK


def _settings(context: Context, folders: tuple[Path, ...], given: dict[str, Any]) -> Settings:
    service = not given["once"] and not given["state"]
    settings = context.settings(service=service).with_metrics_port(given["metrics_port"])
    if (given["settle"] or given["depth"]) and not folders:
        raise UsageError("--settle and --depth are for folders on the command line; the others have settings")
    if not folders:
        return settings
    further = {"settle_seconds": given["settle"], "depth": given["depth"]}
    chosen = {key: value for key, value in further.items() if value is not None}
    watched = tuple(WatchedFolder(path=folder.absolute(), **chosen) for folder in folders)
    return settings.model_copy(update={"watch": settings.watch.model_copy(update={"folders": watched})})


def _publisher(settings: Settings, stack: ExitStack) -> Publisher:
    publisher = Publisher(broker_address(settings.broker), broker_names(settings.broker))
    stack.callback(publisher.stop, _STOP_SECONDS)
    publisher.start()
    return publisher


def _follower(settings: Settings) -> LiveFollower:
    return LiveFollower(broker_address(settings.broker), [lane_of(settings)], broker_names(settings.broker))


def _serve(
    settings: Settings, metrics: ProducerMetrics, watcher: Watcher, publisher: Publisher, stack: ExitStack
) -> None:
    if not settings.metrics.port:
        return
    health = Health(
        settings.metrics,
        metrics.registry,
        live={"watch": watcher.stands_still},
        ready={"broker": lambda: None if publisher.connected else "no connection", "folders": watcher.unseen},
    )
    health.start()
    stack.callback(health.stop)


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """Have SIGTERM and Ctrl-C end the watch at its next pause, as long as this lasts."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        set_from_handler(stopping)

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _run(watcher: Watcher, publisher: Publisher, *, once: bool) -> None:
    _LOG.info("watching", plates_known=len(watcher.records))
    if not once:
        watcher.run()
        return
    if not publisher.wait_connected(_CONNECT_SECONDS):
        click.echo("omero-fleet: RabbitMQ is away; what is complete is kept in the spool.", err=True)
    watcher.run_once()


def _show_state(state: Path, *, as_json: bool) -> int:
    with Store(state) as store:
        _show(list(store.records()), {}, as_json=as_json)
    return Exit.OK


def _show(records: list[Record], troubles: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"plates": [row_of(one) for one in records], "unseen": troubles}, indent=2))
        return
    for record in records:
        click.echo(line_of(record))
    for name, trouble in troubles.items():
        click.echo(f"{name}  cannot be seen  {trouble}")


def row_of(record: Record) -> dict[str, Any]:
    """What a program is told of a plate."""
    return {
        "plate": record.key,
        "state": str(record.state),
        "why": record.why,
        "next_action": record.next_action,
        "files": record.done,
        "of": record.of,
        "eta_seconds": record.eta_seconds,
        "problems": list(record.problems),
        "request_id": record.request_id,
    }


def line_of(record: Record) -> str:
    """What a person is told of a plate."""
    count = f"{record.done} of {record.of} files" if record.of else ""
    eta = f"about {show_age(record.eta_seconds)} left" if record.eta_seconds is not None else ""
    first = "  ".join(filter(None, [str(record.state), record.key, count, eta]))
    return "\n    ".join(filter(None, [first, record.why, record.next_action]))

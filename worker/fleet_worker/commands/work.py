"""``omero-fleet work``: run one worker until it is told to stop."""

from __future__ import annotations

import faulthandler
import signal
import threading
from types import FrameType

import click

from fleet_common.cli import Context
from fleet_common.errors import UsageError
from fleet_common.signals import set_from_handler
from fleet_worker.worker import Worker


@click.command()
@click.option("--name", help="Name of this worker.  [default: worker.name, else the host's]")
@click.option("--metrics-port", type=int, help="Port for /metrics, /healthz and /readyz.  [default: metrics.port]")
@click.option("--parallel-filesets", type=click.IntRange(1, 64), help="Requests in work at once.")
@click.option("--parallel-upload", type=click.IntRange(1, 32), help="Files in flight at once, over all requests.")
@click.pass_obj
def work(
    context: Context,
    /,
    name: str | None,
    metrics_port: int | None,
    parallel_filesets: int | None,
    parallel_upload: int | None,
) -> None:
    """Take import requests and import them into OMERO, until SIGTERM or SIGINT.

    A worker that is told to stop takes nothing more and finishes what it has begun; told a second time it hands back
    at once what is still in work. RabbitMQ and OMERO may be away when it starts, or go away later: it waits, says so in
    /readyz and in metrics, and goes on by itself. SIGUSR1 has it write to standard error what each of its threads does.

    \b
    Examples:
      omero-fleet --config worker.toml work
      omero-fleet --config worker.toml work --name w1 --metrics-port 9101 --parallel-upload 8
    """
    settings = context.settings(service=True).with_metrics_port(metrics_port)
    flags = {"name": name, "parallel_filesets": parallel_filesets, "parallel_upload": parallel_upload}
    worker = settings.worker.model_copy(update={key: value for key, value in flags.items() if value is not None})
    if not worker.lanes:
        raise UsageError("no lane: give worker.lanes in the settings, each with its allow-list")
    stop, hurry = threading.Event(), threading.Event()
    first = iter([stop])

    def stop_now(_number: int, _frame: FrameType | None) -> None:
        set_from_handler(next(first, hurry))

    signal.signal(signal.SIGTERM, stop_now)
    signal.signal(signal.SIGINT, stop_now)
    faulthandler.register(signal.SIGUSR1)
    Worker(settings.model_copy(update={"worker": worker})).run(stop, hurry)

"""``omero-fleet exporter``: show the whole fleet to Prometheus, also while no worker runs."""

from __future__ import annotations

import click

from fleet_common.cli import Context
from fleet_common.errors import UsageError
from fleet_common.signals import stopped_by_signals
from fleet_worker.exporter.service import Exporter


@click.command()
@click.option("--metrics-port", type=int, help="Port for /metrics, /healthz and /readyz.  [default: metrics.port]")
@click.option("--omero/--no-omero", "omero", default=True, help="Whether to look into OMERO, too.  [default: omero]")
@click.pass_obj
def exporter(context: Context, /, *, metrics_port: int | None, omero: bool) -> None:
    """Serve what is known of queues, dead letters, producers, slots and OMERO, until SIGTERM or SIGINT.

    One for each fleet, always on: what it shows needs no worker. It reads RabbitMQ's management API
    (broker.management_url), the event log, the dead letters and OMERO, and changes none of them; of letters that
    RabbitMQ itself made it tells the event log, because nobody else does. What cannot be read is left out of
    /metrics, and /readyz says why.

    \b
    Examples:
      omero-fleet --config exporter.toml exporter
      omero-fleet --config exporter.toml exporter --no-omero --metrics-port 9102
    """
    settings = context.settings(service=True).with_metrics_port(metrics_port)
    if not settings.metrics.port:
        raise UsageError("an exporter without a port shows nothing: set metrics.port or give --metrics-port")
    Exporter(settings, omero=omero).run(stopped_by_signals())

"""``omero-fleet notify``: tell people of what needs them, by webhook and mail."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from fleet_common.cli import Context
from fleet_common.exits import Exit
from fleet_common.notify.channel import SendError
from fleet_common.notify.notes import FINISHED, Note
from fleet_common.notify.service import Notifier, channels_of
from fleet_common.notify.settings import NotifySettings
from fleet_common.signals import stopped_by_signals


@click.command()
@click.option(
    "--test", "only_test", is_flag=True, help="Send one message by every channel, say what came of it, and end."
)
@click.option("--metrics-port", type=int, help="Port for /metrics, /healthz and /readyz.  [default: metrics.port]")
@click.pass_obj
def notify(context: Context, /, *, only_test: bool, metrics_port: int | None) -> int:
    """Tell people of every dead, incomplete and cancelled request and every finished batch, until SIGTERM or SIGINT.

    It follows the event log, so no import waits for it. Each message says what happened, where the data are and what
    to do; one that cannot be sent is tried again for a day. With notify.state_file it goes on where it was; run one
    for each fleet, with a broker user that may read the event log.

    \b
    Examples:
      omero-fleet --config notify.toml notify --test
      omero-fleet --config notify.toml notify
    """
    settings = context.settings(service=not only_test)
    if only_test:
        return _try(settings.notify)
    Notifier(settings.with_metrics_port(metrics_port)).run(stopped_by_signals())
    return Exit.OK


def _try(settings: NotifySettings) -> Exit:
    note = Note(
        kind=FINISHED,
        offset=0,
        at=datetime.now(UTC),
        lane="none",
        batch="test",
        message="this is a test, no data are concerned",
        next_action="Nothing: notifications arrive.",
    )
    failures = 0
    for name, send in channels_of(settings).items():
        try:
            send([note], dropped=0)
        except SendError as error:
            failures += 1
            click.echo(f"{name}: {error}", err=True)
        else:
            click.echo(f"{name}: sent")
    return Exit.FAILED if failures else Exit.OK

"""``omero-fleet topology``: declare the fleet's queues on the broker and compare them with their description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import click

from fleet_common import broker
from fleet_common.broker.topology import describe
from fleet_common.cli import Context
from fleet_common.connect import broker_address, broker_names
from fleet_common.errors import UsageError
from fleet_common.exits import Exit
from fleet_common.settings import Settings

_lanes = click.option("--lane", "lanes", multiple=True, help="A lane; repeatable. Default: the lanes in the settings.")


@click.group()
def topology() -> None:
    """Declare and verify the queues of the fleet."""


@topology.command()
@_lanes
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def show(context: Context, /, lanes: tuple[str, ...], *, as_json: bool) -> None:
    """Show what the fleet wants to have in the broker, without connecting to one.

    \b
    Examples:
      omero-fleet topology show --lane phenix1
      omero-fleet topology show --json
    """
    wanted = describe(broker_names(context.settings().broker), lanes_of(context.settings(), lanes))
    if as_json:
        click.echo(json.dumps(asdict(wanted), indent=2))
        return
    for exchange in wanted.exchanges:
        click.echo(f"exchange {exchange.name} {exchange.kind} {_arguments(exchange.arguments)}".rstrip())
    for queue in wanted.queues:
        click.echo(f"queue {queue.name} {_arguments(queue.arguments)}")
    for binding in wanted.bindings:
        click.echo(f"binding {binding.exchange} -> {binding.queue} {binding.key}".rstrip())


@topology.command()
@_lanes
@click.pass_obj
def apply(context: Context, /, lanes: tuple[str, ...]) -> None:
    """Declare exchanges, queues, bindings and streams; what exists already stays as it is.

    Needs an account that may configure everything under the prefix.

    \b
    Examples:
      omero-fleet topology apply --lane phenix1 --lane cv8000
    """
    settings = context.settings()
    chosen = lanes_of(settings, lanes)
    broker.apply(broker_address(settings.broker), chosen, broker_names(settings.broker))
    click.echo(f"declared the fleet's objects and the lanes {', '.join(chosen)}")


@topology.command()
@_lanes
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of differences.")
@click.pass_obj
def verify(context: Context, /, lanes: tuple[str, ...], *, as_json: bool) -> int:
    """Compare the broker with the description; ends with 8 when they differ.

    With broker.management_url in the settings, effective policies and permissions are compared, too.

    \b
    Examples:
      omero-fleet topology verify --lane phenix1
      omero-fleet topology verify --json
    """
    settings = context.settings()
    found = broker.verify(
        broker_address(settings.broker),
        lanes_of(settings, lanes),
        broker_names(settings.broker),
        management_url=settings.broker.management_url,
    )
    if as_json:
        click.echo(json.dumps([difference.model_dump() for difference in found], indent=2))
    else:
        for difference in found:
            click.echo(str(difference))
        click.echo(f"{len(found)} differences" if found else "broker and description agree")
    return Exit.DIFFERENT if found else Exit.OK


def _arguments(arguments: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items())


def lanes_of(settings: Settings, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """The lanes that were named, else those of the settings.

    Raises:
        UsageError: There is none.
    """
    lanes = chosen or tuple(settings.worker.lanes)
    if not lanes:
        raise UsageError("no lane: name one with --lane, or give worker.lanes in the settings")
    return lanes

"""``omero-fleet config show``: what the settings amount to."""

from __future__ import annotations

import click

from fleet_common.cli import Context


@click.group()
def config() -> None:
    """Show the effective settings."""


@config.command()
@click.pass_obj
def show(context: Context, /) -> None:
    """Print the effective settings as JSON, with passwords masked.

    \b
    Examples:
      omero-fleet --config worker.toml config show
      OMERO_FLEET_BROKER__HOST=rabbit omero-fleet config show
    """
    click.echo(context.settings().model_dump_json(indent=2))

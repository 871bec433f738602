"""Command lines of `omero-fleet` that documentation shows, judged by click without running anything."""

from __future__ import annotations

import click

from fleet_common.cli import omero_fleet


def understand(words: list[str], command: click.Command = omero_fleet, parent: click.Context | None = None) -> None:
    """Have click judge options and arguments, down to the last subcommand.

    Raises:
        click.UsageError: There is no such command, option or argument.
    """
    context = command.make_context(command.name, list(words), parent=parent)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, below, rest = command.resolve_command(context, rest)
        assert below is not None, name
        understand(rest, below, context)


def commands() -> list[str]:
    """The names of all commands."""
    return omero_fleet.list_commands(click.Context(omero_fleet))

"""The command ``omero-fleet``: finds its subcommands by entry point and loads one only when it is called.

A subcommand that needs omero-py therefore does not keep ``submit`` from working on a host without it.
"""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from fleet_common import logs
from fleet_common.errors import FleetError, Reason, UsageError
from fleet_common.exits import Exit
from fleet_common.settings import CONFIG_VARIABLE, Settings, load

ENTRY_POINTS: Final = "omero_fleet.commands"
_AWAY: Final = frozenset({Reason.BROKER_UNAVAILABLE, Reason.OMERO_UNAVAILABLE, Reason.OMERO_BUSY})
_SUMMARIES: Final = {
    "submit": "Check plates and images and publish import requests.",
    "spool": "Look after requests that this host keeps until their outcome is known.",
    "watch": "Publish what instruments have completely written, each plate once.",
    "plate": "Look at a plate without publishing it.",
    "paths": "Show what each share means on this host.",
    "work": "Take requests and import them into OMERO.",
    "exporter": "Show the whole fleet to Prometheus, also while no worker runs.",
    "notify": "Tell people of what needs them, by webhook and mail.",
    "doctor": "Check whether a worker can run, and sweep what dead attempts left.",
    "status": "Show where requests and batches are.",
    "follow": "Follow one request until its outcome.",
    "cancel": "Cancel requests that wait or are in work.",
    "pause": "Have workers take nothing more from lanes.",
    "resume": "Have workers take from lanes again.",
    "dead": "List, show, replay or drop dead letters.",
    "topology": "Declare and verify the queues of the fleet.",
    "config": "Show the effective settings.",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What every subcommand is given."""

    config: Path | None

    def settings(self, *, service: bool = False) -> Settings:
        """The effective settings, with logging set up by them.

        Args:
            service: True for what runs for ever and is watched by its log. A command tells a person its result, and
                logs warnings only, unless the settings ask for ``debug``.

        Raises:
            UsageError: A setting is wrong.
        """
        settings = load(self.config)
        quiet = not service and settings.log.level == "info"
        logs.configure(settings.log.model_copy(update={"level": "warning"}) if quiet else settings.log)
        return settings


class LazyGroup(click.Group):
    """A group whose commands are entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  the signature is click's
        """All names, without loading anything."""
        return sorted(entry.name for entry in importlib.metadata.entry_points(group=ENTRY_POINTS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Load one command; a missing package is explained instead of shown as a traceback."""
        found = [entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS) if entry.name == cmd_name]
        if not found:
            return None
        try:
            command = found[0].load()
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"{cmd_name} needs the package {error.name}: pip install 'omero-import-fleet[worker]'"
            ) from error
        if not isinstance(command, click.Command):
            raise TypeError(f"the entry point {cmd_name} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them: one that cannot be loaded must not break the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SUMMARIES.get(name, "")) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=CONFIG_VARIABLE,
    help="Settings file (TOML); single values also from variables such as OMERO_FLEET_BROKER__HOST.",
)
@click.version_option(package_name="omero-import-fleet", prog_name="omero-fleet")
@click.pass_context
def omero_fleet(ctx: click.Context, config: Path | None) -> None:
    """Import microscopy plates into OMERO through RabbitMQ.

    \b
    Examples:
      omero-fleet submit plate1 --target 'Screen:+name:My screen' --user alice --group screening --wait
      omero-fleet status --batch tuesday
      omero-fleet --config worker.toml work
    """
    ctx.obj = Context(config)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end the process with its exit code, see ``docs/reference/exit-codes.md``."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is returned."""
    try:
        return int(omero_fleet.main(arguments, prog_name="omero-fleet", standalone_mode=False) or Exit.OK)
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except UsageError as error:
        click.echo(f"omero-fleet: {error}", err=True)
        return Exit.USAGE
    except FleetError as error:
        click.echo(f"omero-fleet: {logs.redact(str(error))}", err=True)
        return Exit.UNREACHABLE if getattr(error, "reason", None) in _AWAY else Exit.FAILED


if __name__ == "__main__":
    main()

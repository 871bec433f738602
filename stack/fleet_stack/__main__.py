"""The stack's commands: ``python -m fleet_stack install|up|down|status|wipe|purge|ctl|path``.

Role: words and exit codes around `stack`. Neighbours: the Makefile calls it. Threading: none.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, TypeVar

import click

from fleet_stack import stack
from fleet_stack.console import StackError
from fleet_stack.description import StackDescription
from fleet_stack.layout import Layout
from fleet_stack.parts import NAMES, Options
from fleet_stack.rabbitmq.part import RabbitPart
from fleet_stack.rabbitmq.releases import RELEASES

NOT_READY: Final = 3
FOLDERS: Final = ("state", "cache", "secrets", "certificates", "rabbitmq", "postgres", "omero", "web", "log", "record")

Command = TypeVar("Command", bound=Callable[..., Any])


def named(command: Command) -> Command:
    """Give a command the option that names a stack."""
    option = click.option("--name", default="demo", show_default=True, envvar="FLEET_STACK", help="Which stack.")
    return option(command)


def as_json(command: Command) -> Command:
    """Give a command the option of an answer for programs."""
    return click.option("--json", "in_json", is_flag=True, help="Print the answer as JSON on stdout.")(command)


EXAMPLES: Final = """\b
Examples:
  python -m fleet_stack up
  python -m fleet_stack up --name trial --only rabbitmq --rabbitmq 3.10
  python -m fleet_stack up --set omero.threads.min_threads=20
  python -m fleet_stack status --json
  python -m fleet_stack ctl list_queues -p fleet
  python -m fleet_stack wipe --name trial
  python -m fleet_stack purge

\b
Exit codes: 0 done (status: all ready), 1 failed, 2 wrong use, 3 status: not ready.
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Private RabbitMQ, PostgreSQL, OMERO.server and OMERO.web on 127.0.0.1.

    Several stacks run side by side: folders and ports follow from the name. Everything of a stack is in one folder
    (`path`), what several share is in a cache; FLEET_STATE and FLEET_CACHE move them. Progress goes to stderr.
    """


@main.command()
@named
@click.option("--only", default=",".join(NAMES), show_default=True, help="Parts to bring up, by commas.")
@click.option("--rabbitmq", "version", type=click.Choice(list(RELEASES)), help="4.0 unless the stack has another.")
@click.option("--set", "settings", multiple=True, metavar="omero.NAME=VALUE", help="A setting of OMERO.server.")
@as_json
def up(name: str, only: str, version: str | None, settings: tuple[str, ...], in_json: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Bring a stack up; what is up already stays as it is.

    The first time on a machine downloads are made, once: about 45 MB for RabbitMQ (10 to 30 s) and about 400 MB for
    OMERO (1 to 2 minutes). After that a start takes less than a minute.
    """
    began = time.monotonic()
    options = Options(version, parse_settings(settings), optimise_java=True)
    description = stack.up(name, parse_only(only), options)
    click.echo(description.as_json() if in_json else summary(description, time.monotonic() - began))


@main.command()
@click.option("--only", default=",".join(NAMES), show_default=True, help="Parts to fetch, by commas.")
@click.option("--rabbitmq", "version", type=click.Choice(list(RELEASES)), help="4.0 unless told otherwise.")
def install(only: str, version: str | None) -> None:
    """Fetch what a stack needs, once a machine, so that the next `up` takes less than a minute."""
    stack.install(parse_only(only), Options(version))


@main.command()
@named
@as_json
def down(name: str, in_json: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Stop a stack; its data stay."""
    parts = stack.down(name)
    words = f"stack {name}: stopped {', '.join(parts)}" if parts else f"there is no stack {name}"
    click.echo(json.dumps({"name": name, "stopped": parts}) if in_json else words)


@main.command()
@named
@as_json
def status(name: str, in_json: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Say how every part is; exit code 0 only when all are ready, 3 otherwise."""
    found = stack.status(name)
    if in_json:
        click.echo(json.dumps(asdict(found) | {"ready": found.ready}, indent=1))
    else:
        lines = [f"{one.name:9} {'ready' if one.ready else 'NOT READY':9} {one.detail}" for one in found.parts]
        click.echo("\n".join(lines) or f"there is no stack {name}: python -m fleet_stack up --name {name}")
    sys.exit(0 if found.ready else NOT_READY)


@main.command()
@named
@as_json
def wipe(name: str, in_json: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Stop a stack and remove everything of it but the cache."""
    removed = stack.wipe(name)
    words = f"stack {name} is gone" if removed else f"there is no stack {name}"
    click.echo(json.dumps({"name": name, "removed": removed}) if in_json else words)


@main.command()
@as_json
def purge(in_json: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Wipe all stacks and remove the cache of packages, so that no trace is left but Debian packages."""
    names = stack.purge()
    words = f"wiped {', '.join(names)}; nothing is left" if names else "nothing is left"
    click.echo(json.dumps({"wiped": names}) if in_json else words)


@main.command(context_settings={"ignore_unknown_options": True})
@named
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def ctl(name: str, words: tuple[str, ...]) -> None:
    """Run rabbitmqctl on the stack's node, for example `ctl list_queues -p fleet name messages`."""
    click.echo(RabbitPart(Layout.for_name(name)).ctl(*words), nl=False)


@main.command()
@named
@click.argument("what", type=click.Choice(FOLDERS), default="state")
@as_json
def path(name: str, what: str, in_json: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Print a folder of the stack, by default the one that holds everything."""
    found = str(getattr(Layout.for_name(name), what))
    click.echo(json.dumps({"name": name, what: found}) if in_json else found)


def parse_only(words: str) -> tuple[str, ...]:
    """The parts named in ``rabbitmq,omero``.

    Raises:
        StackError: one of them does not exist.
    """
    wanted = tuple(word.strip() for word in words.split(",") if word.strip())
    unknown = [word for word in wanted if word not in NAMES]
    if unknown or not wanted:
        raise StackError(f"--only {words!r}: choose from {', '.join(NAMES)}")
    return wanted


def parse_settings(pairs: tuple[str, ...]) -> dict[str, str]:
    """OMERO's settings from ``omero.name=value``.

    Raises:
        StackError: one has another form.
    """
    wrong = [pair for pair in pairs if not pair.startswith("omero.") or "=" not in pair]
    if wrong:
        raise StackError(f"--set {wrong[0]!r}: the form is omero.NAME=VALUE, such as omero.db.poolsize=20")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def summary(description: StackDescription, seconds: float) -> str:
    """What a person wants to know once a stack is up."""
    broker, omero = description.broker, description.omero
    lines = [f"stack {description.name} is up after {seconds:.1f} s, in {description.state}"]
    if "rabbitmq" in description.parts:
        lines.append(f"  RabbitMQ   {broker.host}:{broker.amqp_port} (TLS {broker.amqps_port}), vhost {broker.vhost}")
        lines.append(f"             {broker.management_url}, password of admin in {broker.users['admin']}")
    if "omero" in description.parts:
        lines.append(f"  OMERO      {omero.host}:{omero.ssl_port} (without TLS {omero.tcp_port})")
    if "web" in description.parts:
        lines.append(f"  OMERO.web  {omero.web_url}")
    return "\n".join(lines)


def run() -> None:
    """The program: errors become one sentence and exit code 1."""
    try:
        main(prog_name="python -m fleet_stack")
    except StackError as error:
        click.echo(f"fleet_stack: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run()

"""``python -m soak``: a fleet at work on real servers, while they and it are broken at random."""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path

import click

from fleet_stack.console import StackError
from fleet_stack.rabbitmq.releases import DEFAULT, RELEASES
from soak import report
from soak.options import BUILD, USUAL_REQUESTS, Options
from soak.story import run

_FOUND_WRONG = 1
_INTERRUPTED = 130


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", default=20.0, show_default=True, help="How long there are faults.")
@click.option("--seed", type=click.IntRange(0), help="The same gives the same requests and faults.  [default: any]")
@click.option("--broker", type=click.Choice(list(RELEASES)), default=DEFAULT, show_default=True, help="RabbitMQ.")
@click.option(
    "--requests", type=click.IntRange(1), default=USUAL_REQUESTS, show_default=True, help="How many are submitted."
)
@click.option("--drain-minutes", default=20.0, show_default=True, help="How long what is open then may take.")
@click.option("--no-faults", is_flag=True, help="The same requests in peace, to see what the machine can do.")
@click.option("--dry-run", is_flag=True, help="Print requests and faults, start nothing.")
def main(dry_run: bool, no_faults: bool, seed: int | None, **given: float | str) -> None:  # noqa: FBT001  click passes flags by name
    """Import from two producers through four workers, while parts of it all are killed, paused and cut off.

    \b
    Exit codes: 0 every request is settled exactly once and nothing else is left, 1 something is wrong: the stack goes
    on and the logs stay below build/soak-SEED, 130 interrupted.
    """
    chosen = seed if seed is not None else random.SystemRandom().randrange(1_000_000)
    options = Options(seed=chosen, with_faults=not no_faults, **given)  # type: ignore[arg-type]  # click has checked them
    click.echo(options.command)
    # It reports every connection that a broken broker refuses, with a traceback.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    if dry_run:
        click.echo("\n".join(map(str, (*options.wishes(), *options.schedule()))))
        return
    sys.exit(_soak(options))


def _soak(options: Options) -> int:
    try:
        found = run(options)
    except KeyboardInterrupt:
        click.echo("interrupted: workers are ended, and the stack is gone")
        return _INTERRUPTED
    except StackError as error:
        click.echo(f"soak: {error}\n{_what_is_left(options)}", err=True)
        return _FOUND_WRONG
    report.write(found, BUILD / "soak.json", options.folder / "soak.json")
    text = report.table(found)
    Path(options.folder / "soak.md").write_text(f"{text}\n", encoding="utf-8")
    click.echo(text)
    if not found.good:
        click.echo(_what_is_left(options))
    return 0 if found.good else _FOUND_WRONG


def _what_is_left(options: Options) -> str:
    return (
        f"The servers go on, logs and settings are in {options.folder}: soak.log says what happened when. "
        f"End them with: python -m fleet_stack wipe --name soak"
    )


if __name__ == "__main__":
    main()

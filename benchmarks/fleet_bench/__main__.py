"""``python -m fleet_bench``: measure the fleet beside the official importer and the server's floor."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import click

from fleet_bench import registry, report
from fleet_bench.countdown import Countdown
from fleet_bench.model import Case, Effort
from fleet_bench.smoke import CASE
from fleet_bench.stage import Stage, open_stage
from fleet_bench.warming import warm_up
from fleet_stack.console import StackError

_FAILED = 1
_MINUTE = 60.0
_WRONG_USE = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cases", default="", help="Comma separated beginnings of names.  [default: all]")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Counted pairs of runs.")
@click.option(
    "--minutes", default=math.inf, type=click.FloatRange(1), help="All of it takes about so long.  [default: no limit]"
)
@click.option("--out", default=Path("build/bench.json"), show_default=True, type=click.Path(path_type=Path))
@click.option("--smoke", is_flag=True, help="One short comparison; exit 1 when the fleet is slower.")
@click.option("--quick", is_flag=True, help="Smaller sizes, to try the benchmark itself.")
@click.option("--keep", is_flag=True, help="Use servers that an earlier --keep left, and leave them running.")
def main(  # noqa: PLR0913  click passes each option by name
    cases: str, runs: int, minutes: float, out: Path, *, smoke: bool, quick: bool, keep: bool
) -> None:
    """Measure cases, print their figures, and write them as JSON, beside those of other cases that are there.

    Exit codes: 0 measured, 1 a server or an import failed, or the fleet was slower in --smoke, 2 there is no such case.
    """
    try:
        chosen = (CASE,) if smoke else registry.chosen(cases)
    except ValueError as error:
        click.echo(str(error), err=True)
        sys.exit(_WRONG_USE)
    try:
        # The optimising compiler of the server's Java pays off after minutes only.
        with open_stage(out.parent, optimise=not smoke, keep=keep) as stage:
            effort = Effort(runs, quick)
            if not smoke:
                click.echo("warm-up: each side imports twice", err=True)
                warm_up(stage, effort)
            clock = Countdown(time.monotonic() + minutes * _MINUTE, chosen)
            good = [
                measured(stage, case, replace(effort, seconds=seconds), out, strict=smoke) for case, seconds in clock
            ]
    except StackError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(_FAILED)
    click.echo(f"{len(chosen)} cases, results in {out}")
    sys.exit(0 if all(good) else _FAILED)


def measured(stage: Stage, case: Case, effort: Effort, out: Path, *, strict: bool = False) -> bool:
    """Measure a case, print and write it.

    Returns:
        Whether it could be measured, and, if ``strict``, came out as wanted.
    """
    click.echo(f"{case.name}: {case.title}", err=True)
    began = time.monotonic()
    try:
        result = case.run(stage, effort)
    except Exception:
        # Whatever is wrong with one case, those that follow can be measured all the same.
        click.echo(f"failed {case.name}\n{traceback.format_exc()}", err=True)
        return False
    result = result.model_copy(update={"seconds": round(time.monotonic() - began, 1)})
    click.echo("\n".join(report.lines(result)))
    report.write(result, out, _machine())
    return not strict or all(figure.reached for figure in result.figures)


def _machine() -> dict[str, str]:
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return {"cores": str(os.cpu_count()), "system": system, "python": platform.python_version()}


if __name__ == "__main__":
    main()

"""``python -m fleet_bench``: measure the fleet beside the official importer and the server's floor."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import click

from fleet_bench import registry, report
from fleet_bench.model import Bench, Case, Effort, Result
from fleet_bench.stage import Stage, open_stage
from fleet_stack.console import StackError

_FAILED = 1
_WRONG_USE = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cases", default="", help="Comma separated beginnings of names.  [default: all]")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Counted pairs of runs.")
@click.option("--out", default=Path("build/bench.json"), show_default=True, type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Smaller sizes, to try the benchmark itself.")
@click.option("--keep", is_flag=True, help="Use servers that an earlier --keep left, and leave them running.")
def main(cases: str, runs: int, out: Path, *, quick: bool, keep: bool) -> None:
    """Measure cases, print their figures, and write them as JSON."""
    try:
        chosen = registry.chosen(cases)
    except ValueError as error:
        click.echo(str(error), err=True)
        sys.exit(_WRONG_USE)
    try:
        with open_stage(out.parent, keep=keep) as stage:
            bench = _measure(stage, chosen, Effort(runs, quick), out)
    except StackError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(_FAILED)
    click.echo(f"{len(bench.results)} cases in {out}")


def _measure(stage: Stage, cases: tuple[Case, ...], effort: Effort, out: Path) -> Bench:
    """Measure one case after the other; what is there is written after each, so that nothing is lost by a failure."""
    results: list[Result] = []
    bench = Bench(machine=_machine(), results=())
    for case in cases:
        began = time.monotonic()
        click.echo(f"{case.name}: {case.title}", err=True)
        done = case.run(stage, effort).model_copy(update={"seconds": round(time.monotonic() - began, 1)})
        results.append(done)
        click.echo("\n".join(report.lines(done)))
        bench = Bench(machine=_machine(), results=tuple(results))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(bench.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return bench


def _machine() -> dict[str, str]:
    return {"cores": str(os.cpu_count()), "system": platform.platform(terse=True), "python": platform.python_version()}


if __name__ == "__main__":
    main()

"""``python -m fleet_stack.demo``: the main job on real parts, from an acquisition host's folder into OMERO and back.

Role: brings a stack and two workers up, writes a Harmony plate, submits it as an ordinary user would, reads every plane
back from OMERO, and says what it found. Neighbours: `stack`, `fleet`, `plates`, `readback`. Threading: one thread.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from fleet_stack import stack
from fleet_stack.console import StackError, note, step
from fleet_stack.description import StackDescription
from fleet_stack.fleet import Fleet, WorkerProcess, clean_environment, record_workers, stop_recorded
from fleet_stack.layout import Layout
from fleet_stack.parts import Options
from fleet_stack.plates import MadePlate, PlateSpec, make_plate
from fleet_stack.rabbitmq.releases import RELEASES
from fleet_stack.readback import Comparison, compare_plate, logged_in

USER: Final = "alice"
GROUP: Final = "screening"
SCREEN: Final = "Demo"
_MEGABYTE: Final = 1e6


@dataclass(frozen=True, slots=True)
class Report:
    """What the demo found; also written as JSON.

    Attributes:
        seconds: Of each step of the demo.
        phases: Seconds of each phase of the import, as the worker measured them.
        worker_memory_bytes: Resident memory of each worker at the end.
    """

    good: bool
    request_id: str
    plate: Comparison
    files: int
    bytes: int
    worker: str
    seconds: Mapping[str, float]
    phases: Mapping[str, float]
    upload_files_per_second: float
    upload_megabytes_per_second: float
    import_files_per_second: float
    import_megabytes_per_second: float
    worker_memory_bytes: Mapping[str, float]
    plate_url: str
    metrics_urls: Sequence[str]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--name", default="demo", show_default=True, help="Which stack.")
@click.option("--rabbitmq", "version", type=click.Choice(list(RELEASES)), help="4.0 unless the stack has another.")
@click.option("--wells", default=24, show_default=True, type=click.IntRange(1, 1536))
@click.option("--fields", default=4, show_default=True, type=click.IntRange(1, 100))
@click.option("--channels", default=3, show_default=True, type=click.IntRange(1, 10))
@click.option("--size", default=512, show_default=True, type=click.IntRange(8, 4096), help="Pixels in x and y.")
@click.option("--report", default=Path("build/demo.json"), show_default=True, type=click.Path(path_type=Path))
def main(name: str, version: str | None, report: Path, **sizes: int) -> None:
    """Import a plate end to end and compare it with its source.

    \b
    Examples:
      python -m fleet_stack.demo
      python -m fleet_stack.demo --wells 96 --fields 9 --channels 5
    """
    try:
        spec = PlateSpec(
            name=f"demo-{time.strftime('%Y%m%d-%H%M%S')}",
            wells=sizes["wells"],
            fields=sizes["fields"],
            channels=sizes["channels"],
            size=sizes["size"],
            seed=int(time.time()),
        )
        found = run(name, Options(version, optimise_java=True), spec)
    except StackError as error:
        click.echo(f"demo: {error}", err=True)
        sys.exit(1)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(asdict(found), indent=2, default=str) + "\n", encoding="utf-8")
    show(found, report, name)
    sys.exit(0 if found.good else 1)


def run(name: str, options: Options, spec: PlateSpec) -> Report:
    """Do all of it.

    Raises:
        StackError: A step failed.
    """
    seconds: dict[str, float] = {}
    with timing(seconds, "stack"):
        description = stack.up(name, options=options)
    layout = Layout.for_name(name)
    fleet = Fleet(description, layout.state / "fleet", {"hcs": layout.state / "shares" / "hcs"})
    with timing(seconds, "workers"), step("start two workers"):
        workers = start_workers(layout, fleet)
    with timing(seconds, "plate"), step("write the plate as the instrument would"):
        plate = make_plate(fleet.shares["hcs"], spec)
    note(f"submit {len(plate.files)} files as {USER} of group {GROUP}")
    with timing(seconds, "import"):
        outcome = submit(fleet, plate)
    plate_id = outcome["status"]["result"]["plate_ids"][0]
    with (
        timing(seconds, "compare"),
        step("read every plane back from OMERO and compare"),
        logged_in(description.omero, USER, GROUP) as gateway,
    ):
        comparison = compare_plate(gateway, plate_id, plate)
    return _report(description, workers, outcome, comparison, seconds)


def start_workers(layout: Layout, fleet: Fleet) -> list[WorkerProcess]:
    """Start two workers in place of those of an earlier run; they go on after the demo."""
    stop_recorded(layout)
    for folder in fleet.shares.values():
        folder.mkdir(parents=True, exist_ok=True)
    fleet.apply_topology()
    workers = [fleet.start_worker(f"demo-worker-{number}", layout.ports.spare[number]) for number in (0, 1)]
    record_workers(layout, workers)
    for worker in workers:
        worker.wait_ready()
    return workers


def submit(fleet: Fleet, plate: MadePlate) -> dict[str, Any]:
    """Submit the plate and wait for it, with the progress on the terminal.

    Raises:
        StackError: It was not imported.
    """
    words = fleet.command(
        "demo", "submit", str(plate.folder), "--target", f"Screen:+name:{SCREEN}", "--user", USER, "--group", GROUP,
        "--batch", "demo", "--wait", "--timeout", "900", "--json",
    )  # fmt: skip
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, env=clean_environment())
    if done.returncode:
        raise StackError(f"submit ended with {done.returncode}: {done.stdout[-2000:]}")
    request: dict[str, Any] = json.loads(done.stdout)["requests"][0]
    return request


def show(found: Report, report: Path, name: str) -> None:
    """Print the report as a table."""
    plate = found.plate
    table = Table(title="what OMERO holds", show_header=False)
    rows = {
        "plate": f"Plate:{plate.plate_id} {plate.name!r} in Screen {', '.join(map(repr, plate.screens))}",
        "owner": f"{plate.owner} in {plate.group}",
        "wells, fields": f"{plate.wells} wells, {plate.fields} fields",
        "planes": f"{plate.planes} compared byte for byte, {len(plate.different)} different",
        "files": f"{found.files} files, {found.bytes / _MEGABYTE:.1f} MB",
        "upload": f"{found.upload_files_per_second:.0f} files/s, {found.upload_megabytes_per_second:.1f} MB/s",
        "whole import": f"{found.import_files_per_second:.0f} files/s, {found.import_megabytes_per_second:.1f} MB/s",
        "seconds by phase": _seconds(found.phases),
        "seconds by step": _seconds(found.seconds),
        "worker": found.worker,
        "worker memory": ", ".join(
            f"{one}: {size / _MEGABYTE:.0f} MB" for one, size in found.worker_memory_bytes.items()
        ),
        "see it": found.plate_url,
        "metrics": "\n".join(found.metrics_urls),
        "report": str(report),
    }
    for key, value in rows.items():
        table.add_row(key, value)
    Console().print(table)
    verdict = "equal: what was acquired is what was imported" if found.good else "DIFFERENT: see the report"
    click.echo(f"{verdict}\nStack and workers go on; `make stack-down STACK={name}` ends them.")


@contextlib.contextmanager
def timing(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Measure what is inside."""
    began = time.monotonic()
    yield
    seconds[what] = round(time.monotonic() - began, 2)


def _report(
    description: StackDescription,
    workers: Sequence[WorkerProcess],
    outcome: Mapping[str, Any],
    comparison: Comparison,
    seconds: Mapping[str, float],
) -> Report:
    status = outcome["status"]
    result = status["result"]
    phases = result.get("seconds", {})
    upload, whole = max(phases.get("upload", 0.0), 1e-3), max(sum(phases.values()), 1e-3)
    return Report(
        good=not comparison.different and comparison.planes > 0,
        request_id=outcome["request_id"],
        plate=comparison,
        files=result["files"],
        bytes=result["bytes"],
        worker=status["worker"],
        seconds=seconds,
        phases=phases,
        upload_files_per_second=round(result["files"] / upload, 1),
        upload_megabytes_per_second=round(result["bytes"] / upload / _MEGABYTE, 1),
        import_files_per_second=round(result["files"] / whole, 1),
        import_megabytes_per_second=round(result["bytes"] / whole / _MEGABYTE, 1),
        worker_memory_bytes={worker.name: worker.metric("process_resident_memory_bytes") for worker in workers},
        plate_url=f"{description.omero.web_url}webclient/?show=plate-{comparison.plate_id}",
        metrics_urls=[f"http://127.0.0.1:{worker.port}/metrics" for worker in workers],
    )


def _seconds(values: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.1f}" for key, value in values.items())


if __name__ == "__main__":
    main()

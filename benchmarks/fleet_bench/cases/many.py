"""Four filesets of 101 small files each."""

from __future__ import annotations

from functools import partial
from typing import Final

from fleet_bench import material
from fleet_bench.comparing import alternate, figures
from fleet_bench.fleetside import Submitter
from fleet_bench.importer import Importer
from fleet_bench.model import Case, Effort, Result
from fleet_bench.stage import Stage, parallel
from fleet_bench.targets import WANTED


def _measure(stage: Stage, effort: Effort, *, name: str, uploads: int, filesets: int) -> Result:
    paths = material.many(stage.share)
    fleet = stage.fleet(extra=parallel(uploads, filesets))
    submitter = Submitter(fleet, f"Screen:id:{stage.screen}")
    importer = Importer(stage, uploads, filesets, ("-r", stage.screen))
    with stage.workers(fleet):
        pairs = alternate(lambda: submitter.run(paths), lambda: importer.run(paths), effort.runs, stage.tell)
    return Result(case=name, title=_TITLES[name], figures=figures(pairs, WANTED[name]), pairs=pairs)


_TITLES: Final = {
    "many-1x1": "4 filesets, 404 files of 8 kB, one upload, one fileset at a time",
    "many-4x4": "4 filesets, 404 files of 8 kB, 4 uploads, 4 filesets",
}

CASES: Final = (
    Case("many-1x1", _TITLES["many-1x1"], partial(_measure, name="many-1x1", uploads=1, filesets=1)),
    Case("many-4x4", _TITLES["many-4x4"], partial(_measure, name="many-4x4", uploads=4, filesets=4)),
)

"""One comparison: the same files through fleet and importer at the same settings, and the floor under both.

Neighbours: `cases` say what is compared, `taking_turns` measures, `floors` explains. Threading: one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fleet_bench import floors
from fleet_bench.fleetside import Submitter
from fleet_bench.importer import Importer
from fleet_bench.material import Fileset
from fleet_bench.model import Effort, Floor, Pair, Result, Run
from fleet_bench.stage import Stage
from fleet_bench.takingturns import Import, Rounds, alternate, figures
from fleet_bench.targets import WANTED
from fleet_stack.fleet import Fleet

Make = Callable[[Path, Effort], Sequence[Fileset]]
_BEFORE_THE_FLOOR: Final = 0.75
"""How much of a case's time its rounds may take where the floor is measured after them."""
_LETTERS: Final = {"Screen": "-r", "Dataset": "-d"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared, and how.

    Attributes:
        make: Makes the files below a share.
        container: ``Screen`` or ``Dataset``.
        uploads: Files in flight, on both sides.
        filesets: Filesets at once, on both sides.
        fleet_options: More options of ``omero-fleet submit``.
        importer_options: More options of the importer.
        settings: More settings of the worker, by group.
        one_by_one: Whether the importer is started anew for every file.
        plain: Whether the fleet is measured over plain TCP, too.
        floor: Whether bare imports are measured.
        raw: Whether raw writes of as many bytes are measured.
        forgets: Whether the server's copies are emptied after every run.
        port: Where both sides find the server's TLS door; 0 for where it is.
        budget_seconds: After this no pair is begun, if there are three.
    """

    name: str
    title: str
    make: Make
    container: str
    uploads: int
    filesets: int
    fleet_options: tuple[str, ...] = ()
    importer_options: tuple[str, ...] = ()
    settings: Callable[[Stage], Mapping[str, Mapping[str, Any]]] = lambda _: {}
    one_by_one: bool = False
    plain: bool = False
    floor: bool = True
    raw: bool = False
    forgets: bool = False
    port: int = 0
    budget_seconds: float = 200.0

    def at(self, parallel: int) -> Comparison:
        """The same with as many files in flight and filesets at once."""
        return replace(self, uploads=parallel, filesets=parallel)

    def measure(self, stage: Stage, effort: Effort) -> Result:
        """Measure both sides in turn, then the floor."""
        made = self.make(stage.share, effort)
        with contextlib.ExitStack() as running:
            sides = {name: self._followed(stage, run) for name, run in self.sides(stage, running).items()}
            pairs = alternate(sides, self.rounds(stage, effort), stage.tell)
        return Result(
            case=self.name,
            title=self.title,
            figures=figures(pairs, WANTED[self.name]),
            pairs=pairs,
            floors=self.floors(stage, made, pairs) if self.floor else (),
            notes=_cut(pairs, effort),
        )

    def rounds(self, stage: Stage, effort: Effort) -> Rounds:
        """What both sides import in turn; less of the same to warm up."""
        warm = self.make(stage.share, replace(effort, quick=True))
        share = _BEFORE_THE_FLOOR if self.floor else 1.0
        return Rounds(warm, self.make(stage.share, effort), effort.runs, self.budget_seconds, effort.seconds * share)

    def sides(self, stage: Stage, running: contextlib.ExitStack) -> dict[str, Import]:
        """How each side imports; the workers of the fleet run until the stack is left."""
        sides = {"fleet": self.fleet(stage, running), "importer": self.importer(stage)}
        if self.plain:
            sides["plain"] = self.fleet(stage, running, plain=True)
        return sides

    def fleet(self, stage: Stage, running: contextlib.ExitStack, *, plain: bool = False) -> Import:
        """The fleet's side, with its worker."""
        fleet = running.enter_context(self._at_work(stage, plain=plain))
        submitter = Submitter(fleet, f"{self.container}:id:{stage.container(self.container)}", self.fleet_options)
        return lambda made: submitter.run([one.entry for one in made])

    def importer(self, stage: Stage) -> Import:
        """The importer's side."""
        target = (_LETTERS[self.container], stage.container(self.container))
        importer = Importer(stage, self.uploads, self.filesets, target, self.importer_options, self.port)
        run = importer.run_each if self.one_by_one else importer.run
        return lambda made: run([one.entry for one in made])

    @contextlib.contextmanager
    def _at_work(self, stage: Stage, *, plain: bool) -> Iterator[Fleet]:
        extra: dict[str, Mapping[str, Any]] = dict(self.settings(stage))
        extra["worker"] = {"parallel_upload": self.uploads, "parallel_filesets": self.filesets}
        if self.port:
            extra["omero"] = {"port": self.port}
        fleet = stage.fleet(plain=plain, extra=extra)
        with stage.workers(fleet):
            yield fleet

    def _followed(self, stage: Stage, run: Import) -> Import:
        def followed(made: Sequence[Fileset]) -> Run:
            done = run(made)
            if self.forgets:
                stage.forget()
            return done

        return followed

    def floors(self, stage: Stage, made: Sequence[Fileset], pairs: Sequence[Pair]) -> tuple[Floor, ...]:
        """What nobody can be faster than with as many files in flight and filesets at once."""
        target = (self.container, stage.container(self.container))
        size = sum(one.bytes for one in made) if self.raw else 0
        imports = min(self.filesets, floors.MOST_IMPORTS)
        bounds = floors.Bounds(made, target, self.uploads, imports, size, self.port)
        made_floors = floors.measure(stage, bounds, pairs)
        if self.forgets:
            stage.forget()
        return made_floors


def _cut(pairs: Sequence[Pair], effort: Effort) -> tuple[str, ...]:
    missing = effort.runs - len(pairs)
    return (f"{len(pairs)} pairs instead of {effort.runs}: the time of the case was up",) if missing else ()

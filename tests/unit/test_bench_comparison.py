"""One comparison from its material to its result, with stand-ins for both sides and the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fleet_bench import floors
from fleet_bench.comparison import Comparison
from fleet_bench.fleetside import Submitter
from fleet_bench.importer import Importer
from fleet_bench.material import Fileset
from fleet_bench.model import Effort, Run
from fleet_bench.stage import Stage


@dataclass
class StandIn:
    """A stage without servers; remembers what was asked of it."""

    share: Path
    settings: list[tuple[bool, Any]] = field(default_factory=list)
    at_work: int = 0
    forgotten: int = 0

    def container(self, _kind: str) -> int:
        return 7

    def fleet(self, *, plain: bool, extra: Any) -> Any:
        self.settings.append((plain, extra))
        return SimpleNamespace()

    @contextlib.contextmanager
    def workers(self, _fleet: Any) -> Iterator[None]:
        self.at_work += 1
        yield
        self.at_work -= 1

    def forget(self) -> None:
        self.forgotten += 1

    def tell(self, _text: str) -> None:
        """Nobody listens."""


@pytest.fixture
def stage(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Which side imported what, in order; the fleet takes 1 s, the importer 2 s for each call."""
    calls: list[tuple[str, list[str]]] = []

    def side(name: str, seconds: float) -> Any:
        def run(_self: object, paths: Sequence[Path]) -> Run:
            calls.append((name, [path.name for path in paths]))
            return Run(whole_seconds=seconds, upload_seconds=seconds, parts={"login": 0.5} if name != "fleet" else {})

        return run

    monkeypatch.setattr(Submitter, "run", side("fleet", 1.0))
    monkeypatch.setattr(Importer, "run", side("importer", 2.0))
    monkeypatch.setattr(floors, "measure", lambda *_: ())
    return calls


def make(share: Path, effort: Effort) -> Sequence[Fileset]:
    """Two files, or one where it shall be quick."""
    return [Fileset((share / name,)) for name in (["a"] if effort.quick else ["a", "b"])]


def compared(stage: StandIn, **changes: Any) -> Any:
    """The result of one round."""
    return Comparison("singles", "two files", make, "Dataset", 4, 2, **changes).measure(
        cast("Stage", stage), Effort(runs=1)
    )


def test_both_sides_warm_up_with_less_and_then_import_the_same(
    stage: StandIn, imported: list[tuple[str, list[str]]]
) -> None:
    result = compared(stage)
    warm, same = ["a"], ["a", "b"]
    assert imported == [("fleet", warm), ("importer", warm), ("fleet", same), ("importer", same)]
    assert (result.figures[0].value.median, len(result.pairs), result.notes) == (0.5, 1, ())


def test_the_worker_has_the_settings_of_the_comparison_and_ends_with_it(
    stage: StandIn, imported: list[tuple[str, list[str]]]
) -> None:
    compared(stage, port=4711, settings=lambda _: {"in_place": {"repository": "/r"}})
    worker = {"parallel_upload": 4, "parallel_filesets": 2}
    assert imported
    assert stage.settings == [(False, {"in_place": {"repository": "/r"}, "worker": worker, "omero": {"port": 4711}})]
    assert stage.at_work == 0


def test_the_fleet_over_plain_tcp_is_a_side_of_its_own(stage: StandIn, imported: list[tuple[str, list[str]]]) -> None:
    result = compared(stage, plain=True)
    assert [plain for plain, _ in stage.settings] == [False, True]
    assert [name for name, _ in imported] == ["fleet", "importer", "fleet"] * 2
    assert result.pairs[0].plain is not None


def test_one_by_one_the_importer_starts_for_every_file(stage: StandIn, imported: list[tuple[str, list[str]]]) -> None:
    result = compared(stage, one_by_one=True)
    assert imported[-2:] == [("importer", ["a"]), ("importer", ["b"])]
    assert result.pairs[0].importer.whole_seconds == 4.0
    assert result.pairs[0].importer.parts == {"login": 1.0}


def test_copies_are_emptied_after_every_run_where_they_are_large(
    stage: StandIn, imported: list[tuple[str, list[str]]]
) -> None:
    compared(stage, forgets=True)
    assert stage.forgotten == len(imported) + 1

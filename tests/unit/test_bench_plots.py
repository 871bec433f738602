"""Pictures of the results: which there are, and that the same results give the same bytes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from fleet_bench import plots
from fleet_bench.model import Bench, Curve, Figure, Floor, Pair, Result, Run, Spread, Target

RUN = Run(whole_seconds=2.0, upload_seconds=1.0)
COMPARED = Result(
    case="many-4x4",
    title="many small files",
    figures=(Figure(name="whole", unit="ratio", value=Spread.of([0.5, 0.7]), target=Target(limit=0.6)),),
    pairs=(Pair(fleet=RUN, importer=RUN),),
    floors=(Floor(name="server's own time", seconds=Spread.of([1.5]), of="whole", fraction=0.75),),
)
CURVED = Result(
    case="depth",
    title="the queue",
    figures=(),
    curves=(
        Curve(name="take", x="waiting requests", y="ms", points=((10, 1.0), (1000, 1.1), (100_000, 1.2))),
        Curve(name="memory", x="files", y="MB", points=((1, 1.0), (2, 1.1))),
    ),
)


def test_there_are_pictures_of_ratios_floors_and_curves(tmp_path: Path) -> None:
    made = plots.draw(Bench(machine={}, results=(COMPARED, CURVED)), tmp_path)
    names = ["performance-ratios.svg", "performance-floors.svg", "performance-depth.svg"]
    assert [path.name for path in made] == names
    assert all(ET.parse(path).getroot().tag.endswith("svg") for path in made)  # noqa: S314  written a line above


def test_the_same_results_give_the_same_picture(tmp_path: Path) -> None:
    bench = Bench(machine={}, results=(COMPARED,))
    first, second = (plots.draw(bench, tmp_path / folder)[0] for folder in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_nothing_is_drawn_of_what_was_not_measured(tmp_path: Path) -> None:
    assert plots.draw(Bench(machine={}, results=()), tmp_path) == []

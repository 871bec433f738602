"""The dashboards: equal to the code that makes them, explained, and asking only for what the fleet measures."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import CollectorRegistry

from fleet_common.fleetmetrics import Catalogue
from fleet_common.metrics import Metrics
from fleet_dashboards import __main__ as program
from fleet_dashboards.fleet import FLEET
from fleet_dashboards.make import BOARDS, TAG
from fleet_dashboards.readme import BEGIN, table, with_panels
from fleet_dashboards.spec import PREFIX, WIDTH
from fleet_producer.watch.records import NEEDS_A_PERSON
from fleet_stack.prometheus import promtool

VARIABLES: Final = ("datasource", "namespace", "job", "lane")
NAMES: Final = [board.name for board in BOARDS]
SELECTOR: Final = re.compile(rf"({PREFIX}_\w+)\{{([^}}]*)\}}")
UNITS: Final = {"short", "s", "bytes", "Bps", "percentunit"}


def a_file(name: str) -> dict[str, Any]:
    """A dashboard as it is committed."""
    board: dict[str, Any] = json.loads((program.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return board


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the headings of rows."""
    return [panel for panel in a_file(name)["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Every query of every dashboard, with the place where it stands."""
    for name in NAMES:
        for panel in panels(name):
            for target in panel["targets"]:
                yield f"{name}: {panel['title']} {target['refId']}", target["expr"]


QUERIES: Final = dict(queries())


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """Every series of the fleet with the names of its labels."""
    registry = CollectorRegistry()
    Metrics(registry, lanes=("hcs",))
    registry.register(Catalogue())
    return {
        sample.name: set(sample.labels) | {"namespace", "job"}
        for family in registry.collect()
        for sample in family.samples
    }


def test_the_committed_files_are_those_that_the_code_makes() -> None:
    """Else: make dashboards."""
    differing = [path.name for path, text in program.files().items() if path.read_text(encoding="utf-8") != text]
    assert differing == []


def test_a_file_that_differs_is_named_and_written_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a folder without dashboards, then --check names them and ends with 1; without it they are written."""
    (tmp_path / "README.md").write_text(program.README.read_text(encoding="utf-8"), encoding="utf-8")
    for name, value in (("ROOT", tmp_path), ("FOLDER", tmp_path / "made"), ("README", tmp_path / "README.md")):
        monkeypatch.setattr(program, name, value)
    monkeypatch.setattr("sys.argv", ["fleet_dashboards", "--check"])
    assert program.main() == 1
    assert capsys.readouterr().out.count("differs: run make dashboards") == len(BOARDS)
    assert not (tmp_path / "made").exists()
    monkeypatch.setattr("sys.argv", ["fleet_dashboards"])
    assert program.main() == 0
    monkeypatch.setattr("sys.argv", ["fleet_dashboards", "--check"])
    assert program.main() == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_can_be_provisioned(name: str) -> None:
    """An address that stays, no edits that would be lost, no placeholders of grafana.com's export form."""
    board = a_file(name)
    assert re.fullmatch(r"omero-import-[a-z]+", board["uid"])
    assert board["editable"] is False
    assert board["schemaVersion"] >= 41
    assert "__inputs" not in board
    assert board["tags"] == [TAG]
    assert board.get("id") is None


def test_every_dashboard_has_an_address_of_its_own() -> None:
    """Two of one uid would take turns."""
    assert len({a_file(name)["uid"] for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_variables_are_there_and_let_everything_through_at_first(name: str) -> None:
    """All of them also match what has no such label, as with Compose."""
    variables = a_file(name)["templating"]["list"]
    assert tuple(variable["name"] for variable in variables) == VARIABLES
    assert variables[0]["query"] == "prometheus"
    for variable in variables[1:]:
        assert (variable["includeAll"], variable["multi"], variable["allValue"]) == (True, True, ".*")
        assert variable["current"]["value"] == "$__all"
        assert variable["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_answers_and_in_which_unit(name: str) -> None:
    """A title, a question, how to read it."""
    for panel in panels(name):
        question, mark, how = panel["description"].partition("?")
        assert panel["title"]
        assert (mark, question[0].isupper(), how.strip().endswith(".")) == ("?", True, True), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_numbers_of_their_own_and_names_that_differ(name: str) -> None:
    """Links and alerts point to numbers."""
    board = a_file(name)
    numbers = [panel["id"] for panel in board["panels"]]
    titles = [panel["title"] for panel in panels(name)]
    assert len(set(numbers)) == len(numbers)
    assert 0 not in numbers
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_the_width_and_do_not_overlap(name: str) -> None:
    """Each line of the grid is 24 wide."""
    lines: dict[int, list[tuple[int, int]]] = {}
    for panel in a_file(name)["panels"]:
        place = panel["gridPos"]
        lines.setdefault(place["y"], []).append((place["x"], place["w"]))
    for places in lines.values():
        assert [x + w for x, w in places] == [x for x, _ in places[1:]] + [WIDTH]


@pytest.mark.parametrize("name", NAMES)
def test_colours_of_numbers_go_up(name: str) -> None:
    """Grafana wants the first for anything below, then growing values."""
    for panel in panels(name):
        first, *others = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert first is None
        assert all(low < high for low, high in pairwise(others))


@pytest.mark.parametrize("place", QUERIES)
def test_a_query_asks_for_metrics_that_exist_and_lets_the_variables_choose(
    place: str, served: dict[str, set[str]]
) -> None:
    """By namespace and job always, by lane where the metric has lanes; with no label that it has not."""
    found = SELECTOR.findall(QUERIES[place])
    assert len(found) == len(re.findall(rf"{PREFIX}_\w+", QUERIES[place])) > 0
    for metric, selector in found:
        matchers = dict(re.findall(r"(\w+)(?:=~|!=|!~|=)\"([^\"]*)\"", selector))
        assert matchers.keys() <= served[metric], metric
        chosen = {"namespace", "job"} | ({"lane"} & served[metric])
        assert {label: matchers.get(label) for label in chosen} == {label: f"${label}" for label in chosen}, metric


@pytest.mark.parametrize("place", QUERIES)
def test_a_legend_and_a_grouping_name_labels_that_exist(place: str, served: dict[str, set[str]]) -> None:
    """Or a line would have no name."""
    metrics = [metric for metric, _ in SELECTOR.findall(QUERIES[place])]
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", QUERIES[place]) for label in group.split(",")}
    assert all(grouped <= served[metric] for metric in metrics)
    name, _, title = place.partition(": ")
    target = next(
        target
        for panel in panels(name)
        for target in panel["targets"]
        if title == f"{panel['title']} {target['refId']}"
    )
    assert set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))) <= grouped


@pytest.mark.parametrize("name", ["fleet", "producers"])
def test_incomplete_plates_are_all_that_need_a_person(name: str) -> None:
    """In every state in which a producer waits for one."""
    states = re.search(r'state=~"([^"]*)"', QUERIES[f"{name}: Incomplete plates A"])
    assert states is not None
    assert set(states[1].split("|")) == NEEDS_A_PERSON


@pytest.mark.parametrize(
    ("title", "metric", "unit"),
    [
        ("Free space", "omero_free_bytes", "bytes"),
        ("Sessions", "omero_open_sessions", "short"),
        ("Trouble", "events_dropped_total", "short"),
    ],
)
def test_a_panel_shows_what_its_title_promises(title: str, metric: str, unit: str) -> None:
    """In a unit that fits."""
    panel = next(panel for panel in panels("fleet") if panel["title"] == title)
    assert panel["fieldConfig"]["defaults"]["unit"] == unit
    assert any(f"{PREFIX}_{metric}{{" in target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("place", QUERIES)
def test_counters_are_only_asked_for_how_fast_they_grow(place: str) -> None:
    """In the interval that Grafana chooses for its scrapes; restarts of pods set them back."""
    query = QUERIES[place]
    for found in SELECTOR.finditer(query):
        counts = re.search(r"_(total|bucket|sum|count)$", found[1])
        before, after = query[: found.start()], query[found.end() :]
        assert bool(counts) == before.endswith(("rate(", "increase(")), found[1]
        if before.endswith("rate("):
            assert after.startswith("[$__rate_interval]")


def test_every_query_is_promql(tmp_path: Path) -> None:
    """By Prometheus' own parser, with what Grafana puts in for the variables."""
    rules = [
        {"record": f"query_{number}", "expr": filled_in(query)}
        for number, query in enumerate(QUERIES.values(), start=1)
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([promtool(), "check", "rules", file], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout


def filled_in(query: str) -> str:
    """A query as Grafana sends it when everything is chosen."""
    return re.sub(r"\$(namespace|job|lane)", ".*", query.replace("$__rate_interval", "5m"))


class TestReadme:
    """The list of panels."""

    def test_every_panel_of_fleet_is_there_with_its_question(self) -> None:
        readme = program.README.read_text(encoding="utf-8")
        assert table(FLEET) in readme
        assert [panel["title"] for panel in panels("fleet")] == [panel.title for panel in FLEET.panels()]
        assert all(f"| {panel.title} | {panel.question} |" in readme for panel in FLEET.panels())

    def test_a_readme_without_a_place_for_it_is_refused(self) -> None:
        with pytest.raises(ValueError, match=re.escape(BEGIN)):
            with_panels("# Title\n", FLEET)

    def test_making_it_twice_changes_nothing(self) -> None:
        readme = program.README.read_text(encoding="utf-8")
        assert with_panels(with_panels(readme, FLEET), FLEET) == with_panels(readme, FLEET)

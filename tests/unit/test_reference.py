"""The generated pages of docs/reference: current, complete, the same on every machine, and true."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from fleet_common.cli import ENTRY_POINTS, omero_fleet
from fleet_common.errors import RULES, Reason
from fleet_common.exits import Exit
from fleet_common.fleetmetrics import Catalogue
from fleet_common.metrics import Metrics
from fleet_common.notify.metrics import NotifyMetrics
from fleet_common.producermetrics import ProducerMetrics
from fleet_common.settings import Settings, load
from support.scripts import module_of

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/generate_reference.py"
REFERENCE = ROOT / "docs/reference"
RUN_SECONDS = 60
PAGES = {
    "import-request.schema.json",
    "event.schema.json",
    "control-order.schema.json",
    "settings.md",
    "exit-codes.md",
    "metrics.md",
    "reasons.md",
    "commands.md",
}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tool in a process of its own, with nothing of this one's environment but what it needs."""
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The tool as a module."""
    return module_of(TOOL)


@pytest.fixture(scope="module")
def pages(tool: ModuleType) -> dict[str, str]:
    """Every page as it is made now."""
    made: dict[str, str] = tool.pages()
    return made


def rows(page: str) -> Iterator[list[str]]:
    """The cells of every row of every table, heads left out."""
    for line in page.splitlines():
        cells = [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        if line.startswith("| `") or re.match(r"\| \d", line):
            yield cells


class TestTool:
    """tools/generate_reference.py."""

    def test_it_makes_all_pages(self, pages: dict[str, str]) -> None:
        assert pages.keys() == PAGES
        assert all(text.endswith("\n") and "\r" not in text for text in pages.values())

    def test_the_committed_pages_are_current(self) -> None:
        """Given `make reference` was run after the last change of the code, the check finds nothing."""
        checked = run("--check")
        assert (checked.returncode, checked.stdout) == (0, "")

    def test_the_check_names_each_page_that_differs_and_writes_nothing(self, tmp_path: Path) -> None:
        shutil.copytree(REFERENCE, tmp_path / "reference")
        (tmp_path / "reference/reasons.md").write_text("older\n", encoding="utf-8")
        (tmp_path / "reference/metrics.md").unlink()

        checked = run("--check", "--folder", str(tmp_path / "reference"))

        assert checked.returncode == 1
        named = {name for name in PAGES if name in checked.stdout}
        assert named >= {"reasons.md", "metrics.md"}
        assert (tmp_path / "reference/reasons.md").read_text(encoding="utf-8") == "older\n"
        assert not (tmp_path / "reference/metrics.md").exists()

    def test_what_it_writes_passes_its_check(self, tmp_path: Path) -> None:
        folder = str(tmp_path / "new/reference")

        assert run("--folder", folder).returncode == 0
        assert run("--check", "--folder", folder).returncode == 0

    def test_the_pages_are_the_same_on_every_machine(self, tmp_path: Path) -> None:
        """Given another width, language, host, hash seed and settings, every byte is the same."""
        run("--folder", str(tmp_path / "a"), COLUMNS="40", LC_ALL="C", PYTHONHASHSEED="1", TERM="dumb")
        run(
            "--folder",
            str(tmp_path / "b"),
            COLUMNS="200",
            LC_ALL="C.UTF-8",
            PYTHONHASHSEED="2",
            HOSTNAME="elsewhere",
            OMERO_FLEET_CONFIG="/nowhere.toml",
            OMERO_FLEET_BROKER__HOST="elsewhere",
        )

        for name in PAGES:
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name

    def test_no_page_knows_the_machine_that_made_it(self, pages: dict[str, str]) -> None:
        for name, text in pages.items():
            assert str(ROOT) not in text, name
            assert os.uname().nodename not in re.findall(r"[\w.-]+", text) or len(os.uname().nodename) < 4, name

    def test_a_setting_without_a_docstring_is_refused(self, tool: ModuleType) -> None:
        class Bare(Settings):
            nothing: int = 0

        schema = Bare.model_json_schema()
        with pytest.raises(tool.NotDocumentedError, match=r"Bare\.nothing"):
            tool._settings_table(Bare, schema, ["nothing"], "X_")


class TestSchemas:
    """The JSON schemas."""

    @pytest.mark.parametrize("name", ["import-request.schema.json", "event.schema.json", "control-order.schema.json"])
    def test_they_are_valid_schemas(self, name: str, pages: dict[str, str]) -> None:
        schema = json.loads(pages[name])

        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]

    def test_a_request_fits_and_a_request_with_more_or_less_does_not(self, pages: dict[str, str]) -> None:
        schema = json.loads(pages["import-request.schema.json"])

        jsonschema.validate(a_request(), schema)
        with pytest.raises(jsonschema.ValidationError, match="unknown"):
            jsonschema.validate(a_request() | {"unknown": 1}, schema)
        for field in schema["required"]:
            with pytest.raises(jsonschema.ValidationError, match=field):
                jsonschema.validate({key: value for key, value in a_request().items() if key != field}, schema)


def a_request() -> dict[str, Any]:
    return {
        "version": 1,
        "request_id": "0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b",
        "batch": {"id": "0d2f4c31-8f0e-4b3a-9a52-6a7c5f1d2e3b", "name": "tuesday"},
        "lane": "hcs",
        "priority": "normal",
        "submitted_at": "2026-01-31T10:00:00Z",
        "submitted_by": {"host": "phenix1"},
        "source": {
            "share": "hcs",
            "path": "plate1/Images/Index.idx.xml",
            "format": "harmony",
            "manifest": {"files": 1, "bytes": 1, "digest": "0" * 64},
        },
        "owner": {"user": "alice", "group": "screening"},
        "target": "Screen:+name:X",
    }


class TestSettingsPage:
    """settings.md."""

    def test_every_variable_that_it_names_is_read(self, pages: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Given each documented variable alone with a value of its type, the settings change."""
        variables = [(cells[1], cells[-1]) for cells in rows(pages["settings.md"]) if len(cells) == 5]
        assert len(variables) > 30
        for kind, variable in variables:
            with monkeypatch.context() as environment:
                for needed, value in NEEDED.get(variable, {}).items():
                    environment.setenv(needed, value)
                plain = load().model_dump()
                environment.setenv(variable, a_value(kind, variable))
                assert load().model_dump() != plain, variable

    def test_it_has_every_field(self, pages: dict[str, str]) -> None:
        named = [cells[0] for cells in rows(pages["settings.md"])]
        groups = [getattr(field.annotation, "model_fields", {}) for field in Settings.model_fields.values()]
        fields = [name for group in groups for name in group]

        assert set(fields) <= set(named)

    def test_what_depends_on_the_host_is_named_not_shown(self, pages: dict[str, str]) -> None:
        defaults = {cells[4]: cells[2] for cells in rows(pages["settings.md"]) if len(cells) == 5}
        assert defaults["OMERO_FLEET_WORKER__NAME"] == "the host's name"
        assert defaults["OMERO_FLEET_PRODUCER__HOST"] == "the host's name"


SPECIAL = {
    "POD_DELETION_COST": "true",  # the one that is off by default
    "SMTP_SECURITY": "tls",  # the first word is the default
    "SCAN__NETWORK": "any",
    "_URL": "https://another.example.org",
    "MAIL_FROM": "one@example.org",
    "MAIL_TO": '["one@example.org"]',
    "FOLDERS": '[{"path": "/one"}]',
    "RULES": '[{"user": "one"}]',
}
"""Values of variables that do not take any word."""
NEEDED = {"OMERO_FLEET_IN_PLACE__SHARES": {"OMERO_FLEET_IN_PLACE__REPOSITORY": "/one"}}
"""What some of them say nothing without."""


def a_value(kind: str, variable: str) -> str:
    """A value of a documented type that is no field's default."""
    special = next((value for ending, value in SPECIAL.items() if variable.endswith(ending)), "")
    if special:
        return special
    if kind.startswith("table"):
        return '{"one": {}}' if "table of table" in kind else '{"one": "/two"}'
    if kind.startswith("list"):
        return "[7]" if kind.startswith("list of integer") else '["one"]'
    if kind.startswith(("integer", "number")):
        least = re.search(r", (\d+) to", kind)
        return "0.5" if kind.endswith(" 0 to 0.9") else str(max(7, int(least[1]))) if least else "7"
    if kind == "boolean":
        return "false"
    return kind.partition(": ")[2].split(", ")[0] if ":" in kind else "another"


class TestTables:
    """exit-codes.md, reasons.md, metrics.md."""

    def test_every_exit_code_is_there_with_its_meaning(self, pages: dict[str, str]) -> None:
        assert [(int(code), meaning) for code, _, meaning in rows(pages["exit-codes.md"])] == [
            (int(one), one.meaning) for one in Exit
        ]

    def test_every_reason_is_there_with_what_to_do(self, pages: dict[str, str]) -> None:
        assert {cells[0]: cells[-1] for cells in rows(pages["reasons.md"])} == {
            str(reason): RULES[reason].next_action for reason in Reason
        }

    def test_only_what_is_tried_again_has_attempts_and_waits(self, pages: dict[str, str]) -> None:
        for reason, verdict, attempts, wait, *_ in rows(pages["reasons.md"]):
            assert bool(attempts) == bool(wait) == (verdict == "transient"), reason

    def test_every_metric_that_is_served_is_there(self, pages: dict[str, str]) -> None:
        registry = CollectorRegistry()
        Metrics(registry)
        registry.register(Catalogue())
        processes = (registry, ProducerMetrics().registry, NotifyMetrics().registry)
        families = [family for one in processes for family in one.collect()]
        served = {family.name for family in families if family.name.startswith("omero_")}
        named = {re.sub(r"_(total|info)$", "", cells[0]) for cells in rows(pages["metrics.md"]) if len(cells) == 4}

        assert named == served


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


class TestCommandsPage:
    """commands.md."""

    def test_every_command_is_there(self, pages: dict[str, str]) -> None:
        entries = importlib.metadata.entry_points(group=ENTRY_POINTS)
        paths = [(entry.name, *path) for entry in entries for path in commands(entry.load())]
        titles = set(re.findall(r"(?m)^## (.*)$", pages["commands.md"]))

        assert titles == {"omero-fleet", *(" ".join(("omero-fleet", *path)) for path in paths)}

    def test_the_help_is_what_the_command_prints(self, pages: dict[str, str]) -> None:
        printed = CliRunner().invoke(omero_fleet, ["submit", "--help"], terminal_width=110).output
        words = pages["commands.md"].partition("## omero-fleet submit")[2].partition("```text")[2].partition("```")[0]

        assert words.split() == printed.split()

    def test_examples_keep_their_lines(self, pages: dict[str, str]) -> None:
        r"""Given an example, it stands on lines of its own: click saw the control character, not a \ and a b."""
        assert "\\b" not in pages["commands.md"]
        assert len(re.findall(r"(?m)^ +omero-fleet ", pages["commands.md"])) >= 10

"""The how-tos: their commands parse, their settings load, their links lead somewhere, their example works."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from fleet_common.errors import Permanent, Reason
from fleet_common.plates import PlateFormat, problems
from fleet_common.settings import load
from fleet_common.storage import Share, ShareReader, measure
from fleet_stack.rabbitmq.permissions import users
from support.commandlines import commands, understand

ROOT = Path(__file__).resolve().parents[2]
HOW_TOS = sorted((ROOT / "docs/how-to").glob("*.md"))
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/runbook.md")]
WRITTEN = [*HOW_TOS, *sorted((ROOT / "docs/explanation").glob("*.md")), *OTHERS]
"""What people wrote; the pages of the reference are made from the code."""
PAGES = [*WRITTEN, *sorted((ROOT / "docs/reference").glob("*.md"))]
RULES = ROOT / "charts/omero-import-fleet/files/rules/omero-import-fleet.yaml"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def command_lines(program: str) -> Iterator[tuple[str, list[str]]]:
    """Every line of a page that calls a program, with its page."""
    for page in WRITTEN:
        for block in blocks(page, "(?:bash|sh)"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and Path(words[0]).name == program:
                    yield f"{page.name}: {line.strip()}", words[1:]


FLEET_LINES = dict(command_lines("omero-fleet"))


def test_there_are_commands_to_try() -> None:
    assert len(FLEET_LINES) >= 40
    assert {line.partition(":")[0] for line in FLEET_LINES} >= {"README.md", "runbook.md", "dead-letters.md"}


@pytest.mark.parametrize("line", FLEET_LINES)
def test_the_fleets_commands_are_understood(line: str) -> None:
    understand(FLEET_LINES[line])


@pytest.mark.parametrize("page", [*WRITTEN, RULES], ids=lambda page: page.name)
def test_commands_that_stand_in_a_sentence_exist(page: Path) -> None:
    """Given `omero-fleet` and a word, in code or in the text of an alert, then that word is a command."""
    text = " ".join(page.read_text(encoding="utf-8").split())
    before = "" if page == RULES else "`"
    for word in re.findall(rf"{before}\bomero-fleet ([a-z]+)\b", text):
        assert word in commands(), word


@pytest.mark.parametrize(("line", "words"), list(command_lines("make")))
def test_targets_of_make_exist(line: str, words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for names in re.findall(r"(?m)^([a-z -]+):", makefile) for name in names.split()}
    variables = set(re.findall(r"(?m)^([A-Z_]+) \?=", makefile))
    given = {word for word in words if "=" in word}
    assert set(words) - given <= targets, line
    assert {word.partition("=")[0] for word in given} <= variables, line


@pytest.mark.parametrize("page", HOW_TOS, ids=lambda page: page.name)
def test_files_that_commands_name_exist(page: Path) -> None:
    for block in blocks(page, "bash"):
        for file in re.findall(r"(?<![\w/~.-])(?:tools|requirements|charts)/[\w./-]+", block):
            assert (ROOT / file).exists(), f"{page.name}: {file}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", ["submit-a-plate.md", "watch-a-folder.md", "run-a-worker.md"])
def test_settings_are_accepted(page: str, tmp_path: Path) -> None:
    found = blocks(ROOT / "docs/how-to" / page, "toml")
    assert found
    for text in found:
        (tmp_path / "fleet.toml").write_text(text, encoding="utf-8")
        load(tmp_path / "fleet.toml")


def test_broker_users_are_those_of_the_tests() -> None:
    """Given the users that every test of the broker runs with, the page shows the same patterns."""
    page = (ROOT / "docs/how-to/broker-users.md").read_text(encoding="utf-8").replace("\\|", "|")
    rows = {tuple(re.findall(r"`([^`]*)`", line)): line for line in page.splitlines() if line.startswith("| `")}

    for user in users(("phenix1",)):
        name = next(row for row in rows if row[0] == user.name and user.configure in row)
        assert tuple(part for part in name if part.startswith("^")) == (user.configure, user.write, user.read)
        assert all(tag in rows[name] for tag in user.tags)
        for topic in user.topics:
            assert (user.name, topic.exchange, topic.write, topic.read) in rows


@pytest.fixture(scope="module")
def example() -> PlateFormat:
    """The format of the how-to, made of the very text."""
    (text,) = blocks(ROOT / "docs/how-to/write-a-plate-format.md", "python")
    names: dict[str, Any] = {"__name__": "wells_csv"}
    exec(compile(text, "write-a-plate-format.md", "exec"), names)  # noqa: S102  the text is the project's own
    made: PlateFormat = names["WellsCsv"]()
    return made


class TestExampleFormat:
    """The example of write-a-plate-format.md, on a real folder."""

    def plate_folder(self, root: Path, index: str) -> Share:
        (root / "plate1").mkdir()
        (root / "plate1/wells.csv").write_text(index, encoding="utf-8")
        (root / "plate1/A03.tif").write_bytes(b"II*")
        return Share("hcs", root)

    def test_it_finds_and_reads_a_plate(self, example: PlateFormat, tmp_path: Path) -> None:
        share = self.plate_folder(tmp_path, "0,2,A03.tif\n1,0,B01.tif\n")
        with ShareReader(share) as reader:
            entry = example.find_entry(PurePosixPath("plate1"), reader)
            assert entry == PurePosixPath("plate1/wells.csv")
            plate = example.read(entry, reader)

        assert plate.files == ("plate1/wells.csv", "plate1/A03.tif", "plate1/B01.tif")
        assert plate.expected is not None
        assert plate.expected.wells == {(0, 2), (1, 0)}
        (missing,) = problems(plate, measure(share, plate.files))
        assert missing.path == "plate1/B01.tif"

    def test_it_is_short(self) -> None:
        """Forty lines are what a facility needs."""
        (text,) = blocks(ROOT / "docs/how-to/write-a-plate-format.md", "python")
        assert len(text.splitlines()) <= 40

    def test_a_file_outside_the_plate_is_refused(self, example: PlateFormat, tmp_path: Path) -> None:
        share = self.plate_folder(tmp_path, "0,2,../A03.tif\n")
        with ShareReader(share) as reader, pytest.raises(Permanent) as caught:
            example.read(PurePosixPath("plate1/wells.csv"), reader)
        assert caught.value.reason is Reason.UNSAFE_PATH

    def test_it_leaves_other_paths_to_others(self, example: PlateFormat, tmp_path: Path) -> None:
        share = self.plate_folder(tmp_path, "")
        with ShareReader(share) as reader:
            assert example.find_entry(PurePosixPath("plate1/A03.tif"), reader) is None

    def test_a_broken_index_is_named_with_its_line(self, example: PlateFormat, tmp_path: Path) -> None:
        share = self.plate_folder(tmp_path, "0,2,A03.tif\nnonsense\n")
        with ShareReader(share) as reader, pytest.raises(Permanent, match="line 2") as caught:
            example.read(PurePosixPath("plate1/wells.csv"), reader)
        assert caught.value.reason is Reason.FORMAT_BROKEN

    def test_its_entry_point_is_in_the_group_that_the_fleet_asks(self) -> None:
        (text,) = blocks(ROOT / "docs/how-to/write-a-plate-format.md", "toml")
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert tomllib.loads(text)["project"]["entry-points"].keys() <= project["entry-points"].keys()

"""The command omero-fleet: its subcommands, its exit codes, and hosts where packages are missing."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fleet_common import cli
from fleet_common.broker import BrokerUnavailable
from fleet_common.errors import FleetError, Reason, UsageError, failure
from fleet_common.exits import Exit

ROOT = Path(__file__).parents[2]
NAMES = sorted(entry.name for entry in importlib.metadata.entry_points(group=cli.ENTRY_POINTS))

BLOCKER = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from fleet_common.cli import main
main({arguments!r})
"""


def without(blocked: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a Python that lacks some packages."""
    program = BLOCKER.format(blocked=blocked, arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60, env={"PATH": ""}
    )


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)


# --- hosts without OMERO -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["submit", "plate", "status", "follow", "topology", "config", "cancel", "pause"])
def test_a_command_that_needs_no_omero_works_without_it(command: str) -> None:
    """Acquisition hosts have no omero-py, no Ice and no mmh3."""
    ended = without({"omero", "Ice", "Glacier2", "mmh3", "fleet_worker"}, command, "--help")
    assert (ended.returncode, ended.stderr) == (Exit.OK, "")
    assert ended.stdout.startswith(f"Usage: omero-fleet {command}")


def test_work_says_what_to_install_where_omero_is_missing() -> None:
    """Without a traceback, with the usage code."""
    ended = without({"omero", "Ice", "Glacier2"}, "work", "--help")
    assert ended.returncode == Exit.USAGE
    assert re.fullmatch(
        r"Error: work needs the package (omero|Ice): pip install 'omero-import-fleet\[worker\]'\n", ended.stderr
    )


def test_the_list_of_commands_works_where_a_package_is_missing() -> None:
    """It loads none of them."""
    ended = without({"omero", "Ice", "fleet_worker", "fleet_producer"}, "--help")
    assert (ended.returncode, ended.stderr) == (Exit.OK, "")
    assert all(f"  {name} " in ended.stdout for name in NAMES)


# --- commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_a_summary_and_an_example(name: str) -> None:
    """In the list, and in its own help; a group has them in its commands."""
    assert cli._SUMMARIES[name].endswith(".")
    command = cli.omero_fleet.get_command(click.Context(cli.omero_fleet), name)
    assert command is not None
    leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for leaf in leaves:
        assert leaf.help is not None
        assert f"omero-fleet {name}" in leaf.help or f" {name} " in leaf.help
        assert "Examples:" in leaf.help


def test_the_list_has_no_command_that_is_not_there() -> None:
    """Summaries are kept beside the names."""
    assert sorted(cli._SUMMARIES) == NAMES


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    """Of what is installed."""
    assert cli.run(["--version"]) == Exit.OK
    assert importlib.metadata.version("omero-import-fleet") in capsys.readouterr().out


def test_an_entry_point_that_is_no_command_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by its name."""
    entry = importlib.metadata.EntryPoint("broken", "json:loads", cli.ENTRY_POINTS)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [entry])
    with pytest.raises(TypeError, match="broken is no command"):
        cli.omero_fleet.get_command(click.Context(cli.omero_fleet), "broken")


# --- exit codes ----------------------------------------------------------------------------------------------------

ENDINGS: list[tuple[str, object, Exit]] = [
    ("nothing", None, Exit.OK),
    ("a code", Exit.DIFFERENT, Exit.DIFFERENT),
    ("a usage error of ours", UsageError("no such share"), Exit.USAGE),
    ("a usage error of click", click.UsageError("no such option"), Exit.USAGE),
    ("Ctrl-C", KeyboardInterrupt(), Exit.INTERRUPTED),
    ("an answered no", click.Abort(), Exit.INTERRUPTED),
    ("no broker", BrokerUnavailable("no connection"), Exit.UNREACHABLE),
    ("no OMERO", failure(Reason.OMERO_UNAVAILABLE, "no route"), Exit.UNREACHABLE),
    ("a busy OMERO", failure(Reason.OMERO_BUSY, "no route"), Exit.UNREACHABLE),
    ("another failure", failure(Reason.FORMAT_BROKEN, "no XML"), Exit.FAILED),
    ("an error without a reason", FleetError("strange"), Exit.FAILED),
]


@pytest.mark.parametrize(("ending", "expected"), [row[1:] for row in ENDINGS], ids=[row[0] for row in ENDINGS])
def test_a_command_ends_with_the_documented_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ending: object, expected: Exit
) -> None:
    """And says why on standard error."""

    def run() -> object:
        if isinstance(ending, BaseException):
            raise ending
        return ending

    monkeypatch.setattr(cli.omero_fleet, "get_command", lambda _ctx, _name: click.Command("try", callback=run))
    assert cli.run(["try"]) == expected
    captured = capsys.readouterr()
    assert captured.out == ""
    if isinstance(ending, FleetError | click.UsageError):
        assert str(ending) in captured.err


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python ends it with 1, which is FAILED."""

    def run() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.omero_fleet, "get_command", lambda _ctx, _name: click.Command("try", callback=run))
    with pytest.raises(ZeroDivisionError):
        cli.run(["try"])
    assert int(Exit.FAILED) == 1


def test_an_error_is_shown_without_secrets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses have credentials in them."""

    def run() -> None:
        raise BrokerUnavailable("cannot reach amqp://worker:hunter2@rabbit")

    monkeypatch.setattr(cli.omero_fleet, "get_command", lambda _ctx, _name: click.Command("try", callback=run))
    cli.run(["try"])
    assert capsys.readouterr().err == "omero-fleet: cannot reach amqp://***@rabbit\n"


def test_a_command_that_is_not_there_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Named."""
    assert cli.run(["sumbit"]) == Exit.USAGE
    assert "No such command 'sumbit'" in capsys.readouterr().err


def test_exit_codes_never_change_and_each_has_a_meaning() -> None:
    """Scripts depend on them."""
    assert {code.name: int(code) for code in Exit} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "REFUSED": 3,
        "NOT_CONFIRMED": 4,
        "NOT_PUBLISHED": 5,
        "DEAD": 6,
        "STILL_WAITING": 7,
        "DIFFERENT": 8,
        "UNREACHABLE": 9,
        "NOT_FOUND": 10,
        "TOO_LATE": 11,
        "NOT_KEPT": 12,
        "UNFIT": 13,
        "INTERRUPTED": 130,
    }
    assert all(code.meaning.endswith(".") for code in Exit)
    assert "may safely follow" in Exit.NOT_CONFIRMED.meaning


# --- config show ---------------------------------------------------------------------------------------------------


def test_config_show_never_shows_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither from the environment nor from a file; the rest is JSON as it holds."""
    secret = tmp_path / "secret"
    secret.write_text("hunter3", encoding="utf-8")
    config = tmp_path / "worker.toml"
    config.write_text(f'[omero]\nhost = "omero"\npassword_file = "{secret}"\n', encoding="utf-8")
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD", "hunter2")
    monkeypatch.setenv("OMERO_FLEET_BROKER__HOST", "rabbit")
    assert cli.run(["--config", str(config), "config", "show"]) == Exit.OK
    out = capsys.readouterr().out
    shown = json.loads(out)
    assert (shown["omero"]["host"], shown["broker"]["host"]) == ("omero", "rabbit")
    assert shown["omero"]["password_file"] == str(secret)
    assert shown["broker"]["password"] == "**********"
    assert "hunter" not in out


def test_the_settings_file_may_be_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container."""
    config = tmp_path / "worker.toml"
    config.write_text('[omero]\nhost = "from-the-file"\n', encoding="utf-8")
    monkeypatch.setenv("OMERO_FLEET_CONFIG", str(config))
    assert cli.run(["config", "show"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["omero"]["host"] == "from-the-file"


def test_wrong_settings_are_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By file and key."""
    config = tmp_path / "worker.toml"
    config.write_text("[omero]\nprot = 4064\n", encoding="utf-8")
    assert cli.run(["--config", str(config), "config", "show"]) == Exit.USAGE
    assert f"settings ({config}): omero.prot: Extra inputs are not permitted" in capsys.readouterr().err


def test_work_without_a_lane_says_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    """A worker without an allow-list could only refuse."""
    assert cli.run(["work"]) == Exit.USAGE
    assert "no lane: give worker.lanes in the settings, each with its allow-list" in capsys.readouterr().err

"""Debian packages: only what is missing is installed, and PostgreSQL does not start a database of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_stack import apt
from fleet_stack.console import StackError


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What would have been run, as root, with every package known but those that begin with `no-`."""
    recorded: list[list[str]] = []

    def record(command: list[str], **_: object) -> str:
        recorded.append([str(word) for word in command])
        if command[0] == "apt-cache" and command[-1].startswith("no-"):
            raise StackError("no such package")
        return ""

    monkeypatch.setenv("FLEET_CACHE", str(tmp_path))
    monkeypatch.setattr(apt, "run", record)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(apt, "CLUSTER_SETTINGS", tmp_path / "createcluster.conf")
    return recorded


def installed(commands: list[list[str]]) -> list[list[str]]:
    return [command[len(apt.INSTALL) :] for command in commands if "install" in command]


def test_nothing_is_run_when_all_is_there(commands: list[list[str]]) -> None:
    apt.ensure({"a-shell": "sh", "a-folder": "/usr/b*n", "a-file": "/etc/passwd"})
    assert commands == []


def test_what_is_missing_is_installed_after_an_update(commands: list[list[str]]) -> None:
    apt.ensure({"a-shell": "sh", "ghost": "no-such-program", "spirit": "/no/such/*/file"})
    assert "update" in commands[0]
    assert installed(commands) == [["ghost", "spirit"]]


def test_the_first_known_alternative_is_taken(commands: list[list[str]]) -> None:
    apt.ensure({"no-java|some-java|other-java": "no-such-program"})
    assert installed(commands) == [["some-java"]]


@pytest.mark.usefixtures("commands")
def test_an_unknown_package_is_named() -> None:
    with pytest.raises(StackError, match="none of the packages no-java, no-jdk"):
        apt.ensure({"no-java|no-jdk": "no-such-program"})


def test_postgresql_is_told_not_to_create_a_cluster_first(commands: list[list[str]], tmp_path: Path) -> None:
    """Given no PostgreSQL, when it is installed, then its common package is configured before the server arrives."""
    apt.ensure({"postgresql": "no-such-program"})
    assert installed(commands) == [["postgresql-common"], ["postgresql"]]
    assert (tmp_path / "createcluster.conf").read_text() == "create_main_cluster = false\n"


@pytest.mark.usefixtures("commands")
def test_whoever_is_not_root_is_told_what_root_must_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(StackError, match=r"apt-get install -y ghost java$"):
        apt.ensure({"a-shell": "sh", "ghost": "no-such-program", "java|other": "no-such-program"})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "create_main_cluster = false\n"),
        ("data = x\n", "data = x\ncreate_main_cluster = false\n"),
        ("#create_main_cluster = true", "#create_main_cluster = true\ncreate_main_cluster = false\n"),
        ("create_main_cluster = false\nx = y\n", "create_main_cluster = false\nx = y\n"),
    ],
)
def test_the_setting_is_added_once(before: str, after: str) -> None:
    assert apt.without_cluster(before) == after
    assert apt.without_cluster(after) == after

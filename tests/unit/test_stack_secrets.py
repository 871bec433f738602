"""Passwords are made once, are hard to guess, and only their owner can read them."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet_stack.console import StackError
from fleet_stack.layout import Layout
from fleet_stack.secrets import secret, secret_file


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("FLEET_STATE", str(tmp_path / "state"))
    return Layout.for_name("demo")


def test_a_secret_stays_the_same(layout: Layout) -> None:
    assert secret(layout, "broker-worker") == secret(layout, "broker-worker")


def test_two_secrets_differ(layout: Layout) -> None:
    assert secret(layout, "broker-worker") != secret(layout, "broker-topology")


def test_a_secret_needs_no_quoting_in_urls_and_configuration(layout: Layout) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", secret(layout, "a"))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_can_read_it(layout: Layout, umask: int) -> None:
    before = os.umask(umask)
    try:
        secret(layout, "a")
    finally:
        os.umask(before)
    assert secret_file(layout, "a").stat().st_mode & 0o777 == 0o600
    assert layout.secrets.stat().st_mode & 0o777 == 0o700


def test_a_secret_that_an_operator_put_there_is_kept(layout: Layout) -> None:
    layout.secrets.mkdir(parents=True)
    secret_file(layout, "a").write_text("chosen by hand\n")
    assert secret(layout, "a") == "chosen by hand"


def test_many_makers_agree_on_one_secret(layout: Layout) -> None:
    """Given a secret that nobody made yet, when many ask at once, then all get the same and nothing is left over."""
    with ThreadPoolExecutor(8) as pool:
        values = set(pool.map(lambda _: secret(layout, "a"), range(64)))
    assert len(values) == 1
    assert [path.name for path in layout.secrets.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "A", "a b", "a\n"])
def test_names_that_leave_the_folder_are_refused(layout: Layout, name: str) -> None:
    with pytest.raises(StackError, match="no name of a secret"):
        secret(layout, name)
    assert not layout.state.exists()

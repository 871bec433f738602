"""Folders and ports of a stack follow from its name, and no two stacks get in each other's way."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_stack.console import StackError
from fleet_stack.layout import (
    FIRST_PORT,
    PLACES,
    PORTS_EACH,
    Layout,
    Ports,
    cache_root,
    locked,
    state_root,
    write_whole,
)

EPHEMERAL_FROM = 32768


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEET_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("FLEET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "state"


def all_ports(ports: Ports) -> list[int]:
    return [getattr(ports, field.name) for field in fields(ports)] + list(ports.spare)


@given(place=st.integers(min_value=0, max_value=PLACES - 1))
def test_every_port_is_different_and_below_those_that_linux_hands_out(place: int) -> None:
    ports = all_ports(Ports.from_base(FIRST_PORT + place * PORTS_EACH))
    assert len(ports) == len(set(ports)) == PORTS_EACH
    assert min(ports) >= FIRST_PORT
    assert max(ports) < EPHEMERAL_FROM


def test_the_same_name_has_the_same_layout_again(root: Path) -> None:
    assert Layout.for_name("demo") == Layout.for_name("demo")
    assert Layout.for_name("demo").state == root / "demo"


def test_other_names_have_other_ports(root: Path) -> None:
    bases = {Layout.claim(f"stack-{number}").base_port for number in range(20)}
    assert len(bases) == 20
    assert len(list(root.iterdir())) == 21, "twenty stacks and one lock file"


def test_asking_for_a_layout_writes_nothing(root: Path) -> None:
    Layout.for_name("demo")
    assert not root.exists()


def test_a_claim_is_remembered(root: Path) -> None:
    """Given a stack whose ports were recorded, when its name would lead elsewhere, then the record wins."""
    claimed = Layout.claim("demo")
    record = root / "demo" / "stack.json"
    assert json.loads(record.read_text())["base_port"] == claimed.base_port
    record.write_text(json.dumps({"base_port": 20040}))
    assert Layout.for_name("demo").base_port == 20040
    assert Layout.claim("demo").ports.amqp == 20040


def test_a_stack_moves_on_when_another_one_has_its_ports(root: Path) -> None:
    """Given another stack of the same root on the ports that the name leads to, then the next place is taken."""
    wanted = Layout.for_name("demo").base_port
    (root / "other").mkdir(parents=True)
    (root / "other" / "stack.json").write_text(json.dumps({"base_port": wanted}))
    expected = FIRST_PORT + ((wanted - FIRST_PORT) // PORTS_EACH + 1) % PLACES * PORTS_EACH
    assert Layout.for_name("demo").base_port == expected
    assert Layout.claim("demo").base_port == expected


@pytest.mark.usefixtures("root")
def test_a_claim_moves_on_when_a_port_is_used_by_another_program() -> None:
    wanted = Layout.for_name("demo")
    with contextlib.ExitStack() as taken:
        # Where the port is taken already, as by a demo that still runs, that is the other program.
        with contextlib.suppress(OSError):
            taken.enter_context(socket.create_server(("127.0.0.1", wanted.ports.web)))
        assert Layout.claim("demo").base_port != wanted.base_port


@pytest.mark.usefixtures("root")
def test_a_running_stack_keeps_its_ports() -> None:
    claimed = Layout.claim("demo")
    with socket.create_server(("127.0.0.1", claimed.ports.amqp)):
        assert Layout.claim("demo") == claimed
        assert Layout.for_name("demo") == claimed


def test_no_place_left_is_an_error_that_says_what_to_do(root: Path) -> None:
    for place in range(PLACES):
        (root / f"s{place}").mkdir(parents=True)
        (root / f"s{place}" / "stack.json").write_text(json.dumps({"base_port": FIRST_PORT + place * PORTS_EACH}))
    with pytest.raises(StackError, match="wipe one"):
        Layout.claim("demo")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"base_port": "many"}'])
def test_a_damaged_record_is_an_error_that_names_the_file(root: Path, text: str) -> None:
    (root / "demo").mkdir(parents=True)
    (root / "demo" / "stack.json").write_text(text)
    with pytest.raises(StackError, match=r"stack\.json is damaged"):
        Layout.for_name("demo")


@pytest.mark.parametrize("name", ["", "Demo", "-demo", "a/b", "..", "a b", "x" * 32, "demo\n", "ü"])
@pytest.mark.usefixtures("root")
def test_names_that_make_no_safe_folder_are_refused(name: str) -> None:
    with pytest.raises(StackError, match="no name of a stack"):
        Layout.for_name(name)


def test_every_folder_is_below_the_state(root: Path) -> None:
    layout = Layout.for_name("demo")
    folders = (layout.secrets, layout.certificates, layout.rabbitmq, layout.postgres, layout.omero, layout.web)
    assert len({*folders, layout.log, layout.record}) == 8
    assert all(folder.parent == root / "demo" for folder in (*folders, layout.log, layout.record))


def test_the_users_of_databases_may_enter_whatever_the_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        Layout.claim("demo")
    finally:
        os.umask(before)
    assert root.stat().st_mode & 0o777 == 0o755
    assert (root / "demo").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("euid", "environment", "state", "cache"),
    [
        (0, {}, "/var/lib/omero-import-fleet", "/var/cache/omero-import-fleet"),
        (1000, {"HOME": "/p/a"}, "/p/a/.local/state/omero-import-fleet", "/p/a/.cache/omero-import-fleet"),
        (1000, {"XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c"}, "/s/omero-import-fleet", "/c/omero-import-fleet"),
        (1000, {"FLEET_STATE": "/mine", "XDG_STATE_HOME": "/s", "HOME": "/h"}, "/mine", "/h/.cache/omero-import-fleet"),
        (0, {"FLEET_STATE": "/mine", "FLEET_CACHE": "/yours"}, "/mine", "/yours"),
        (0, {"FLEET_STATE": "", "FLEET_CACHE": ""}, "/var/lib/omero-import-fleet", "/var/cache/omero-import-fleet"),
    ],
)
def test_where_the_roots_are(
    monkeypatch: pytest.MonkeyPatch, euid: int, environment: dict[str, str], state: str, cache: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: euid)
    assert (str(state_root(environment)), str(cache_root(environment))) == (state, cache)


def test_two_holders_of_a_lock_take_turns(tmp_path: Path) -> None:
    """Given a held lock, when another thread asks for it, then it gets it only after the first one let go."""
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait(10)
        with locked(tmp_path / "lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked(tmp_path / "lock"):
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "one")
    write_whole(tmp_path / "file", "two")
    assert (tmp_path / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

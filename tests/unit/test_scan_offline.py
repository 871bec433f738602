"""What starts the scan's child: the program behind it opens no socket and looks into no other process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_worker.scan import offline, why_online

STARTER = (sys.executable, "-I", offline.__file__)
TRIES = """
import ctypes, json, os, socket, subprocess, sys

def tried(work):
    try:
        work()
    except OSError as error:
        return error.errno
    return 0

def call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)

def another():
    code = "import socket; socket.socket()"
    if subprocess.run([sys.executable, "-I", "-c", code], stderr=subprocess.DEVNULL).returncode:
        raise OSError(13, "socket")

print(json.dumps({
    "internet": tried(lambda: socket.socket(socket.AF_INET)),
    "internet, version 6": tried(lambda: socket.socket(socket.AF_INET6)),
    "datagrams": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
    "sockets in folders": tried(lambda: socket.socket(socket.AF_UNIX)),
    "a process of its own": tried(another),
    "memory of another process": tried(lambda: call("process_vm_readv", os.getppid(), None, 0, None, 0, 0)),
    "tracing": tried(lambda: call("ptrace", 16, os.getppid(), None, None)),
    "files": tried(lambda: os.listdir("/")),
    "pipes": tried(lambda: os.pipe()),
}))
"""
REFUSED = 13


@pytest.fixture(scope="module")
def tried() -> dict[str, int]:
    """What came of each thing that a program tried which was started so; 0 where it was let."""
    done = subprocess.run([*STARTER, sys.executable, "-I", "-c", TRIES], capture_output=True, check=True)
    result: dict[str, int] = json.loads(done.stdout)
    return result


def test_no_socket_of_any_kind_can_be_opened(tried: dict[str, int]) -> None:
    """Neither the internet's nor those of services on the same host, nor by what it starts itself."""
    kinds = ("internet", "internet, version 6", "datagrams", "sockets in folders", "a process of its own")
    assert {kind: tried[kind] for kind in kinds} == dict.fromkeys(kinds, REFUSED)


def test_no_other_process_can_be_looked_into(tried: dict[str, int]) -> None:
    """The worker's own has passwords and connections."""
    assert (tried["memory of another process"], tried["tracing"]) == (REFUSED, REFUSED)


def test_files_and_pipes_work(tried: dict[str, int]) -> None:
    """A reader needs both."""
    assert (tried["files"], tried["pipes"]) == (0, 0)


def test_it_can_be_set_where_filters_are_set_already() -> None:
    """As a container runtime does: filters add up."""
    assert subprocess.run([*STARTER, *STARTER, "true"], check=False).returncode == 0
    assert why_online() == ""


@pytest.mark.parametrize(("platform", "machine"), [("darwin", "x86_64"), ("linux", "riscv64")])
def test_nothing_is_started_where_no_filter_is_known(
    monkeypatch: pytest.MonkeyPatch, platform: str, machine: str
) -> None:
    """Rather than with the network."""
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(SystemExit) as ended:
        offline.main(["true"])
    assert f"no filter is known for {platform} on {machine}" in str(ended.value.code)


@pytest.mark.parametrize("machine", offline._MACHINES)
def test_every_jump_of_a_filter_ends_at_a_verdict(machine: str) -> None:
    """Calls of another kind of processor kill, those that are named are refused, all others are let through."""
    audit, refused = offline._MACHINES[machine]
    steps = offline.steps_for(machine)
    assert judged(steps, audit, 0) == offline._ALLOW
    assert {judged(steps, audit, call) for call in (*refused, offline._OTHER_CALLS)} == {offline._REFUSE}
    assert judged(steps, audit ^ 1, 0) == offline._KILL


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its name, not by a trace."""
    done = subprocess.run([*STARTER, str(tmp_path / "java")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "No such file or directory\n")


def judged(steps: bytes, audit: int, call: int) -> int:
    """What the kernel makes of a call, played in Python."""
    data, place, loaded = {offline._AUDIT_AT: audit, offline._CALL_AT: call}, 0, 0
    while True:
        code, when_true, when_false, value = offline._STEP.unpack_from(steps, place * offline._STEP.size)
        if code == offline._RETURN:
            return int(value)
        if code == offline._LOAD:
            loaded, jump = data[value], 0
        else:
            holds = loaded == value if code == offline._IF_EQUAL else loaded >= value
            jump = when_true if holds else when_false
        place += 1 + jump

"""Processes are known by an identity that is never mistaken for another, and end when told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_stack.console import StackError
from fleet_stack.processes import accepts, detached, end, identity, identity_in, is_running, wait_until

SLEEPS = "import time; print('here', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)"
)


def start(code: str, folder: Path) -> str:
    log = folder / "log" / "out"
    process = detached([sys.executable, "-c", code], env=os.environ, cwd=folder, log=log)
    wait_until(lambda: "here" in log.read_text(), 20, "the child", process)
    return process


def test_a_detached_process_runs_in_a_session_of_its_own(tmp_path: Path) -> None:
    process = start(SLEEPS, tmp_path)
    pid = int(process.partition("/")[0])
    try:
        assert is_running(process)
        assert identity(pid) == process
        assert os.getsid(pid) == pid
    finally:
        assert end(process, 10)
    assert not is_running(process)
    assert identity(pid) is None


def test_a_process_that_somebody_else_killed_is_reaped_by_who_asks(tmp_path: Path) -> None:
    """Given a server that crashed, when its part looks, then nothing of it waits for the end of this process."""
    process = start(SLEEPS, tmp_path)
    pid = int(process.partition("/")[0])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(process), 20, "the end of the child")
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_ending_a_process_twice_is_no_error(tmp_path: Path) -> None:
    process = start(SLEEPS, tmp_path)
    assert end(process, 10)
    assert end(process, 10)
    assert end(None, 10)


def test_a_stubborn_process_is_killed_after_the_patience(tmp_path: Path) -> None:
    process = start(STUBBORN, tmp_path)
    assert not end(process, 0.2)
    assert not is_running(process)


def test_a_kill_is_what_was_asked_for(tmp_path: Path) -> None:
    process = start(STUBBORN, tmp_path)
    assert end(process, 10, signal.SIGKILL)


def test_another_process_with_the_same_number_is_left_alone() -> None:
    """Given a recorded identity whose process id now belongs to somebody else, then it counts as gone."""
    ours = identity(os.getpid())
    assert ours is not None
    recorded = f"{os.getpid()}/1"
    assert recorded != ours
    assert not is_running(recorded)
    assert end(recorded, 0), "this test's own process must survive this"


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    try:
        wait_until(lambda: identity(child.pid) is None, 20, "the end of the child")
        assert child.returncode is None, "nobody has reaped it yet"
    finally:
        child.wait(10)


@pytest.mark.parametrize(
    ("state", "threads", "expected"),
    [("S", 1, "42/777"), ("R", 9, "42/777"), ("Z", 1, None), ("Z", 0, None), ("X", 0, None), ("Z", 2, "42/777")],
)
def test_a_zombie_with_living_threads_still_holds_its_ports(state: str, threads: int, expected: str | None) -> None:
    """Given /proc/PID/stat of a program with an awkward name, then only the last thread's end counts."""
    zeros = ["0"] * 16
    stat = f"42 (a) b (c) {' '.join([state, *zeros, str(threads), '0', '777', '0'])}"
    assert identity_in(stat) == expected


def test_none_does_not_run() -> None:
    assert not is_running(None)


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"cannot start .*no-such-program"):
        detached([tmp_path / "no-such-program"], env={}, cwd=tmp_path, log=tmp_path / "log")


def test_a_port_accepts_only_while_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert accepts(port)
    assert not accepts(port)


def test_waiting_ends_with_the_condition() -> None:
    answers = iter([False, False, True])
    wait_until(lambda: next(answers), 20, "it")
    assert list(answers) == []


def test_waiting_has_a_deadline() -> None:
    with pytest.raises(StackError, match="the broker was not there after 0 s"):
        wait_until(lambda: False, 0.1, "the broker")


def test_waiting_for_a_process_that_ended_is_pointless() -> None:
    with pytest.raises(StackError, match="has ended"):
        wait_until(lambda: False, 60, "the broker", f"{os.getpid()}/1")

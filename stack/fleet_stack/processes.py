"""Processes that outlive the command that started them, known by an identity that is never reused by mistake.

Role: start, recognise, wait for and end servers. Neighbours: the parts (rabbitmq, omero). Threading: any thread may
call anything here; a process is ended by whoever holds its identity.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleet_stack.console import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

POLL_SECONDS: Final = 0.05
KILL_PATIENCE_SECONDS: Final = 10.0
_KILOBYTE: Final = 1024
# Positions after the name in /proc/PID/stat, see proc(5).
STATE_FIELD: Final = 0
THREADS_FIELD: Final = 17
START_TIME_FIELD: Final = 19

# Children of this very process: somebody has to reap them, or they stay as zombies until we end.
_CHILDREN: Final[dict[str, subprocess.Popen[bytes]]] = {}


def identity(pid: int) -> str | None:
    """The process as ``pid/starttime``, which no later process shares; None when it is gone or a zombie."""
    try:
        return identity_in(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return None


def identity_in(stat: str) -> str | None:
    """The identity in the text of a ``/proc/PID/stat``; None when that process is over.

    The first thread of a killed process is a zombie while others still hold its sockets, so a zombie counts as gone
    only when it is the last thread.
    """
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    over = fields[STATE_FIELD] in {"Z", "X"} and int(fields[THREADS_FIELD]) <= 1
    return None if over else f"{head.split()[0]}/{fields[START_TIME_FIELD]}"


def most_memory_bytes() -> int:
    """The most memory that this process ever had; ``ru_maxrss`` would be that of the process that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * _KILOBYTE


def is_running(process: str | None) -> bool:
    """Whether the process with this identity still runs; a child of ours that has ended is reaped."""
    if process is None:
        return False
    runs = identity(_pid(process)) == process
    if not runs:
        _reap(process)
    return runs


def end(process: str | None, patience_seconds: float, first: signal.Signals = signal.SIGTERM) -> bool:
    """End a process by its identity; nothing happens when it is gone.

    Returns:
        True when the first signal was enough, False when it had to be killed after the patience.

    Raises:
        StackError: it does not even end when killed.
    """
    if process is None:
        return True
    for number, patience in ((first, patience_seconds), (signal.SIGKILL, KILL_PATIENCE_SECONDS)):
        if _ends_by(process, number, patience):
            return number == first
    raise StackError(f"process {_pid(process)} does not end, not even killed; look at it with `ps -fp {_pid(process)}`")


def accepts(port: int) -> bool:
    """Whether something accepts TCP connections on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], deadline_seconds: float, what: str, process: str | None = None) -> None:
    """Wait until the condition holds.

    Args:
        condition: asked every 50 ms.
        deadline_seconds: how long at most.
        what: the sentence's subject in the error, such as "RabbitMQ on port 20000".
        process: the identity of a process without which waiting is pointless.

    Raises:
        StackError: the deadline passed, or the process ended.
    """
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        if process is not None and not is_running(process):
            raise StackError(f"{what} is not there: its process {_pid(process)} has ended")
        if time.monotonic() > deadline:
            raise StackError(f"{what} was not there after {deadline_seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def detached(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, log: Path) -> str:
    """Start a server in a session of its own, with its output appended to a log, and return its identity.

    Raises:
        StackError: the program cannot be started or ended at once.
    """
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                words,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise StackError(f"cannot start {words[0]}: {error.strerror}") from error
    known = identity(child.pid)
    if known is None:
        raise StackError(f"{words[0]} ended at once with {child.wait(1)}; see {log}")
    _CHILDREN[known] = child
    return known


def _pid(process: str) -> int:
    return int(process.partition("/")[0])


def _ends_by(process: str, number: signal.Signals, patience_seconds: float) -> bool:
    if is_running(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(_pid(process), number)
    deadline = time.monotonic() + patience_seconds
    while is_running(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _reap(process: str) -> None:
    child = _CHILDREN.pop(process, None)
    if child is not None:
        child.wait(KILL_PATIENCE_SECONDS)

"""How the child is started: its command, its environment, and what it is kept from.

A reader parses files that anybody may have written, in Java that is twenty years old. So the child has

- bounded memory, heap and beside it, and ends where that is full (``-Xmx``, ``ExitOnOutOfMemoryError``);
- a folder for its temporary files, which is removed with it;
- nothing of the worker's environment, where secrets may be, and no descriptor but its pipes;
- no network: it can open no socket of any kind (:mod:`offline`).

Pure but for :func:`bioformats` and :func:`why_online`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import structlog

from fleet_common.errors import UsageError

_LOG = structlog.get_logger()
_PROBE_SECONDS: Final = 10.0
_CLASSES_MB: Final = 256
"""Twice what compiler and readers need."""
_BUFFERS_MB: Final = 64
_OFFLINE: Final = (sys.executable, "-I", str(files(__package__).joinpath("offline.py")))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take.

    Attributes:
        start_seconds: From its start to its first line; a cold Java on a busy host takes many seconds.
        answer_seconds: For one file.
        memory_mb: Heap of the Java process, in MiB.
    """

    start_seconds: float = 120.0
    answer_seconds: float = 300.0
    memory_mb: int = 512


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a child.

    Attributes:
        command: Program and arguments; ``{folder}`` in an argument is its folder for temporary files.
        limits: What it may take.
    """

    command: tuple[str, ...]
    limits: Limits = Limits()

    def arguments(self, folder: Path) -> list[str]:
        """The command of one child."""
        return [part.replace("{folder}", str(folder)) for part in self.command]


def bioformats(jar: Path, limits: Limits, *, must_be_offline: bool = True) -> Launch:
    """Bio-Formats, from its own ``bioformats_package.jar``.

    Args:
        jar: Where that is.
        limits: What the child may take.
        must_be_offline: Whether a child that cannot be kept from the network is refused.

    Raises:
        UsageError: There is no jar or no Java here, or the child would have the network and must not.
    """
    if not jar.is_file():
        raise UsageError(f"{jar} is not there: name bioformats_package.jar in scan.jar")
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        raise UsageError("no Java is on PATH: a scan needs a JDK, such as default-jdk-headless of Debian")
    online = why_online()
    if online and must_be_offline:
        raise UsageError(
            f"the scan's child cannot be kept from the network here ({online}): run the worker on Linux on x86-64 or "
            'arm64, or have it scan all the same with scan.network = "any"'
        )
    return Launch((*(() if online else _OFFLINE), *java_command(java, jar, limits)), limits)


def java_command(java: str, jar: Path, limits: Limits) -> Sequence[str]:
    """Java with the child's program, which it compiles itself when it starts (JEP 330)."""
    return (
        java,
        f"-Xmx{limits.memory_mb}m",
        f"-XX:MaxMetaspaceSize={_CLASSES_MB}m",
        f"-XX:MaxDirectMemorySize={_BUFFERS_MB}m",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "-Djava.awt.headless=true",
        "-Djava.io.tmpdir={folder}",
        "-Duser.home={folder}",
        "-cp",
        str(jar),
        str(files(__package__).joinpath("Scan.java")),
    )


def environment(folder: Path) -> Mapping[str, str]:
    """All that the child knows of its surroundings; under any other locale Java loses file names with an umlaut."""
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)}


@cache
def why_online() -> str:
    """Why this host lets nobody keep the child from the network; empty where it does. Told once in the log."""
    try:
        done = subprocess.run([*_OFFLINE, "true"], capture_output=True, timeout=_PROBE_SECONDS, check=False)
        why = done.stderr.decode(errors="replace").strip()[:200] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    if why:
        _LOG.warning("the scan's child cannot be kept from the network", why=why)
    return why

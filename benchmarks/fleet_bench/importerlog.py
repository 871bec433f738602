"""What the log of the official importer tells: when each file went up, and how long start, scan and login took.

Lines come from ``logback-cli.xml`` beside its jar: local time, milliseconds, thread, level, logger, message.
``Transferring FILE...`` is written just before a file is opened in the server, ``FILE_UPLOAD_COMPLETE: FILE`` after its
``save`` (``ome.formats.importer.transfers.UploadFileTransfer``). Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

_LINE: Final = re.compile(r"^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \d+ +\[.{10}\] \w+ +\S+ - (?P<text>.*)$")
_BEGUN: Final = re.compile(r"^(?:Transferring (?P<path>.+)\.\.\.|FILE_UPLOAD_STARTED: (?P<other>.+))$")
_DONE: Final = re.compile(r"^FILE_UPLOAD_COMPLETE: (?P<path>.+)$")
_SUMMARY: Final = re.compile(r"^(?P<files>\d+) files? uploaded, (?P<filesets>\d+) filesets?.*, 0 errors", re.MULTILINE)
_LOGS_IN: Final = "Attempting initial SSL connection"
_IMPORTS: Final = "FILESET_UPLOAD_PREPARATION"


@dataclass(frozen=True, slots=True)
class Line:
    """One line, with its time in seconds since 1970."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """What one run told.

    Attributes:
        upload_seconds: The sum over the filesets of first file opened to last file saved.
        scan_seconds: From its start until the login begins: Java starts, and Bio-Formats looks at every path.
        login_seconds: From there until the first fileset begins.
    """

    files: int
    filesets: int
    upload_seconds: float
    scan_seconds: float
    login_seconds: float


def read(text: str, entries: Sequence[Path], began_at: float) -> Told:
    """Read the log of a run over these entry files; a file belongs to the entry it is, or lies beside.

    Args:
        text: The log.
        entries: What the run was given.
        began_at: When the process was started, in seconds since 1970.
    """
    lines = list(_lines(text))
    summary = _SUMMARY.search(text)
    login, first = _first(lines, _LOGS_IN), _first(lines, _IMPORTS)
    return Told(
        files=int(summary["files"]) if summary else 0,
        filesets=int(summary["filesets"]) if summary else 0,
        upload_seconds=sum(end - begin for begin, end in _spans(lines, entries)),
        scan_seconds=max(0.0, login - began_at),
        login_seconds=max(0.0, first - login),
    )


def _lines(text: str) -> Iterable[Line]:
    for line in text.splitlines():
        if found := _LINE.match(line):
            # Without a zone it is this machine's, which Java writes its logs in, too.
            yield Line(datetime.strptime(found["at"], "%Y-%m-%d %H:%M:%S,%f").timestamp(), found["text"])  # noqa: DTZ007


def _first(lines: Iterable[Line], beginning: str) -> float:
    return next((line.at for line in lines if line.text.startswith(beginning)), 0.0)


def _spans(lines: Iterable[Line], entries: Sequence[Path]) -> list[tuple[float, float]]:
    """First file opened and last file saved of each fileset that sent any."""
    index_of = {str(entry): index for index, entry in enumerate(entries)}
    folders = {str(entry.parent): index for index, entry in enumerate(entries)}
    spans: dict[int, tuple[float, float]] = {}
    for line in lines:
        begun, done = _BEGUN.match(line.text), _DONE.match(line.text)
        if not (begun or done):
            continue
        path = done["path"] if done else (begun["path"] or begun["other"]) if begun else ""
        fileset = index_of.get(path, folders.get(path.rpartition("/")[0], -1))
        first, last = spans.get(fileset, (line.at, line.at))
        spans[fileset] = (min(first, line.at), max(last, line.at))
    return list(spans.values())

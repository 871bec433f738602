"""What the log of the official importer tells: when each file went up, and how long start, scan and login took.

Lines come from ``logback-cli.xml`` beside its jar: date, milliseconds since the start, thread, level, logger, message.
``Transferring FILE...`` is written just before a file is opened in the server, ``FILE_UPLOAD_COMPLETE: FILE`` after its
``save`` (``ome.formats.importer.transfers.UploadFileTransfer``). Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LINE: Final = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<ms>\d+) +\[.{10}\] \w+ +\S+ - (?P<text>.*)$")
_BEGUN: Final = re.compile(r"^(?:Transferring (?P<path>.+)\.\.\.|FILE_UPLOAD_STARTED: (?P<other>.+))$")
_DONE: Final = re.compile(r"^FILE_UPLOAD_COMPLETE: (?P<path>.+)$")
_SUMMARY: Final = re.compile(r"^(?P<files>\d+) files? uploaded, (?P<filesets>\d+) filesets?.*, 0 errors", re.MULTILINE)
_SCANNED: Final = re.compile(r"^\d+ file\(s\) parsed into \d+ group\(s\)")
_LOGS_IN: Final = "Attempting initial SSL connection"
_IMPORTS: Final = "FILESET_UPLOAD_PREPARATION"


@dataclass(frozen=True, slots=True)
class Line:
    """One line, with the seconds since the log began."""

    seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """What one run told.

    Attributes:
        upload_seconds: The sum over the filesets of first file opened to last file saved.
        span_seconds: From the first file opened to the last file saved of all.
        scan_seconds: From the start of its log until the login begins: Bio-Formats looks at every path.
        login_seconds: From there until the first fileset begins.
    """

    files: int
    filesets: int
    upload_seconds: float
    span_seconds: float
    scan_seconds: float
    login_seconds: float


def read(text: str, entries: Sequence[Path]) -> Told:
    """Read the log of a run over these entry files; a file belongs to the entry it is, or lies beside."""
    lines = list(_lines(text))
    spans = _spans(lines, {str(entry): index for index, entry in enumerate(entries)}, entries)
    summary = _SUMMARY.search(text)
    begun, saved = [begin for begin, _ in spans], [end for _, end in spans]
    login, first = _first(lines, _LOGS_IN), _first(lines, _IMPORTS)
    return Told(
        files=int(summary["files"]) if summary else 0,
        filesets=int(summary["filesets"]) if summary else 0,
        upload_seconds=sum(end - begin for begin, end in spans),
        span_seconds=max(saved) - min(begun) if spans else 0.0,
        scan_seconds=login,
        login_seconds=max(0.0, first - login),
    )


def _lines(text: str) -> Iterable[Line]:
    for line in text.splitlines():
        if found := _LINE.match(line):
            yield Line(int(found["ms"]) / 1000, found["text"])


def _first(lines: Iterable[Line], beginning: str) -> float:
    return next((line.seconds for line in lines if line.text.startswith(beginning)), 0.0)


def _spans(lines: Iterable[Line], index_of: dict[str, int], entries: Sequence[Path]) -> list[tuple[float, float]]:
    """First file opened and last file saved of each fileset that sent any."""
    folders = {str(entry.parent): index for index, entry in enumerate(entries)}
    spans: dict[int, tuple[float, float]] = {}
    for line in lines:
        begun, done = _BEGUN.match(line.text), _DONE.match(line.text)
        if not (begun or done):
            continue
        path = done["path"] if done else (begun["path"] or begun["other"]) if begun else ""
        fileset = index_of.get(path, folders.get(path.rpartition("/")[0], -1))
        first, last = spans.get(fileset, (line.seconds, line.seconds))
        spans[fileset] = (min(first, line.seconds), max(last, line.seconds))
    return list(spans.values())

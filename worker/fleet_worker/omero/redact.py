"""Take out of a text what nobody else may read. Pure functions.

A session's uuid is as good as a password (``joinSession``), and OMERO writes uuids into its own error texts:
``Password check failed for '<uuid>'``. Every uuid goes: which of them are sessions cannot be told from outside.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TAIL: Final = 4000
_MAX_LINE: Final = 600
_MAX_FRAMES: Final = 20

_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
_SECRET = re.compile(r"(?i)\b(pass(?:word|wd)?|secret|token)(\s*[=:]\s*)(?!check\b)\S+")


def redact(text: str) -> str:
    """The text without uuids and without what follows ``password=``."""
    return _SECRET.sub(r"\1\2***", _UUID.sub("<uuid>", text))


def sentence(text: str) -> str:
    """The text redacted, on one line, without frames of a stack trace, at most 600 characters."""
    kept = (line for line in redact(text).splitlines() if not line.lstrip().startswith("at "))
    line = " ".join(" ".join(kept).split())
    return line if len(line) <= _MAX_LINE else line[: _MAX_LINE - 3] + "..."


def tail(text: str) -> str:
    """The redacted end of a log: whole lines where possible, at most 4,000 characters."""
    clean = redact(text).rstrip()
    if len(clean) <= MAX_TAIL:
        return clean
    cut = clean[-MAX_TAIL:]
    return cut.partition("\n")[2] or cut


def trace(text: str) -> str:
    """A redacted Java stack trace: every exception with its first 20 frames, for those tell the reader that failed."""
    kept, frames = [], 0
    for line in text.splitlines():
        frames = frames + 1 if line.lstrip().startswith("at ") else 0
        if frames <= _MAX_FRAMES:
            kept.append(line)
    return tail("\n".join(kept))

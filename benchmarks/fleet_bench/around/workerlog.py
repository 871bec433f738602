"""What a worker's log says happened when: workers that are measured write it as JSON, with debug lines.

The times are the host's clock, which is also the benchmark's own. Pure, but for :func:`read`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

CALLED: Final = "importFileset is called"
FIRST_BYTES: Final = "the first bytes are with OMERO"
TAKEN: Final = "slot taken"
GIVEN_BACK: Final = "slot given back"

SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"log": {"level": "debug", "format": "json"}})
"""Settings of a worker whose log is read here."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log.

    Attributes:
        at: Seconds since 1970.
        text: What happened.
        request: Of which request; empty where it is of none.
        kind: Of which slot; empty where it is of none.
    """

    at: float
    text: str
    request: str = ""
    kind: str = ""


def read(logs: Iterable[Path], about: str = "") -> list[Line]:
    """The lines of several workers' logs in the order of their times; what is no JSON is passed over.

    Args:
        logs: Of the workers.
        about: Only lines that have this text in them.
    """
    texts = (text for log in logs for text in log.read_text(encoding="utf-8", errors="replace").splitlines())
    return sorted((parse(text) for text in texts if text.startswith("{") and about in text), key=lambda line: line.at)


def parse(text: str) -> Line:
    """One line."""
    told: Mapping[str, Any] = json.loads(text)
    return Line(
        at=datetime.fromisoformat(told["timestamp"]).timestamp(),
        text=told["event"],
        request=told.get("request", ""),
        kind=told.get("kind", ""),
    )

"""Shows dead letters to people and programs: pure functions from letters to lines and JSON values.

Bodies and names come from outside, so control characters are never passed on to a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from fleet_common.dead import DeadLetter
from fleet_common.render import size

_COLUMNS: Final = ("REQUEST", "DIED", "LANE", "REASON", "ATTEMPTS", "LETTERS", "SOURCE")


def visible(text: str) -> str:
    """A text without control characters, but for the ends of its lines."""
    return "".join(
        one if one.isprintable() or one == "\n" else " " if one == "\t" else ascii(one)[1:-1] for one in text
    )


def table(letters: Sequence[DeadLetter]) -> list[str]:
    """One line a request, in columns, and how many there are."""
    rows = [_COLUMNS, *map(_row, letters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, count(len(letters))] if letters else [count(0)]


def count(number: int) -> str:
    """How many dead requests, in words."""
    return "no dead letters" if not number else f"{number} dead request{'s' if number > 1 else ''}"


def _row(letter: DeadLetter) -> tuple[str, ...]:
    cells = (letter.name, _when(letter.died_at), letter.origin_key, letter.reason, str(letter.attempt))
    return tuple(visible(cell).replace("\n", " ") for cell in (*cells, str(letter.copies), letter.source or "-"))


def _when(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def full_text(letter: DeadLetter) -> list[str]:
    """Everything that is known of one dead request."""
    facts = [
        ("request", letter.name),
        ("source", letter.source or "-"),
        ("batch", f"{letter.batch.name} ({letter.batch.id})" if letter.batch else "-"),
        ("lane.class", letter.origin_key),
        ("reason", letter.reason),
        ("message", letter.message or "-"),
        ("what to do", letter.next_action),
        ("error class", letter.error_class or "-"),
        ("attempts", str(letter.attempt)),
        ("worker", letter.worker or "- (RabbitMQ put it here)"),
        ("submitted by", letter.submitted_by or "-"),
        ("first seen", _when(letter.first_seen)),
        ("died", _when(letter.died_at)),
        ("letters", str(letter.copies)),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [f"{name.ljust(width)}  {visible(value).replace(chr(10), ' ')}" for name, value in facts]
    tail = ["log of the server:", *_indented(letter.log_tail)] if letter.log_tail else []
    return [*lines, *tail, f"body ({size(letter.size_bytes)}):", *_indented(_pretty(letter))]


def _indented(text: str) -> Iterable[str]:
    return (f"    {line}" for line in visible(text).splitlines())


def _pretty(letter: DeadLetter) -> str:
    if letter.request is not None:
        return json.dumps(json.loads(letter.body), indent=2, ensure_ascii=False)
    shown = letter.body[:4000].decode(errors="replace")
    return shown if letter.size_bytes == len(shown.encode()) else f"{shown}\n... {letter.size_bytes:,} bytes in all"


def summary(letter: DeadLetter) -> dict[str, Any]:
    """One dead request of a JSON list."""
    return {
        "request_id": str(letter.request_id) if letter.request_id else None,
        "name": letter.name,
        "lane": letter.lane,
        "origin_key": letter.origin_key,
        "batch": letter.batch.model_dump(mode="json") if letter.batch else None,
        "source": letter.source,
        "reason": letter.reason,
        "error_class": letter.error_class,
        "message": letter.message,
        "next_action": letter.next_action,
        "attempt": letter.attempt,
        "worker": letter.worker or None,
        "submitted_by": letter.submitted_by,
        "first_seen": letter.first_seen.isoformat() if letter.first_seen else None,
        "died_at": letter.died_at.isoformat() if letter.died_at else None,
        "letters": letter.copies,
    }


def full(letter: DeadLetter) -> dict[str, Any]:
    """Everything of one dead request, for a program."""
    body = letter.body.decode(errors="replace")
    return summary(letter) | {"log_tail": letter.log_tail, "body_bytes": letter.size_bytes, "body": body}

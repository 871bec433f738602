"""Shows statuses and events to people: pure functions from models to lines and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fleet_common.control import Paused
from fleet_common.events import Event, Kind, Progress, Status

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_STEP: Final = 1000


def size(count_bytes: float) -> str:
    """A number of bytes with a decimal unit, for example ``1.5 MB``."""
    value = float(count_bytes)
    for unit in _UNITS[:-1]:
        if value < _STEP:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.1f} {_UNITS[-1]}"


def progress_text(progress: Progress) -> str:
    """Phase, files and bytes in a few words."""
    if not progress.files:
        return str(progress.phase)
    done = f"{progress.files_done}/{progress.files} files"
    return f"{progress.phase} {done}, {size(progress.bytes_done)} of {size(progress.bytes)}"


def detail(status: Status | Event) -> str:
    """Why a request is where it is, and what to do next."""
    if status.result is not None:
        plates = ", ".join(f"Plate:{number}" for number in status.result.plate_ids)
        how = f" ({status.result.transfer})" if status.result.transfer else ""
        return f"Fileset:{status.result.fileset_id} {plates or f'{status.result.images} images'}{how}".strip()
    if status.reason is not None:
        return f"{status.reason}: {status.message or ''} {status.next_action or ''}".strip()
    return progress_text(status.progress) if status.progress else status.message or ""


def status_lines(status: Status) -> list[str]:
    """One request on one to three lines that fit a terminal: state, then source, then why."""
    words = [str(status.request_id), str(status.state), f"lane {status.lane}"]
    words += [f"attempt {status.attempt}"] if status.attempt else []
    words += [f"on {status.worker}"] if status.worker else []
    further = [status.source or "", detail(status)]
    return ["  ".join(words), *(f"    {line}" for line in further if line)]


def roll_up_line(counts: Mapping[Kind, int]) -> str:
    """How many requests are in which state, those with none left out."""
    total = sum(counts.values())
    parts = [f"{count} {kind}" for kind, count in counts.items() if count]
    return f"{total} requests: {', '.join(parts)}" if total else "no requests"


def event_line(event: Event) -> str:
    """One event on one line."""
    words = [event.at.strftime("%Y-%m-%d %H:%M:%S"), str(event.request_id)[:8], str(event.kind), f"lane {event.lane}"]
    words += [f"attempt {event.attempt}"] if event.attempt else []
    words += [f"on {event.worker}"] if event.worker else []
    return " ".join([*words, detail(event)]).rstrip()


def paused_line(pause: Paused) -> str:
    """One pause on one line: what, since when, and who said why."""
    but = f" but {', '.join(pause.but)}" if pause.but else ""
    lanes = f"lane {pause.lane}" if pause.lane else f"all lanes{but}"
    return f"{lanes}: {pause.order.text} ({pause.order.at:%Y-%m-%d %H:%M:%S} UTC)"

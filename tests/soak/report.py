"""The table and ``soak.json``: pure, but for a look at the machine."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from soak.facts import Sent

_GIGABYTE: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Report:
    """What a soak found.

    Attributes:
        good: Whether everything is right.
        seed: Of wishes and schedule.
        rabbitmq: Version of the broker.
        omero: Version of the server.
        started_at: In UTC.
        minutes: How long there were faults.
        drain_seconds: From the last fault until nothing was open.
        requests: Submissions that were confirmed, by what they are about.
        duplicated: How many of them repeat another one.
        faults: Carried out, by kind.
        redeliveries: Attempts that began anew although nobody had settled the one before.
        duplicates: Complete filesets beyond one per request.
        lost: Requests with neither a fileset nor a dead letter.
        wrong: Other things that are not as they should be.
        debris: What dead attempts left behind, after the sweep.
        swept: What the sweep at the end found to remove.
        repeated_dead_letters: Dead letters beyond one per request: at least once is what a broker can promise.
        mishaps: What workers did that nobody asked for.
        recovery_seconds: The longest time until the next request was settled, by kind of fault.
        cores: Of the machine.
        memory_gigabytes: Of the machine.
    """

    good: bool
    command: str
    seed: int
    rabbitmq: str
    omero: str
    started_at: str
    minutes: float
    drain_seconds: float
    requests: Mapping[str, int]
    duplicated: int
    faults: Mapping[str, int]
    redeliveries: int
    duplicates: int
    lost: int
    wrong: int
    debris: int
    swept: Mapping[str, int]
    repeated_dead_letters: int
    mishaps: int
    recovery_seconds: Mapping[str, float]
    cores: int
    memory_gigabytes: float


def rows(report: Report) -> list[tuple[str, str]]:
    """The lines of the table."""
    requests = ", ".join(f"{count} {sort}" for sort, count in report.requests.items())
    return [
        ("command", report.command),
        ("date", report.started_at),
        ("servers", f"RabbitMQ {report.rabbitmq}, OMERO.server {report.omero}"),
        ("machine", f"{report.cores} cores, {report.memory_gigabytes:.0f} GB"),
        ("time", f"{report.minutes:g} min with faults, drained {report.drain_seconds:.0f} s after the last"),
        ("requests", f"{sum(report.requests.values())}, {report.duplicated} of them repeated: {requests}"),
        ("faults", str(sum(report.faults.values()))),
        *((f"  {kind}", _fault(report, kind)) for kind in report.faults),
        ("redeliveries", str(report.redeliveries)),
        ("duplicates", str(report.duplicates)),
        ("lost", str(report.lost)),
        ("wrong", str(report.wrong)),
        ("debris", str(report.debris)),
        ("swept at the end", _swept(report.swept)),
        ("dead letters twice", str(report.repeated_dead_letters)),
        ("workers that ended unasked", str(report.mishaps)),
        ("verdict", "exactly once" if report.good else "NOT RIGHT: see the findings"),
    ]


def _swept(swept: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in swept.items())


def _fault(report: Report, kind: str) -> str:
    seconds = report.recovery_seconds.get(kind)
    longest = "nothing was open" if seconds is None else f"longest recovery {seconds:.1f} s"
    return f"{report.faults[kind]}, {longest}"


def table(report: Report) -> str:
    """The table as Markdown, for the terminal and for the documentation alike."""
    lines = rows(report)
    width = max(len(name) for name, _ in lines)
    head = f"| {'soak':{width}} | seed {report.seed} |"
    return "\n".join([head, f"|{'-' * (width + 2)}|---|", *(f"| {name:{width}} | {value} |" for name, value in lines)])


def count_requests(sents: Iterable[Sent]) -> dict[str, int]:
    """Submissions by what they are about, most first."""
    return dict(Counter(str(sent.wish.sort) for sent in sents).most_common())


def count_kinds(kinds: Iterable[str]) -> dict[str, int]:
    """Faults by kind, most first."""
    return dict(Counter(kinds).most_common())


def repeated(message_ids: Sequence[str]) -> int:
    """How many of them came before."""
    return len(message_ids) - len(set(message_ids))


def write(report: Report, *files: Path) -> None:
    """Write the report as JSON."""
    text = json.dumps(asdict(report), indent=1) + "\n"
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def machine() -> tuple[int, float]:
    """Cores and gigabytes of memory."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return os.cpu_count() or 1, round(size / _GIGABYTE, 1)

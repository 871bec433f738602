"""What is wrong at the end of a soak: a pure comparison of what was wished with what was seen."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from soak.facts import DeadLetter, Evidence, Expected, Held, OpenSession, Queue, Sent
from soak.telling import SUCCEEDED, Told
from soak.wishes import Sort

_DATE_DEPTH: Final = 3
"""Folders of OMERO's template that many filesets share: user, month and day."""
_ERROR_CLASSES: Final = {Sort.NEVER_FITS: "manifest-differs"}
_LATE_SECONDS: Final = 120.0
_ALLOWED: Final = "import.dead"


class Flaw(enum.StrEnum):
    """What sort of wrong it is: the columns of the table."""

    LOST = "lost"
    DUPLICATE = "duplicate"
    WRONG = "wrong"
    DEBRIS = "debris"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        request_id: Empty where it is about no request.
    """

    flaw: Flaw
    text: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that is wrong."""

    findings: tuple[Finding, ...] = ()
    counts: Mapping[Flaw, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing is."""
        return not self.findings


def judge(expected: Sequence[Expected], evidence: Evidence) -> Judgement:
    """Compare everything."""
    findings = (
        *(finding for one in expected for finding in _request(one, evidence)),
        *_orphans(expected, evidence),
        *_strays(evidence),
        *_sessions(evidence),
        *_queues(evidence.queues),
    )
    counts = Counter(finding.flaw for finding in findings)
    return Judgement(findings, {flaw: counts[flaw] for flaw in Flaw})


def _request(one: Expected, evidence: Evidence) -> Iterator[Finding]:
    mine = [held for held in evidence.held if one.request_id in held.request_ids]
    dead = [letter for letter in evidence.dead if letter.request_id == one.request_id]
    if one.wish.reason is None:
        yield from _good(one, mine, dead)
    else:
        yield from _bad(one, mine, dead)
    for sent in one.sents:
        outcome = evidence.outcomes.get(sent.key)
        yield from _outcome(one, sent, outcome)
        yield from _status(one, outcome, evidence.statuses.get(sent.key, "unknown"))


def _good(one: Expected, mine: Sequence[Held], dead: Sequence[DeadLetter]) -> Iterator[Finding]:
    complete = [held for held in mine if held.complete]
    if not complete:
        why = f"dead: {dead[0].reason} {dead[0].message[:200]}" if dead else "nowhere"
        yield Finding(Flaw.LOST, f"{_name(one)} has no complete fileset; it is {why}", one.request_id)
    elif dead:
        yield Finding(Flaw.WRONG, f"{_name(one)} is imported, and dead too: {dead[0].reason}", one.request_id)
    for held in complete[1:]:
        yield Finding(Flaw.DUPLICATE, f"{_name(one)} has Fileset:{held.fileset} too many", one.request_id)
    for held in mine:
        if not held.complete:
            yield Finding(Flaw.DEBRIS, f"{_name(one)} left the unfinished Fileset:{held.fileset}", one.request_id)
    for held in complete[:1]:
        yield from (Finding(Flaw.WRONG, f"{_name(one)}: {text}", one.request_id) for text in _differences(one, held))


def _differences(one: Expected, held: Held) -> Iterator[str]:
    wanted = {
        "owner": (one.wish.user, one.wish.group),
        "files, as the database knows them,": one.contents,
        "files on the disk": one.contents,
        "images": one.images,
        "plates": one.plates,
    }
    seen = (held.owner, held.told, held.found, held.images, held.plates)
    for (what, wish), sight in zip(wanted.items(), seen, strict=True):
        if wish != sight:
            yield f"the {what} of Fileset:{held.fileset} are {sight}, not {wish}"


def _bad(one: Expected, mine: Sequence[Held], dead: Sequence[DeadLetter]) -> Iterator[Finding]:
    for held in mine:
        yield Finding(Flaw.DEBRIS, f"{_name(one)} left Fileset:{held.fileset}", one.request_id)
    if not dead:
        yield Finding(Flaw.LOST, f"{_name(one)} is not among the dead letters", one.request_id)
    error_class = _ERROR_CLASSES.get(one.wish.sort)
    for letter in dead:
        if letter.reason != one.wish.reason or (error_class and letter.error_class != error_class):
            text = f"{_name(one)} is dead for {letter.reason} ({letter.error_class}), not for {one.wish.reason}"
            yield Finding(Flaw.WRONG, f"{text}: {letter.message[:200]}", one.request_id)


def _outcome(one: Expected, sent: Sent, outcome: Told | None) -> Iterator[Finding]:
    if outcome is None:
        text = f"the event log knows no outcome of {_name(one)} in lane {sent.wish.lane}"
        yield Finding(Flaw.WRONG, text, one.request_id)
    elif one.wish.reason is None and outcome.kind not in SUCCEEDED:
        text = f"the event log says that {_name(one)} is {outcome.kind} {outcome.reason}"
        yield Finding(Flaw.WRONG, text, one.request_id)
    elif one.wish.reason is not None and (outcome.kind, outcome.reason) != ("dead", one.wish.reason):
        text = f"the event log says that {_name(one)} is {outcome.kind} {outcome.reason}, not {one.wish.reason}"
        yield Finding(Flaw.WRONG, text, one.request_id)


def _status(one: Expected, outcome: Told | None, status: str) -> Iterator[Finding]:
    """The fleet's own fold must say what ours says; which of two successes does not matter."""
    kind = "open" if outcome is None else outcome.kind
    if outcome is not None and status != kind and not {status, kind} <= SUCCEEDED:
        text = f"`omero-fleet status` says that {_name(one)} is {status}, the event log says {kind}"
        yield Finding(Flaw.WRONG, text, one.request_id)


def _name(one: Expected) -> str:
    return f"wish {one.wish.number} ({one.wish.sort}, lane {one.wish.lane})"


def _orphans(expected: Sequence[Expected], evidence: Evidence) -> Iterator[Finding]:
    known = {one.request_id for one in expected}
    for held in evidence.held:
        if known.isdisjoint(held.request_ids):
            yield Finding(Flaw.DEBRIS, f"Fileset:{held.fileset} is nobody's ({held.request_ids or 'no request id'})")


def _strays(evidence: Evidence) -> Iterator[Finding]:
    for folder in stray_folders(evidence.folders, [held.prefix for held in evidence.held]):
        where = ", and OMERO's database does not know it" if folder in evidence.forgotten_folders else ""
        yield Finding(Flaw.DEBRIS, f"the folder {folder} belongs to no fileset{where}")


def stray_folders(folders: Collection[str], prefixes: Iterable[str]) -> list[str]:
    """The topmost folders that no fileset names, apart from those of user, month and day."""
    owned = {prefix.strip("/") for prefix in prefixes}
    strays = {
        "/".join(parts[: _DATE_DEPTH + 1])
        for parts in (folder.split("/") for folder in folders)
        if len(parts) > _DATE_DEPTH and "/".join(parts[: _DATE_DEPTH + 1]) not in owned
    }
    return sorted(strays)


def _sessions(evidence: Evidence) -> Iterator[Finding]:
    for session in late_sessions(evidence.sessions, evidence.now):
        age = evidence.now - session.started
        yield Finding(Flaw.DEBRIS, f"session {session.number} of {session.owner} is open for {age:.0f} s")


def late_sessions(sessions: Iterable[OpenSession], now: float) -> list[OpenSession]:
    """Those that are older than their idle time and two minutes, though nobody uses them."""
    return [one for one in sessions if now - one.started > one.idle_seconds + _LATE_SECONDS]


def _queues(queues: Iterable[Queue]) -> Iterator[Finding]:
    for queue in queues:
        if queue.name.startswith(("import.lock.", "import.slot.")):
            yield Finding(Flaw.DEBRIS, f"the queue {queue.name} is still there")
        elif queue.messages and queue.name != _ALLOWED and queue.type != "stream":
            yield Finding(Flaw.DEBRIS, f"the queue {queue.name} still holds {queue.messages} messages")

"""What ``omero-fleet doctor`` found, and what it means: pure judgements over what was read elsewhere.

Neighbours: ``checkup`` asks broker, OMERO and disks, ``commands.doctor`` prints.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet_common.broker.topology import CONSUMER_TIMEOUT_MILLISECONDS
from fleet_common.broker.verify import TIMEOUT_HONOURED_SINCE
from fleet_common.errors import RULES, RequestError
from fleet_common.settings import OmeroSettings, Settings, WorkerSettings
from fleet_worker.limits import DEFAULT_POOL_SIZE, allowed, fleet_size, pool_needed, slot_problems
from fleet_worker.omero.facts import ServerInfo
from fleet_worker.omero.serverfacts import ServerLimits

CLOCK_SECONDS: Final = 5.0
"""Workers' clocks order events of different attempts; NTP keeps them within milliseconds."""
_SUDO_ONLY: Final = ("Sudo",)
_MS: Final = 1000


class Verdict(enum.StrEnum):
    """What a finding means."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor.

    Attributes:
        check: What was looked at, one word.
        verdict: Whether a worker can run so.
        text: What was found.
        advice: What to do next; empty where all is well.
    """

    check: str
    verdict: Verdict
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, text)


def warn(check: str, text: str, advice: str) -> Finding:
    """A worker runs, but somebody should look."""
    return Finding(check, Verdict.WARN, text, advice)


def fail(check: str, text: str, advice: str) -> Finding:
    """A worker cannot run so."""
    return Finding(check, Verdict.FAIL, text, advice)


def failed(check: str, error: RequestError) -> Finding:
    """What went wrong, with what the table of reasons says to do."""
    return fail(check, f"{error.reason}: {error}", RULES[error.reason].next_action)


def of_settings(settings: Settings) -> Finding:
    """Whether there is anything to do for a worker."""
    lanes = settings.worker.lanes
    if not lanes:
        return fail("settings", "no lane is configured", "Give worker.lanes, each with its allow-list.")
    unknown = sorted({share for rule in lanes.values() for share in rule.shares} - settings.shares.keys())
    if unknown:
        text = f"lanes allow shares that have no path here: {', '.join(unknown)}"
        return fail("settings", text, "Give their paths in the group shares.")
    return ok("settings", f"{len(lanes)} lanes ({', '.join(sorted(lanes))}), {len(settings.shares)} shares")


def of_delivery_timeout(version: tuple[int, ...], import_deadline_seconds: float) -> Finding:
    """Whether the broker lets a worker hold a delivery for as long as an import may take."""
    named = ".".join(map(str, version))
    longest_seconds = CONSUMER_TIMEOUT_MILLISECONDS / _MS
    if import_deadline_seconds >= longest_seconds:
        text = (
            f"an import may take {import_deadline_seconds:,.0f} s, and queues give it up after {longest_seconds:,.0f} s"
        )
        return fail("time-out", text, "Set worker.import_deadline_seconds to less than that.")
    if version < TIMEOUT_HONOURED_SINCE:
        return warn(
            "time-out",
            f"RabbitMQ {named} ignores the queues' own delivery time-out, and its setting cannot be read from here",
            f"Set consumer_timeout = {CONSUMER_TIMEOUT_MILLISECONDS} in its rabbitmq.conf: more than "
            f"worker.import_deadline_seconds, {import_deadline_seconds * _MS:.0f} ms.",
        )
    return ok(
        "time-out",
        f"deliveries are held up to {longest_seconds:,.0f} s, imports end by {import_deadline_seconds:,.0f} s",
    )


def of_topology(missing: Collection[str], hidden: Collection[str], seen: int) -> Finding:
    """Whether what a worker needs is there.

    Args:
        missing: Names of exchanges and queues that are not.
        hidden: Names of those that the account may not look at.
        seen: How many are there.
    """
    if missing:
        text = f"{len(missing)} of {len(missing) + len(hidden) + seen} are not there: {', '.join(sorted(missing))}"
        return fail("topology", text, "Have omero-fleet topology apply run.")
    if hidden:
        text = f"{seen} exchanges and queues are there; this account may not look at {', '.join(sorted(hidden))}"
        return warn("topology", text, "Run omero-fleet topology verify with an account that may configure.")
    return ok("topology", f"{seen} exchanges and queues are there; topology verify compares their arguments")


def of_account(info: ServerInfo, user: str) -> Finding:
    """Whether the service account can do what it must and no more."""
    text = f"OMERO {info.version}, {user!r} may: {', '.join(info.privileges)}"
    if info.privileges != _SUDO_ONLY:
        return warn("account", text, "Take away every privilege but Sudo: whoever has the password has them all.")
    return ok("account", text)


def of_limits(limits: ServerLimits, omero: OmeroSettings) -> tuple[Finding, ...]:
    """What the slots may be, and whether they are."""
    problems = slot_problems(limits, omero)
    if problems:
        return tuple(fail("slots", problem.partition(". ")[0], problem.partition(". ")[2]) for problem in problems)
    used = f"import_slots {omero.import_slots}, create_slots {omero.create_slots}"
    most = allowed(limits)
    may_be = "" if most.import_slots is None else f"; import_slots may be {most.import_slots} at most"
    if most.import_slots is None:
        return (
            warn("slots", f"{used}; OMERO does not tell its threads", "Compare them with omero.threads.* by hand."),
        )
    return (ok("slots", used + may_be), *_of_pool(limits, omero))


def of_size(omero: OmeroSettings, worker: WorkerSettings) -> Finding:
    """How many workers like this one the server can use."""
    size = fleet_size(omero, worker)
    return ok(
        "size",
        f"{size.workers} workers with parallel_filesets {worker.parallel_filesets} keep {omero.import_slots} import "
        f"slots busy; more than {size.most_workers} only add availability, and {size.most_uploading} with "
        f"parallel_upload {worker.parallel_upload} take all upload slots",
    )


def _of_pool(limits: ServerLimits, omero: OmeroSettings) -> tuple[Finding, ...]:
    needed = pool_needed(omero)
    if limits.pool_size is not None:
        return (ok("pool", f"omero.db.poolsize is {limits.pool_size}, {needed} are needed"),)
    text = f"omero.db.poolsize can be read by full administrators only; {needed} are needed"
    if needed > DEFAULT_POOL_SIZE:
        return (
            warn("pool", text, f"Make sure that it is set to {needed} or more; the default is {DEFAULT_POOL_SIZE}."),
        )
    return (ok("pool", f"{text}, the default is {DEFAULT_POOL_SIZE}"),)


def of_space(free_bytes: int | None, min_free_bytes: int) -> Finding:
    """Whether OMERO has room."""
    if free_bytes is None:
        return warn("space", "OMERO does not tell the free space of its data folder", "Watch it by other means.")
    if free_bytes < min_free_bytes:
        text = f"{free_bytes:,} bytes are free in OMERO's data folder, {min_free_bytes:,} are needed"
        return fail("space", text, "Free space there, or lower omero.min_free_bytes.")
    return ok("space", f"{free_bytes:,} bytes are free in OMERO's data folder")


def of_read_only(locked: tuple[str, ...]) -> Finding:
    """Whether OMERO may be written to."""
    if locked:
        return fail(
            "writable", f"OMERO is read-only: {' and '.join(locked)}", "Start it without omero.cluster.read_only."
        )
    return ok("writable", "database and repository may be written to")


def of_clock(difference_seconds: float) -> Finding:
    """Whether this host's clock is right, as far as OMERO's is."""
    text = f"this host's clock differs from OMERO's by {abs(difference_seconds):.1f} s"
    if abs(difference_seconds) > CLOCK_SECONDS:
        return warn("clock", text, "Have NTP set both: workers' clocks order the events of different attempts.")
    return ok("clock", text)


def of_template(template: str | None, *, is_known: bool) -> Finding:
    """Whether lost folders can be told from others."""
    if is_known:
        return ok("folders", "import folders are named by the time of day")
    return warn(
        "folders",
        f"omero.fs.repo.path is {template or 'not readable'}",
        "Have it end with %time%, else no sweep finds folders that no fileset names.",
    )


def of_in_place(settings: Settings) -> tuple[Finding, ...]:
    """What is imported in place, once the repository was found to be the server's."""
    place = settings.in_place
    unknown = ", ".join(sorted(place.shares.keys() - settings.shares.keys()))
    if unknown:
        text = f"shares that have no path here are to be imported in place: {unknown}"
        return (fail("in-place", text, "Give their paths in the group shares."),)
    seen = ", ".join(f"{name} (in OMERO {path})" for name, path in sorted(place.shares.items()))
    return (ok("in-place", f"{place.repository} is the server's managed repository; linked are files of {seen}"),)


def of_scan(version: str | None, online: str = "") -> Finding:
    """Whether this worker can do scans, and whether what reads unknown files can reach the network.

    Args:
        version: Of the Bio-Formats that answered; None where the settings name none.
        online: Why its process could not be kept from the network; empty where it is.
    """
    if version is None:
        return ok("scan", "no Bio-Formats is configured (scan.jar): scans that come here end as unsupported")
    if online:
        text = f"Bio-Formats {version} answers, and has the network: {online}"
        return warn("scan", text, "Let a network policy bound the worker, or run it on Linux on x86-64 or arm64.")
    return ok("scan", f"Bio-Formats {version} answers, and has no network")


def of_shares(problems: Mapping[str, str], roots: Mapping[str, Path]) -> tuple[Finding, ...]:
    """Whether every share is mounted.

    Args:
        problems: By share, what is wrong with it.
        roots: Of all shares.
    """
    advice = "Mount it here, or correct the path in the group shares."
    return tuple(
        fail("share", f"{name} ({root}): {problems[name]}", advice)
        if name in problems
        else ok("share", f"{name} ({root})")
        for name, root in sorted(roots.items())
    )

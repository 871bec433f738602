"""The exit codes of ``omero-fleet``; ``docs/reference/exit-codes.md`` is made from here."""

from __future__ import annotations

import enum
from typing import Self


class Exit(enum.IntEnum):
    """What the exit code of a command means."""

    OK = 0, "Done; with --wait: every request was imported, now or before."
    FAILED = 1, "An unexpected error; standard error has the details."
    USAGE = 2, "The command cannot work with its arguments or settings; nothing was done."
    REFUSED = 3, "The files or the plate are not fit for import; nothing was published."
    NOT_CONFIRMED = 4, "The broker did not confirm in time: the same command, or spool resend, may safely follow."
    NOT_PUBLISHED = 5, "No broker, or it refuses a request; what it took before is printed, the rest is in the spool."
    DEAD = 6, "With --wait: at least one request is dead or was cancelled; the reason is printed."
    STILL_WAITING = (
        7,
        "With --wait: time is up, or events were missed, before every outcome was known; the requests go on.",
    )
    DIFFERENT = 8, "topology verify: broker and description differ."
    UNREACHABLE = 9, "RabbitMQ or OMERO cannot be reached."
    NOT_FOUND = 10, "The event log, the dead letters or the spool know no such request or batch."
    TOO_LATE = 11, "cancel: at least one request was imported before; the others are cancelled."
    NOT_KEPT = 12, "The spool cannot keep a request: disk full, quota, or no right; nothing was published."
    UNFIT = 13, "doctor, paths check: a check failed; doctor: something could not be swept."
    INTERRUPTED = 130, "Ended by Ctrl-C; requests that were published go on."

    def __new__(cls, code: int, meaning: str) -> Self:
        """Keep the meaning beside the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    meaning: str

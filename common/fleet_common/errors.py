"""The one tree of errors, and the one table that says what follows from each reason.

::

    FleetError
    ├── Transient       worth another try; the table says when, and whether it costs an attempt
    ├── Permanent       the same request can never succeed
    ├── NeedsOperator   a person must look; automation would only make it worse
    ├── LeaseLost       somebody else may own the request now: stop, do not settle
    ├── Cancelled       an operator does not want it any more
    └── UsageError      a command was called with something that it cannot use

Whoever raises names a :class:`Reason`; whoever settles a request looks the reason up in :data:`RULES`.
Reasons appear unchanged in events, dead letters, logs and metric labels.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


class Reason(enum.StrEnum):
    """Why a request was not imported: a closed set, safe as a metric label."""

    # the request itself
    INVALID_REQUEST = "invalid-request"
    REQUEST_TOO_LARGE = "request-too-large"
    UNKNOWN_VERSION = "unknown-version"
    NEWER_VERSION = "newer-version"
    UNSUPPORTED = "unsupported"
    NO_USER_ID = "no-user-id"
    NOT_ALLOWED = "not-allowed"
    # its files
    UNKNOWN_SHARE = "unknown-share"
    UNSAFE_PATH = "unsafe-path"
    NAME_REFUSED = "name-refused"
    NOT_A_REGULAR_FILE = "not-a-regular-file"
    FILE_EMPTY = "file-empty"
    FILE_CUT = "file-cut"
    PIXELS_DIFFER = "pixels-differ"
    FORMAT_BROKEN = "format-broken"
    MANIFEST_DIFFERS = "manifest-differs"
    SHARE_UNAVAILABLE = "share-unavailable"
    # its owner and target
    OWNER_UNKNOWN = "owner-unknown"
    OWNER_REFUSED = "owner-refused"
    GROUP_UNKNOWN = "group-unknown"
    OWNER_NOT_IN_GROUP = "owner-not-in-group"
    TARGET_NOT_FOUND = "target-not-found"
    TARGET_NOT_LINKABLE = "target-not-linkable"
    TARGET_AMBIGUOUS = "target-ambiguous"
    TARGET_MISMATCH = "target-mismatch"
    # what the server said of the import
    UNKNOWN_FORMAT = "unknown-format"
    READER_FAILED = "reader-failed"
    SERVER_READER_TOO_OLD = "server-reader-too-old"
    IMPORT_FAILED = "import-failed"
    IMPORT_INTERRUPTED = "import-interrupted"
    UPLOAD_DIFFERS = "upload-differs"
    VERIFICATION_FAILED = "verification-failed"
    SEVERAL_FILESETS = "several-filesets"
    MANIFEST_CONFLICT = "manifest-conflict"
    ELECTION_LOST = "election-lost"
    # the engines
    OMERO_UNAVAILABLE = "omero-unavailable"
    OMERO_BUSY = "omero-busy"
    OMERO_LOGIN_REFUSED = "omero-login-refused"
    OMERO_REFUSED = "omero-refused"
    OMERO_READ_ONLY = "omero-read-only"
    OMERO_FULL = "omero-full"
    OMERO_OVERCOMMITTED = "omero-overcommitted"
    REPOSITORY_UNAVAILABLE = "repository-unavailable"
    BROKER_UNAVAILABLE = "broker-unavailable"
    SESSION_LOST = "session-lost"
    LOCK_HELD = "lock-held"
    STILL_RUNNING = "still-running"
    LOCK_BLOCKED = "lock-blocked"
    LEASE_LOST = "lease-lost"
    DRAINING = "draining"
    ATTEMPTS_USED_UP = "attempts-used-up"
    CRASH_LOOP = "crash-loop"
    CRASH_SUSPECT = "crash-suspect"
    DELIVERY_LIMIT = "delivery-limit"
    CANCELLED = "cancelled"
    INTERNAL_ERROR = "internal-error"


class Verdict(enum.StrEnum):
    """What follows from a reason."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    NEEDS_OPERATOR = "needs-operator"
    LEASE_LOST = "lease-lost"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        verdict: What kind of failure this is.
        next_action: What a person should do, as one sentence.
        first_delay_seconds: Wait before the first further try; later ones climb the retry tiers.
        attempts: How many attempts in all; reached means dead. Ignored where no attempt is counted.
        costs_attempt: False for a failure of server, broker or connection, which is not the request's fault.
        max_age_seconds: Dead once the request is older than this, whatever its attempts; 0 for no such limit.
    """

    verdict: Verdict
    next_action: str
    first_delay_seconds: float = 10.0
    attempts: int = 5
    costs_attempt: bool = True
    max_age_seconds: float = 0.0


def _permanent(next_action: str) -> Rule:
    return Rule(Verdict.PERMANENT, next_action)


def _operator(next_action: str) -> Rule:
    return Rule(Verdict.NEEDS_OPERATOR, next_action)


def _transient(next_action: str, first_delay_seconds: float, attempts: int) -> Rule:
    return Rule(Verdict.TRANSIENT, next_action, first_delay_seconds, attempts)


def _not_its_fault(next_action: str, first_delay_seconds: float = 10.0) -> Rule:
    return Rule(Verdict.TRANSIENT, next_action, first_delay_seconds, costs_attempt=False)


_SUBMIT_AGAIN = "Correct the request and submit it again."

RULES: Mapping[Reason, Rule] = MappingProxyType(
    {
        Reason.INVALID_REQUEST: _permanent(_SUBMIT_AGAIN),
        Reason.REQUEST_TOO_LARGE: _permanent("Submit fewer files in one request."),
        Reason.UNKNOWN_VERSION: _permanent(_SUBMIT_AGAIN),
        # During a rolling upgrade newer producers meet older workers; a newer worker will take it.
        Reason.NEWER_VERSION: Rule(
            Verdict.TRANSIENT,
            "Upgrade the workers, then replay the dead letter.",
            first_delay_seconds=300.0,
            costs_attempt=False,
            max_age_seconds=86400.0,
        ),
        Reason.UNSUPPORTED: _permanent("Leave out the named field, or upgrade the workers and replay the dead letter."),
        Reason.NO_USER_ID: _permanent("Publish with the user_id property: omero-fleet submit does."),
        Reason.NOT_ALLOWED: _permanent("Have the lane's allow-list in the worker's settings extended, then replay."),
        Reason.UNKNOWN_SHARE: _permanent("Add the share to the worker's settings, then replay."),
        Reason.UNSAFE_PATH: _permanent("Submit a path inside a share, without links."),
        Reason.NAME_REFUSED: _permanent("Rename the file or folder, then submit it again."),
        Reason.NOT_A_REGULAR_FILE: _permanent("Replace the link or special file by a regular file, then submit again."),
        Reason.FILE_EMPTY: _permanent("Copy the file again from the instrument, then submit it again."),
        Reason.FILE_CUT: _permanent("Copy the named files again from the instrument, then submit again."),
        Reason.PIXELS_DIFFER: _permanent(
            "Export the named files again, of the same type as the others, and submit again."
        ),
        Reason.FORMAT_BROKEN: _permanent("Export the plate again: its index cannot be read."),
        Reason.MANIFEST_DIFFERS: _transient(
            "Check that the worker sees the same files as the acquisition host, then replay.", 10.0, 6
        ),
        Reason.SHARE_UNAVAILABLE: _not_its_fault("Check that the share is mounted on the worker.", 60.0),
        Reason.OWNER_UNKNOWN: _permanent("Create the user in OMERO, or submit for an existing one."),
        Reason.OWNER_REFUSED: _permanent("Submit for an ordinary user: the fleet never imports as an administrator."),
        Reason.GROUP_UNKNOWN: _permanent("Create the group in OMERO, or submit for an existing one."),
        Reason.OWNER_NOT_IN_GROUP: _permanent("Add the user to the group in OMERO, then replay."),
        Reason.TARGET_NOT_FOUND: _permanent("Submit with a target that exists in the owner's group."),
        Reason.TARGET_NOT_LINKABLE: _permanent("Submit with a target that the owner may link to."),
        Reason.TARGET_AMBIGUOUS: _permanent("Submit with the id of the target."),
        Reason.TARGET_MISMATCH: _permanent("Send plates to a Screen and images to a Dataset."),
        Reason.UNKNOWN_FORMAT: _permanent("Submit a file that Bio-Formats on the server can read."),
        Reason.READER_FAILED: _permanent("Open the plate with the server's Bio-Formats version: its reader failed."),
        Reason.SERVER_READER_TOO_OLD: _permanent("Upgrade OMERO.server to the named Bio-Formats version, then replay."),
        Reason.IMPORT_FAILED: _transient("Read the server's log in the dead letter, then replay.", 60.0, 3),
        Reason.IMPORT_INTERRUPTED: _transient("Read the server's log, then replay.", 10.0, 5),
        Reason.UPLOAD_DIFFERS: _transient("Check the share and the network: files changed on their way.", 10.0, 3),
        Reason.VERIFICATION_FAILED: _operator(
            "Compare the fileset in OMERO with the plate; delete it before a replay."
        ),
        Reason.SEVERAL_FILESETS: _operator("Decide which of the named filesets to keep; delete the others by hand."),
        Reason.MANIFEST_CONFLICT: _operator("The same request id was imported with other files: compare both."),
        Reason.ELECTION_LOST: _not_its_fault("Nothing: another worker imports this request."),
        Reason.OMERO_UNAVAILABLE: _not_its_fault("Check OMERO.server; the fleet goes on by itself.", 10.0),
        Reason.OMERO_BUSY: _not_its_fault("Check the load of OMERO.server; the fleet goes on by itself.", 10.0),
        Reason.OMERO_LOGIN_REFUSED: _operator("Check the service account: its password and its Sudo privilege."),
        Reason.OMERO_REFUSED: _permanent("Check the rights of owner and group in OMERO, then replay."),
        Reason.OMERO_READ_ONLY: _not_its_fault("Make OMERO.server writable; the fleet goes on by itself.", 60.0),
        Reason.OMERO_FULL: _not_its_fault("Free space in OMERO's data folder; the fleet goes on by itself.", 60.0),
        Reason.OMERO_OVERCOMMITTED: _operator("Lower the slots in the settings, or give OMERO.server more threads."),
        Reason.REPOSITORY_UNAVAILABLE: _not_its_fault(
            "Have OMERO's managed repository mounted where in_place.repository says, so that the worker may write.",
            60.0,
        ),
        Reason.BROKER_UNAVAILABLE: _not_its_fault("Check RabbitMQ; the fleet goes on by itself.", 10.0),
        Reason.SESSION_LOST: _not_its_fault("Nothing: the import starts anew in a new session.", 10.0),
        Reason.LOCK_HELD: _not_its_fault("Nothing: another worker is at this request.", 60.0),
        Reason.LOCK_BLOCKED: _operator("Delete the named queue: it has the name of a lock, but is none."),
        Reason.STILL_RUNNING: _not_its_fault("Nothing: the server is still at an earlier attempt.", 60.0),
        Reason.LEASE_LOST: Rule(Verdict.LEASE_LOST, "Nothing: the request went to another worker."),
        Reason.DRAINING: _not_its_fault("Nothing: the worker stopped and gave the request back.", 0.0),
        Reason.ATTEMPTS_USED_UP: _permanent("Read the last error, mend its cause, then replay."),
        Reason.CRASH_LOOP: _operator("Read the workers' logs: they died of this request alone; then replay."),
        Reason.CRASH_SUSPECT: _not_its_fault("Nothing: workers died while they had it, so it is tried alone.", 0.0),
        # Told by the broker, not by a worker: only dead letters without the fleet's headers have it.
        Reason.DELIVERY_LIMIT: _operator("Read the workers' logs: they died with this request; then replay."),
        Reason.CANCELLED: Rule(Verdict.CANCELLED, "Nothing: an operator cancelled it; submit it with --again."),
        Reason.INTERNAL_ERROR: _transient("Report the worker's log: this is a defect of the fleet.", 60.0, 3),
    }
)


class FleetError(Exception):
    """The root of all errors that the fleet raises on purpose."""


class RequestError(FleetError):
    """A failure that settles, delays or stops one request.

    Attributes:
        reason: The row of :data:`RULES` that applies.
        log_tail: The end of the server's import log, redacted, at most 4,000 characters; empty if there is none.
    """

    def __init__(self, reason: Reason, message: str, *, log_tail: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.log_tail = log_tail

    @property
    def rule(self) -> Rule:
        """The row of the table for this error."""
        return RULES[self.reason]


class Transient(RequestError):
    """Worth another try.

    Attributes:
        delay_seconds: A wait that the server itself asked for, 0 where it did not.
    """

    def __init__(self, reason: Reason, message: str, *, delay_seconds: float = 0.0, log_tail: str = "") -> None:
        super().__init__(reason, message, log_tail=log_tail)
        self.delay_seconds = delay_seconds


class Permanent(RequestError):
    """The same request can never succeed."""


class NeedsOperator(RequestError):
    """A person must look before anything else happens."""


class LeaseLost(RequestError):
    """The lock or the delivery is gone: stop at once and settle nothing."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.LEASE_LOST, message)


class Cancelled(RequestError):
    """An operator does not want the request any more: stop, clean up, and settle it as cancelled."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.CANCELLED, message)


class UsageError(FleetError):
    """A command cannot work with what it was given; nothing was done."""


_BY_VERDICT: Mapping[Verdict, type[RequestError]] = MappingProxyType(
    {Verdict.TRANSIENT: Transient, Verdict.PERMANENT: Permanent, Verdict.NEEDS_OPERATOR: NeedsOperator}
)


def failure(reason: Reason, message: str, *, log_tail: str = "") -> RequestError:
    """The error of the right class for a reason, so that class and table cannot disagree."""
    if RULES[reason].verdict is Verdict.LEASE_LOST:
        return LeaseLost(message)
    if RULES[reason].verdict is Verdict.CANCELLED:
        return Cancelled(message)
    return _BY_VERDICT[RULES[reason].verdict](reason, message, log_tail=log_tail)

"""The one table that says what an error of OMERO or Ice means for a request.

Pure: it looks at names and texts, never at the server, and needs no Ice. Rows come from OMERO's documentation of
exceptions (https://docs.openmicroscopy.org/omero/5.6/developers/ExceptionHandling.html), from the names that
``ManagedImportRequestI`` of ome/omero-blitz sends, and from errors provoked on a real server
(``docs/explanation/omero-import.md``). Texts come first: some errors arrive wrapped as ``Ice.UnknownException``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fleet_common.errors import Reason


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception of a call, taken apart.

    Attributes:
        names: Qualified class name and those of its bases, nearest first: ``omero.TryAgain``, ``omero.ServerError``.
        message: What it says, without the server's stack trace.
        back_off_ms: How long the server asks to wait.
        concurrency: The server says that it is merely busy.
    """

    names: tuple[str, ...]
    message: str = ""
    back_off_ms: int = 0
    concurrency: bool = False

    @property
    def name(self) -> str:
        """The exception's own name, for people."""
        return self.names[0]


@dataclass(frozen=True, slots=True)
class ServerError:
    """An ``omero.cmd.ERR``: how a job inside the server ended.

    Attributes:
        name: For example ``error-on-init``.
        message: May be empty.
        stacktrace: Of the server.
    """

    name: str
    message: str = ""
    stacktrace: str = ""


def fault_of(error: BaseException) -> Fault:
    """Take an exception apart by its names and fields."""
    names = tuple(
        f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__ if kind not in {object, BaseException}
    )
    return Fault(
        names,
        _message(error),
        int(getattr(error, "backOff", 0) or 0),
        bool(getattr(error, "concurrency", False)),
    )


_TEXT_FIELDS: Final = ("message", "reason", "unknown")


def _message(error: BaseException) -> str:
    said = next((text for name in _TEXT_FIELDS if (text := getattr(error, name, ""))), "")
    trace = str(getattr(error, "serverStackTrace", "") or "")
    return str(said) or trace.strip().partition("\n")[0] or str(error)


# Found anywhere in the text, first row first.
CALL_TEXTS: Final[tuple[tuple[str, Reason], ...]] = (
    ("not a member of group", Reason.OWNER_NOT_IN_GROUP),
    ("Cannot find a user with name", Reason.OWNER_UNKNOWN),
    ("Cannot link to object", Reason.TARGET_NOT_LINKABLE),
    ("Group sudo is not permitted", Reason.OMERO_LOGIN_REFUSED),
    ("Cannot find path. Deleted?", Reason.IMPORT_INTERRUPTED),
    # A worker that slept meets it after another one has deleted its fileset.
    ("(No such file or directory)", Reason.IMPORT_INTERRUPTED),
    # The server has spoiled its own context of one import, see `Opening`; a new one has a new context.
    ("without a secure server token", Reason.IMPORT_INTERRUPTED),
    ("No space left on device", Reason.OMERO_FULL),
    ("Disk quota exceeded", Reason.OMERO_FULL),
    ("This instance is read-only", Reason.OMERO_READ_ONLY),
    ("Read-only file system", Reason.OMERO_READ_ONLY),
    ("read-only transaction", Reason.OMERO_READ_ONLY),
    ("read-write mode during recovery", Reason.OMERO_READ_ONLY),
    ("CannotCreateTransactionException", Reason.OMERO_BUSY),
    ("Failed to acquire connection", Reason.OMERO_BUSY),
    ("TransactionSystemException", Reason.OMERO_UNAVAILABLE),
    ("This connection has been closed", Reason.OMERO_UNAVAILABLE),
    ("RejectedExecution", Reason.OMERO_BUSY),
    ("DatabaseBusyException", Reason.OMERO_BUSY),
    ("RemovedSessionException", Reason.SESSION_LOST),
    ("SessionTimeoutException", Reason.SESSION_LOST),
    ("No session with uuid", Reason.SESSION_LOST),
    ("SecurityViolation", Reason.OMERO_REFUSED),
    ("Ice::ObjectNotExistException", Reason.SESSION_LOST),
    # A server that is being stopped says so as an InternalException.
    ("ObjectAdapterDeactivatedException", Reason.OMERO_UNAVAILABLE),
    ("CommunicatorDestroyedException", Reason.OMERO_UNAVAILABLE),
    ("the database system is shutting down", Reason.OMERO_UNAVAILABLE),
    ("terminating connection due to administrator", Reason.OMERO_UNAVAILABLE),
    ("Ice::ConnectionRefusedException", Reason.OMERO_UNAVAILABLE),
    ("Ice::ConnectionLostException", Reason.OMERO_UNAVAILABLE),
    ("Ice::ConnectFailedException", Reason.OMERO_UNAVAILABLE),
    ("Ice::NoEndpointException", Reason.OMERO_UNAVAILABLE),
    ("internal server error", Reason.OMERO_UNAVAILABLE),
)

CALL_NAMES: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "omero.ConcurrencyException": Reason.OMERO_BUSY,
        "omero.OverUsageException": Reason.OMERO_BUSY,
        "omero.ShutdownInProgress": Reason.OMERO_UNAVAILABLE,
        "omero.SessionException": Reason.SESSION_LOST,
        "omero.SecurityViolation": Reason.OMERO_REFUSED,
        "omero.FilePathNamingException": Reason.NAME_REFUSED,
        "omero.ChecksumValidationException": Reason.UPLOAD_DIFFERS,
        "omero.ValidationException": Reason.IMPORT_FAILED,
        "omero.ResourceError": Reason.IMPORT_FAILED,
        "omero.ApiUsageException": Reason.INTERNAL_ERROR,
        "omero.InternalException": Reason.INTERNAL_ERROR,
        "omero.AuthenticationException": Reason.OMERO_LOGIN_REFUSED,
        "omero.ExpiredCredentialException": Reason.OMERO_LOGIN_REFUSED,
        "omero.WrappedCreateSessionException": Reason.OMERO_UNAVAILABLE,
        "omero.ClientError": Reason.OMERO_UNAVAILABLE,
        "omero.clients.ClientError": Reason.OMERO_UNAVAILABLE,
        "Glacier2.PermissionDeniedException": Reason.OMERO_LOGIN_REFUSED,
        "Glacier2.SessionNotExistException": Reason.SESSION_LOST,
        "Glacier2.CannotCreateSessionException": Reason.OMERO_UNAVAILABLE,
        "Ice.ObjectNotExistException": Reason.SESSION_LOST,
        "Ice.CommunicatorDestroyedException": Reason.SESSION_LOST,
        "Ice.ObjectAdapterDeactivatedException": Reason.SESSION_LOST,
        # A certificate that does not verify is nothing that time mends, nor is a file of certificates that is missing.
        "Ice.SecurityException": Reason.OMERO_LOGIN_REFUSED,
        "Ice.PluginInitializationException": Reason.OMERO_LOGIN_REFUSED,
        "Ice.MemoryLimitException": Reason.IMPORT_FAILED,
        "Ice.UnknownException": Reason.INTERNAL_ERROR,
        "Ice.LocalException": Reason.OMERO_UNAVAILABLE,
    }
)


# These arrive for several causes; the text decides, and the row above where it says nothing known.
_TEXT_DECIDES: Final = frozenset(
    {
        "omero.SecurityViolation",
        "omero.SessionException",
        "omero.ResourceError",
        "omero.ApiUsageException",
        "omero.InternalException",
        "omero.ValidationException",
        "omero.WrappedCreateSessionException",
        "Glacier2.PermissionDeniedException",
        "Glacier2.CannotCreateSessionException",
        "Ice.UnknownException",
    }
)


def classify_call(fault: Fault) -> Reason:
    """The reason for an exception of a call; internal-error for one that is in no row."""
    if fault.concurrency:
        return Reason.OMERO_BUSY
    row = next((name for name in fault.names if name in CALL_NAMES), None)
    if row is None:
        return Reason.INTERNAL_ERROR
    if row not in _TEXT_DECIDES:
        return CALL_NAMES[row]
    return next((reason for text, reason in CALL_TEXTS if text in fault.message), CALL_NAMES[row])


# An ERR: its name says where it happened, the stack trace what. Found anywhere in message or trace, first row first.
SERVER_TEXTS: Final[tuple[tuple[str, Reason], ...]] = (
    ("UnknownFormatException", Reason.UNKNOWN_FORMAT),
    ("MissingLibraryException", Reason.READER_FAILED),
    ("Cannot link to object", Reason.TARGET_NOT_LINKABLE),
    ("Cannot read ome.model.containers", Reason.TARGET_NOT_LINKABLE),
    ("No row with the given identifier", Reason.TARGET_NOT_FOUND),
    ("DatabaseBusyException", Reason.OMERO_BUSY),
    ("Failed to acquire connection", Reason.OMERO_BUSY),
    ("CannotCreateTransactionException", Reason.OMERO_BUSY),
    ("RemovedSessionException", Reason.IMPORT_INTERRUPTED),
    ("SessionTimeoutException", Reason.IMPORT_INTERRUPTED),
    ("No session with uuid", Reason.IMPORT_INTERRUPTED),
    # A server that has just started was seen to miss a service that it had registered itself 0.2 s before.
    ("Ice.ObjectNotExistException", Reason.IMPORT_INTERRUPTED),
    # Imports that begin at one moment may garble a message of the server to itself; it then cuts the connection over
    # which it does all of them.
    ("Ice.ConnectionLostException", Reason.IMPORT_INTERRUPTED),
    ("Ice.UnmarshalOutOfBoundsException", Reason.IMPORT_INTERRUPTED),
    ("ObjectAdapterDeactivatedException", Reason.IMPORT_INTERRUPTED),
    ("CommunicatorDestroyedException", Reason.IMPORT_INTERRUPTED),
    ("terminating connection due to administrator", Reason.IMPORT_INTERRUPTED),
    ("No space left on device", Reason.OMERO_FULL),
    ("Disk quota exceeded", Reason.OMERO_FULL),
    ("This instance is read-only", Reason.OMERO_READ_ONLY),
    ("Read-only file system", Reason.OMERO_READ_ONLY),
    ("read-only transaction", Reason.OMERO_READ_ONLY),
    ("OutOfMemoryError", Reason.IMPORT_FAILED),
    ("loci.formats.FormatException", Reason.READER_FAILED),
    ("java.io.EOFException", Reason.READER_FAILED),
    ("at loci.formats.in.", Reason.READER_FAILED),
)

SERVER_NAMES: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "import-unknown-format": Reason.UNKNOWN_FORMAT,
        "import-missing-library": Reason.READER_FAILED,
        "import-file-exception": Reason.READER_FAILED,
        "cancel-called": Reason.IMPORT_INTERRUPTED,
        "steps-cancel": Reason.IMPORT_INTERRUPTED,
        "not-ready": Reason.IMPORT_INTERRUPTED,
    }
)


def classify_server(error: ServerError) -> Reason:
    """The reason for an import that ended with an ERR."""
    said = f"{error.message}\n{error.stacktrace}"
    if error.name.startswith("import-") and error.name in SERVER_NAMES:
        return SERVER_NAMES[error.name]
    by_text = next((reason for text, reason in SERVER_TEXTS if text in said), None)
    return by_text or SERVER_NAMES.get(error.name, Reason.IMPORT_FAILED)

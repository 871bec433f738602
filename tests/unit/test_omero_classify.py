"""The table of OMERO's and Ice's errors, row by row, with the exceptions that omero-py really raises."""

from __future__ import annotations

import Glacier2
import Ice
import omero
import omero.clients
import omero.cmd
import pytest

from fleet_common.errors import NeedsOperator, Permanent, Reason, Transient
from fleet_worker.omero import classify
from fleet_worker.omero.classify import Fault, ServerError, classify_call, classify_server, fault_of
from fleet_worker.omero.translate import server_error, translated

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"

CALLS = [
    (omero.ConcurrencyException(), Reason.OMERO_BUSY),
    (omero.DatabaseBusyException(), Reason.OMERO_BUSY),
    (omero.OptimisticLockException(), Reason.OMERO_BUSY),
    (omero.LockTimeout(), Reason.OMERO_BUSY),
    (omero.TryAgain(), Reason.OMERO_BUSY),
    (omero.OverUsageException(), Reason.OMERO_BUSY),
    (omero.WrappedCreateSessionException(concurrency=True), Reason.OMERO_BUSY),
    (omero.WrappedCreateSessionException(), Reason.OMERO_UNAVAILABLE),
    (omero.ShutdownInProgress(), Reason.OMERO_UNAVAILABLE),
    (omero.RemovedSessionException(), Reason.SESSION_LOST),
    (omero.RemovedSessionException(message="Cannot find a user with name x"), Reason.OWNER_UNKNOWN),
    (omero.SessionTimeoutException(), Reason.SESSION_LOST),
    (omero.SecurityViolation(), Reason.OMERO_REFUSED),
    (omero.SecurityViolation(message="User 3 is not a member of group 3"), Reason.OWNER_NOT_IN_GROUP),
    (
        omero.SecurityViolation(message="Setting the x value is not permitted without a secure server token!"),
        Reason.IMPORT_INTERRUPTED,
    ),
    (omero.SecurityViolation(message="Group sudo is not permitted for user"), Reason.OMERO_LOGIN_REFUSED),
    (omero.FilePathNamingException(), Reason.NAME_REFUSED),
    (omero.ChecksumValidationException(), Reason.UPLOAD_DIFFERS),
    (omero.ValidationException(message="could not insert: [x]"), Reason.IMPORT_FAILED),
    (omero.ResourceError(message="Directory exists but is not registered"), Reason.IMPORT_FAILED),
    (omero.ResourceError(message="Cannot find path. Deleted?"), Reason.IMPORT_INTERRUPTED),
    (omero.ResourceError(message="/OMERO/a.tif (No such file or directory)"), Reason.IMPORT_INTERRUPTED),
    (omero.ResourceError(message="No space left on device"), Reason.OMERO_FULL),
    (omero.ResourceError(message="Disk quota exceeded"), Reason.OMERO_FULL),
    (omero.InternalException(message="could not extend file: No space left on device"), Reason.OMERO_FULL),
    (omero.ResourceError(message="/OMERO/a.tif (Read-only file system)"), Reason.OMERO_READ_ONLY),
    (omero.ApiUsageException(message="This instance is read-only"), Reason.OMERO_READ_ONLY),
    (omero.InternalException(message="cannot execute INSERT in a read-only transaction"), Reason.OMERO_READ_ONLY),
    (Ice.UnknownException("cannot set transaction read-write mode during recovery"), Reason.OMERO_READ_ONLY),
    (omero.ApiUsageException(), Reason.INTERNAL_ERROR),
    (omero.InternalException(message="something new"), Reason.INTERNAL_ERROR),
    (omero.InternalException(message="Ice.ObjectAdapterDeactivatedException"), Reason.OMERO_UNAVAILABLE),
    (omero.InternalException(message="FATAL: the database system is shutting down"), Reason.OMERO_UNAVAILABLE),
    (omero.InternalException(message="java.util.concurrent.RejectedExecutionException"), Reason.OMERO_BUSY),
    (omero.AuthenticationException(), Reason.OMERO_LOGIN_REFUSED),
    (omero.ExpiredCredentialException(), Reason.OMERO_LOGIN_REFUSED),
    (omero.ClientError("Obtained null object prox"), Reason.OMERO_UNAVAILABLE),
    (Glacier2.PermissionDeniedException("Password check failed for 'x'"), Reason.OMERO_LOGIN_REFUSED),
    (Glacier2.PermissionDeniedException("internal server error"), Reason.OMERO_UNAVAILABLE),
    (Glacier2.CannotCreateSessionException("not ready"), Reason.OMERO_UNAVAILABLE),
    (Glacier2.SessionNotExistException(), Reason.SESSION_LOST),
    (Ice.ObjectNotExistException(), Reason.SESSION_LOST),
    (Ice.CommunicatorDestroyedException(), Reason.SESSION_LOST),
    (Ice.ObjectAdapterDeactivatedException(), Reason.SESSION_LOST),
    (Ice.SecurityException("IceSSL: certificate verification failed"), Reason.OMERO_LOGIN_REFUSED),
    (Ice.PluginInitializationException("CA certificate path not found"), Reason.OMERO_LOGIN_REFUSED),
    (Ice.ConnectionLostException(), Reason.OMERO_UNAVAILABLE),
    (Ice.ConnectionRefusedException(), Reason.OMERO_UNAVAILABLE),
    (Ice.ConnectTimeoutException(), Reason.OMERO_UNAVAILABLE),
    (Ice.InvocationTimeoutException(), Reason.OMERO_UNAVAILABLE),
    (Ice.CloseConnectionException(), Reason.OMERO_UNAVAILABLE),
    (Ice.DNSException(host="nowhere"), Reason.OMERO_UNAVAILABLE),
    (Ice.MemoryLimitException("too large"), Reason.IMPORT_FAILED),
    (Ice.UnknownException("java.lang.NullPointerException"), Reason.INTERNAL_ERROR),
    (Ice.UnknownException("ome.conditions.SecurityViolation: no"), Reason.OMERO_REFUSED),
    (Ice.UnknownException("SecurityViolation: not a member of group"), Reason.OWNER_NOT_IN_GROUP),
    (Ice.UnknownException("DatabaseBusyException: cannot create transaction"), Reason.OMERO_BUSY),
    (Ice.UnknownException("TransactionSystemException: Could not roll back"), Reason.OMERO_UNAVAILABLE),
    (Ice.UnknownLocalException("::Ice::ConnectionLostException: reset by peer"), Reason.OMERO_UNAVAILABLE),
    (Ice.UnknownLocalException("::Ice::ObjectNotExistException"), Reason.SESSION_LOST),
]


@pytest.mark.parametrize(("error", "reason"), CALLS, ids=lambda value: getattr(value, "value", None))
def test_every_exception_of_a_call_has_its_reason(error: Exception, reason: Reason) -> None:
    """Each row is what a real call raises; its reason decides what becomes of the request."""
    assert classify_call(fault_of(error)) is reason


def test_no_row_is_without_a_test() -> None:
    """Every class that the table names is raised above, itself or a kind of it."""
    raised = {name for error, _ in CALLS for name in fault_of(error).names}
    assert set(classify.CALL_NAMES) - {"omero.clients.ClientError", "omero.SessionException"} <= raised


def test_an_unknown_exception_is_a_defect_of_the_fleet() -> None:
    """What is in no row must not be taken for the user's fault, nor be tried for ever."""
    assert classify_call(fault_of(KeyError("x"))) is Reason.INTERNAL_ERROR


SERVER = [
    (ServerError("error-on-init", "", "loci.formats.UnknownFormatException: Unknown"), Reason.UNKNOWN_FORMAT),
    (ServerError("error-on-init", "", "loci.formats.MissingLibraryException"), Reason.READER_FAILED),
    (ServerError("error-on-init", "", "java.io.EOFException: Attempting to read beyond"), Reason.READER_FAILED),
    (ServerError("error-on-init", "", "loci.formats.FormatException: Invalid"), Reason.READER_FAILED),
    (ServerError("error-on-init", "", "NullPointerException\n\tat loci.formats.in.X.y(Z)"), Reason.READER_FAILED),
    (ServerError("error-on-init", "ome.conditions.DatabaseBusyException"), Reason.OMERO_BUSY),
    (ServerError("error-on-init", "", "ome.conditions.RemovedSessionException"), Reason.IMPORT_INTERRUPTED),
    (
        ServerError(
            "error-on-init",
            "Unable to instantiate object.",
            "Unable to instantiate object. for class omero.model.LogicalChannel\n"
            "\tat ome.formats.model.BlitzInstanceProvider.getInstance(BlitzInstanceProvider.java:72)\n"
            'Caused by: Ice.ObjectNotExistException\n    operation = "findAll"',
        ),
        Reason.IMPORT_INTERRUPTED,
    ),
    (ServerError("import-request-failure", "Ice.ConnectionLostException"), Reason.IMPORT_INTERRUPTED),
    (ServerError("import-request-failure", "", "Ice.UnmarshalOutOfBoundsException"), Reason.IMPORT_INTERRUPTED),
    (ServerError("error-on-init", "whatever"), Reason.IMPORT_FAILED),
    (ServerError("import-unknown-format"), Reason.UNKNOWN_FORMAT),
    (ServerError("import-missing-library"), Reason.READER_FAILED),
    (ServerError("import-file-exception"), Reason.READER_FAILED),
    (ServerError("import-request-failure", "Group is rwra--. Cannot link to object"), Reason.TARGET_NOT_LINKABLE),
    (ServerError("import-request-failure", "No row with the given identifier"), Reason.TARGET_NOT_FOUND),
    (ServerError("import-request-failure", "", "java.lang.OutOfMemoryError"), Reason.IMPORT_FAILED),
    (ServerError("import-request-failure", "", "IOException: No space left on device"), Reason.OMERO_FULL),
    (ServerError("import-request-failure", "", "IOException: Disk quota exceeded"), Reason.OMERO_FULL),
    (
        ServerError("import-request-failure", "", "ApiUsageException: This instance is read-only"),
        Reason.OMERO_READ_ONLY,
    ),
    (ServerError("import-request-failure", "", "IOException: Read-only file system"), Reason.OMERO_READ_ONLY),
    (
        ServerError("import-request-failure", "", "cannot execute INSERT in a read-only transaction"),
        Reason.OMERO_READ_ONLY,
    ),
    (ServerError("run-fail"), Reason.IMPORT_FAILED),
    (ServerError("cancel-called"), Reason.IMPORT_INTERRUPTED),
    (ServerError("steps-cancel"), Reason.IMPORT_INTERRUPTED),
    (ServerError("not-ready"), Reason.IMPORT_INTERRUPTED),
    (ServerError("something-new"), Reason.IMPORT_FAILED),
]


@pytest.mark.parametrize(("error", "reason"), SERVER, ids=lambda value: getattr(value, "name", None))
def test_every_end_of_an_import_has_its_reason(error: ServerError, reason: Reason) -> None:
    """The name of an ERR says where it happened, its stack trace what."""
    assert classify_server(error) is reason


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    """``backOff`` is in milliseconds; the fleet counts in seconds."""
    with pytest.raises(Transient) as caught, translated("a call"):
        raise omero.DatabaseBusyException(message="busy", backOff=2500)
    assert caught.value.delay_seconds == 2.5


def test_an_error_text_says_what_failed_and_hides_session_uuids() -> None:
    """OMERO quotes the uuid of a dead session: as good as a password while it lives."""
    with pytest.raises(NeedsOperator) as caught, translated("the login"):
        raise Glacier2.PermissionDeniedException(f"Password check failed for '{UUID}'")
    assert str(caught.value) == "the login failed: PermissionDeniedException: Password check failed for '<uuid>'"


def test_errors_of_the_fleet_pass_through_unchanged() -> None:
    """Nested translations must not rename what an inner one decided."""
    inner = Permanent(Reason.TARGET_NOT_FOUND, "gone")
    with pytest.raises(Permanent) as caught, translated("anything"):
        raise inner
    assert caught.value is inner


def test_a_server_error_carries_the_end_of_the_log() -> None:
    """Where the server keeps no log, its stack trace stands in."""
    error = server_error("the import", ServerError("error-on-init", "", f"loci.formats.UnknownFormatException: {UUID}"))
    assert isinstance(error, Permanent)
    assert error.log_tail == "loci.formats.UnknownFormatException: <uuid>"
    assert server_error("the import", ServerError("x", "y"), "a log").log_tail == "a log"


def test_stack_frames_stay_out_of_the_sentence() -> None:
    """An event's message is for people; frames are in the log tail."""
    fault = Fault(("Ice.UnknownException",), "ome.conditions.X: no\n\tat a.b.c(D.java:1)\n\tat e.f")
    with pytest.raises(Transient) as caught, translated("a call"):
        raise Ice.UnknownException(fault.message)
    assert str(caught.value) == "a call failed: UnknownException: ome.conditions.X: no"


def test_an_exception_without_a_message_is_told_by_the_first_line_of_its_trace() -> None:
    """``ShutdownInProgress`` comes with a trace only."""
    fault = fault_of(omero.ShutdownInProgress(serverStackTrace="Ice.ObjectAdapterDeactivatedException\n at x"))
    assert fault.message == "Ice.ObjectAdapterDeactivatedException"

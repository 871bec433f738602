"""From exceptions of Ice and OMERO to the fleet's own: around every call to the server.

Neighbours: :mod:`~fleet_worker.omero.classify` decides, this module catches. Safe in any thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import Ice
import omero

from fleet_common.errors import RequestError, Transient, failure
from fleet_worker.omero.classify import Fault, ServerError, classify_call, classify_server, fault_of
from fleet_worker.omero.redact import sentence, tail, trace

_MS = 1000


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Run calls to the server; what they raise leaves as an error of :mod:`fleet_common.errors`.

    Args:
        what: The work as a noun phrase, for the text: ``"the upload of file 3"``.
    """
    try:
        yield
    except (Ice.Exception, omero.ClientError) as error:
        raise error_of(what, fault_of(error)) from error


def error_of(what: str, fault: Fault) -> RequestError:
    """The fleet's error for a fault."""
    error = failure(classify_call(fault), f"{what} failed: {fault.name.rpartition('.')[2]}: {sentence(fault.message)}")
    if isinstance(error, Transient) and fault.back_off_ms > 0:
        error.delay_seconds = fault.back_off_ms / _MS
    return error


def server_error(what: str, error: ServerError, log: str = "") -> RequestError:
    """The fleet's error for a job that ended inside the server.

    Args:
        what: The work as a noun phrase.
        error: What the server sent.
        log: The server's log of the import, raw; the stack trace stands in where there is none.
    """
    said = error.message or _headline(error.stacktrace) or "no message"
    text = f"{what} failed in the server: {error.name}: {sentence(said)}"
    return failure(classify_server(error), text, log_tail=tail(log) or trace(error.stacktrace) or tail(error.message))


def _headline(stacktrace: str) -> str:
    return stacktrace.strip().partition("\n")[0]

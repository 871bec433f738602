"""Register an import: ``importFileset`` with the request id inside its graph.

The key annotation is saved in the same transaction as the fileset, so no attempt leaves one without it. Neighbours:
:mod:`~fleet_worker.omero.upload` takes over. Threading: safe in any thread; how many call at once over the whole fleet
is the caller's to limit (10 calls at once freeze a default server for 94 s).
"""

from __future__ import annotations

import platform
import random
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

import omero
import omero.grid
import omero.model
import omero.rtypes
import structlog

from fleet_common.errors import Reason, Transient, failure
from fleet_common.events import Transfer
from fleet_common.messages import Skip
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import ImportSpec
from fleet_worker.omero.filesets import NAMESPACE
from fleet_worker.omero.inplace import transfer_annotation
from fleet_worker.omero.queries import rows
from fleet_worker.omero.running import RunningCount
from fleet_worker.omero.translate import translated
from fleet_worker.omero.upload import RegisteredImport

_log = structlog.get_logger(__name__)

TRIES: Final = 5
_MAX_PAUSE_SECONDS: Final = 1.5
_KEPT_LEVELS: Final = 3
"""Folders above a file that OMERO keeps where no reader tells it how many."""

_FILESET_ID = """
    select l.parent.id from FilesetAnnotationLink l join l.child a join a.mapValue mv
    where a.ns = :ns and mv.name = 'registration' and mv.value = :registration
"""


def check_paths(spec: ImportSpec) -> None:
    """Refuse what ``importFileset`` is known to answer with an internal error.

    Raises:
        Permanent: Two files have one path, differ in case only, or lie in folders that part more than three levels
            above the shallowest of them while no reader class is given.
    """
    folded = [file.client_path.casefold() for file in spec.files]
    if len(set(folded)) != len(folded):
        twice = next(path for path in folded if folded.count(path) > 1)
        raise failure(Reason.NAME_REFUSED, f"two files of {spec.source} have the same path but for case: {twice}")
    parts = [file.client_path.split("/") for file in spec.files]
    common = _common_depth([path[:-1] for path in parts])
    if spec.reader_class is None and min(map(len, parts)) - _KEPT_LEVELS - 1 > common:
        raise failure(
            Reason.UNSUPPORTED, f"the files of {spec.source} lie too far apart to import without a reader class"
        )


def _common_depth(folders: list[list[str]]) -> int:
    depth = 0
    for level in zip(*folders, strict=False):
        if len(set(level)) > 1:
            break
        depth += 1
    return depth


def register(
    connection: Connection,
    spec: ImportSpec,
    *,
    running: RunningCount,
    pause: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> RegisteredImport:
    """Create fileset, folders and job in the server.

    Args:
        connection: The owner's session, with its group in the context.
        spec: What to import.
        running: Counts what may be at work in the server.
        pause: Sleeps for seconds.
        jitter: A number from 0 to 1.

    Raises:
        RequestError: As the table in `classify` says.
    """
    check_paths(spec)
    for attempt in range(1, TRIES + 1):
        registration = str(uuid.uuid4())
        _log.debug("importFileset is called", source=spec.source, attempt=attempt)
        try:
            with translated(f"the registration of {spec.source}"):
                process = connection.repository.importFileset(_fileset(spec, registration), _settings(spec))
        except Transient as error:
            # Two sessions of one user that make the folder of the day at once: the second finds it half made.
            if attempt == TRIES or not isinstance(error.__cause__, omero.ValidationException | omero.ResourceError):
                raise
            _log.info("registration is tried again", attempt=attempt, error=str(error))
            pause(attempt * _MAX_PAUSE_SECONDS / TRIES * (0.5 + jitter()))
        else:
            return RegisteredImport(connection, spec, process, _fileset_id(connection, registration), running)
    raise AssertionError("unreachable: the last try returns or raises")


def _fileset_id(connection: Connection, registration: str) -> int:
    found = rows(
        connection, "the look-up of a new fileset", _FILESET_ID, {"ns": NAMESPACE, "registration": registration}
    )
    if not found:
        raise Transient(Reason.IMPORT_INTERRUPTED, "the fileset was deleted right after its registration")
    return int(found[0][0])


def _fileset(spec: ImportSpec, registration: str) -> Any:
    fileset = omero.model.FilesetI()
    for file in spec.files:
        entry = omero.model.FilesetEntryI()
        entry.clientPath = omero.rtypes.rstring(file.client_path)
        fileset.addFilesetEntry(entry)
    job = omero.model.UploadJobI()
    job.setVersionInfo(named_values(_version_info(spec).items()))
    fileset.linkJob(job)
    annotation = omero.model.MapAnnotationI()
    annotation.ns = omero.rtypes.rstring(NAMESPACE)
    annotation.mapValue = named_values(_key(spec, registration).items())
    fileset.linkAnnotation(annotation)
    if spec.transfer is Transfer.LN_S:
        fileset.linkAnnotation(transfer_annotation())
    return fileset


def _key(spec: ImportSpec, registration: str) -> dict[str, str]:
    return {
        "request_id": spec.request_id,
        "digest": spec.digest,
        "attempt": str(spec.attempt),
        "fleet_version": spec.fleet_version,
        "source": spec.source,
        "format": spec.format,
        "skip": ",".join(spec.skip),
        "transfer": spec.transfer.value,
        "registration": registration,
    }


def _version_info(spec: ImportSpec) -> dict[str, str]:
    """The keys that OMERO's importer sends; every value must be a string, None breaks the call."""
    known = {
        "omero.version": "omero-import-fleet " + spec.fleet_version,
        "client.language.name": "Python",
        "client.language.vendor": platform.python_implementation(),
        "client.language.compiler": platform.python_compiler(),
        "client.language.version": platform.python_version(),
        "os.name": platform.system(),
        "os.version": platform.release(),
        "os.architecture": platform.machine(),
    }
    return known | ({"bioformats.reader": spec.reader_class} if spec.reader_class else {})


def _settings(spec: ImportSpec) -> Any:
    settings = omero.grid.ImportSettings()
    algorithm = omero.model.ChecksumAlgorithmI()
    algorithm.value = omero.rtypes.rstring(spec.effective_algorithm.value)
    settings.checksumAlgorithm = algorithm
    settings.userSpecifiedName = omero.rtypes.rstring(spec.name) if spec.name else None
    settings.userSpecifiedDescription = omero.rtypes.rstring(spec.description) if spec.description else None
    if spec.target is not None:
        model = getattr(omero.model, f"{spec.target.kind}I")
        settings.userSpecifiedTarget = model(spec.target.id, False)  # noqa: FBT003  Ice knows no keywords
    if Skip.THUMBNAILS in spec.skip:
        settings.doThumbnails = omero.rtypes.rbool(False)  # noqa: FBT003  as above
    if Skip.MINMAX in spec.skip:
        settings.noStatsInfo = omero.rtypes.rbool(True)  # noqa: FBT003  as above
    return settings


def named_values(pairs: Iterable[tuple[str, str]]) -> list[Any]:
    """Pairs of a map annotation, in order."""
    return [omero.model.NamedValue(name, value) for name, value in pairs]

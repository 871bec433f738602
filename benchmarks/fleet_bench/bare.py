"""The cheapest import that OMERO's protocol allows, as plain calls of omero-py: the floor that the fleet is held to.

It does without everything that an import needs to be safe: no slots, locks, election, verification or annotation, and
hashes are known before time runs. One after the other it shows what each part costs, all at once how they wait for each
other. Neighbours: `floors` makes figures of it. Threading: uploads and imports have pools of their own; a file's store
gets one call at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import omero.clients  # omero.rtypes imported first by anybody would leave omero.model empty
from omero.callbacks import CmdCallbackI
from omero.cmd import ERR
from omero.grid import ImportSettings
from omero.model import ChecksumAlgorithmI, DatasetI, FilesetEntryI, FilesetI, NamedValue, ScreenI, UploadJobI
from omero.rtypes import rstring

from fleet_bench.material import Fileset
from fleet_bench.stage import USER, Stage
from fleet_stack.console import StackError
from fleet_stack.omero.login import properties

CHUNK_BYTES: Final = 8 * 1024 * 1024
_SERVER_SECONDS: Final = 1800
_POLLS_MS: Final = 1000
Hashed = tuple[Fileset, Sequence[str]]
_CONTAINERS: Final = {"Screen": ScreenI, "Dataset": DatasetI}


@dataclass(frozen=True, slots=True)
class Bare:
    """What the three parts of a bare import took, one after the other, for all filesets together."""

    register_seconds: float
    upload_seconds: float
    server_seconds: float

    @property
    def whole_seconds(self) -> float:
        """All three."""
        return self.register_seconds + self.upload_seconds + self.server_seconds


@dataclass(frozen=True, slots=True)
class AtOnce:
    """What bare imports took at once: altogether, and each between its first and last file, summed up."""

    whole_seconds: float
    upload_seconds: float


@contextlib.contextmanager
def logged_in(stage: Stage, *, secure: bool = True, user: str = USER, port: int = 0) -> Iterator[Any]:
    """An ``omero.client`` of an ordinary user, over verified TLS or over plain TCP.

    Args:
        stage: With the server.
        secure: Whether what follows the login travels over TLS.
        user: Who.
        port: Where the server's TLS door is to be found; 0 for where it is.
    """
    description = stage.description.omero
    client = omero.client(pmap=properties(port or description.ssl_port, description.ca_file))
    try:
        client.createSession(user, stage.password(user))
        if secure:
            yield client
            return
        plain = client.createClient(False)  # noqa: FBT003  Ice knows no keywords
        try:
            yield plain
        finally:
            plain.closeSession()
    finally:
        client.closeSession()


def hashes_of(fileset: Fileset) -> list[str]:
    """SHA1 of every file, in order."""
    return [_sha1(file) for file in fileset.files]


def run(client: Any, filesets: Sequence[Hashed], target: tuple[str, int], *, uploads: int, imports: int) -> Bare:
    """Register all filesets, send all their files, then have the server import them, and say what each took.

    Args:
        client: From :func:`logged_in`.
        filesets: With their hashes, made beforehand.
        target: Kind and id of the container.
        uploads: Files in flight.
        imports: Imports in the server at once; a default server takes 4 without stalling others.

    Raises:
        StackError: The server refused one.
    """
    times = [time.perf_counter()]
    repository = client.getManagedRepository()
    processes = [repository.importFileset(_fileset(one), _settings(target)) for one, _ in filesets]
    times.append(time.perf_counter())
    with ThreadPoolExecutor(uploads) as senders:
        for process, (one, _) in zip(processes, filesets, strict=True):
            _upload(process, one, senders)
    times.append(time.perf_counter())
    with ThreadPoolExecutor(imports) as pool:
        list(
            pool.map(lambda pair: _finish(client, *pair), zip(processes, (known for _, known in filesets), strict=True))
        )
    times.append(time.perf_counter())
    return Bare(*(after - before for before, after in itertools.pairwise(times)))


def run_at_once(
    client: Any, filesets: Sequence[Hashed], target: tuple[str, int], *, uploads: int, imports: int
) -> AtOnce:
    """Import so many filesets at once, each registered, sent and imported on its own, by the same senders.

    Args:
        client: From :func:`logged_in`.
        filesets: With their hashes, made beforehand.
        target: Kind and id of the container.
        uploads: Files in flight, over all filesets.
        imports: Filesets at once.

    Raises:
        StackError: The server refused one.
    """
    repository = client.getManagedRepository()
    began = time.perf_counter()
    with ThreadPoolExecutor(uploads) as senders, ThreadPoolExecutor(imports) as importers:

        def one(pair: Hashed) -> float:
            process = repository.importFileset(_fileset(pair[0]), _settings(target))
            registered = time.perf_counter()
            _upload(process, pair[0], senders)
            took = time.perf_counter() - registered
            _finish(client, process, pair[1])
            return took

        upload_seconds = sum(importers.map(one, filesets))
    return AtOnce(time.perf_counter() - began, upload_seconds)


def write_raw(client: Any, size_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> float:
    """Write as many bytes from memory into one file of the repository, without hashing, and return the seconds."""
    repository = client.getManagedRepository()
    who = client.sf.getAdminService().getEventContext()
    # The first folder has to be the user's own.
    folder = f"{who.userName}_{who.userId}/raw"
    repository.makeDir(folder, True)  # noqa: FBT003  Ice knows no keywords
    store = repository.file(f"{folder}/{time.time_ns()}.bin", "rw")
    chunk = bytes(chunk_bytes)
    began = time.perf_counter()
    for position in range(0, size_bytes, chunk_bytes):
        store.write(chunk, position, min(chunk_bytes, size_bytes - position))
    seconds = time.perf_counter() - began
    # What has not reached the disk yet never does.
    store.truncate(0)
    store.close()
    return seconds


def _upload(process: Any, fileset: Fileset, senders: ThreadPoolExecutor) -> None:
    closing: list[Any] = []

    def send(index: int) -> None:
        store = process.getUploader(index)
        position = 0
        with fileset.files[index].open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                store.write(chunk, position, len(chunk))
                position += len(chunk)
        # To close a file has the server hash and save it, and `verifyUpload` compares; so neither is waited for here.
        closing.append((store, store.begin_close()))

    # The first alone: two openings at once, the first of an import, may spoil the server's context of it.
    send(0)
    list(senders.map(send, range(1, len(fileset.files))))
    for store, pending in closing:
        store.end_close(pending)


def _finish(client: Any, process: Any, hashes: Sequence[str]) -> None:
    handle = process.verifyUpload(list(hashes))
    process.close()
    callback = CmdCallbackI(client, handle)
    try:
        callback.loop(_SERVER_SECONDS * 1000 // _POLLS_MS, _POLLS_MS)
        answer = callback.getResponse()
    finally:
        callback.close(True)  # noqa: FBT003  Ice knows no keywords
    if isinstance(answer, ERR):
        raise StackError(f"the server did not import a bare fileset: {answer.name} {dict(answer.parameters)}")


def _fileset(material: Fileset) -> Any:
    fileset = FilesetI()
    for file in material.files:
        entry = FilesetEntryI()
        entry.clientPath = rstring(str(file).lstrip("/"))
        fileset.addFilesetEntry(entry)
    job = UploadJobI()
    job.setVersionInfo([NamedValue("bioformats.reader", material.reader)] if material.reader else [])
    fileset.linkJob(job)
    return fileset


def _settings(target: tuple[str, int]) -> Any:
    settings = ImportSettings()
    settings.checksumAlgorithm = ChecksumAlgorithmI()
    settings.checksumAlgorithm.value = rstring("SHA1-160")
    kind, identity = target
    settings.userSpecifiedTarget = _CONTAINERS[kind](identity, False)  # noqa: FBT003  Ice knows no keywords
    return settings


def _sha1(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha1").hexdigest()

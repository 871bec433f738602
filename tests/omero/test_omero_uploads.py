"""The upload pool on a real OMERO: a damaged chunk, files that change on their way, and batches found again."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import omero
import omero.model
import omero.rtypes
import pytest

from fleet_common.errors import Reason, RequestError
from fleet_common.storage import ManifestEntry, OpenFiles, Share
from fleet_stack.plates import tiff as write_tiff
from fleet_worker.omero import upload
from fleet_worker.omero.filesets import NAMESPACE
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.register import named_values
from fleet_worker.omero.session import OwnerSession
from fleet_worker.omero.state import State, classify
from fleet_worker.omero.upload import RegisteredImport
from fleet_worker.uploads import UploadPool
from omero_imports import never, nobody, spec_of, state_of

pytestmark = pytest.mark.timeout(600)
CHUNK_BYTES = 4096


@dataclass
class Wire:
    """Stands between worker and server: counts the chunks of each file and damages some on their way."""

    damages: set[tuple[int, int]] = field(default_factory=set)
    written: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def passes(self, index: int, chunk: bytes) -> bytes:
        """One chunk of a file; the number counts on when the file is sent again."""
        with self.lock:
            number = self.written.get(index, 0)
            self.written[index] = number + 1
        return bytes([chunk[0] ^ 1]) + chunk[1:] if (index, number) in self.damages else chunk


@dataclass
class WiredStore:
    """A file in the server, reached over the wire."""

    store: Any
    index: int
    wire: Wire

    def begin_write(self, chunk: bytes, position: int, length: int) -> Any:
        """Send a chunk."""
        return self.store.begin_write(self.wire.passes(self.index, chunk), position, length)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Between every registered import and the server, with small chunks."""
    made, opened = Wire(), RegisteredImport._uploader

    def wired(self: RegisteredImport, what: str, index: int, ahead: int) -> WiredStore:
        return WiredStore(opened(self, what, index, ahead), index, made)

    monkeypatch.setattr(RegisteredImport, "_uploader", wired)
    monkeypatch.setattr(upload, "CHUNK_BYTES", CHUNK_BYTES)
    return made


@pytest.fixture
def pool() -> Iterator[UploadPool]:
    """Two files at once."""
    made = UploadPool(2)
    yield made
    made.close()


@dataclass
class Sending:
    """Files of one request on their way through the pool."""

    registered: RegisteredImport
    share: Path
    files: list[Path]
    told: list[int] = field(default_factory=list)
    on_bytes: Callable[[int], None] = nobody

    def send(self, pool: UploadPool, limit: int | None = None) -> tuple[str, ...]:
        """All of them."""
        entries = [ManifestEntry(str(file.relative_to(self.share)), file.stat().st_size) for file in self.files]
        with OpenFiles(Share("hcs", self.share)) as opened:
            return pool.send(
                opened,
                entries,
                self.registered,
                limit=limit,
                on_bytes=self._told,
                on_begin=lambda: None,
                on_file=lambda: None,
                check=never,
            )

    def _told(self, count: int) -> None:
        self.told.append(count)
        self.on_bytes(count)


def images(share: Path, count: int) -> list[Path]:
    """Images of more than two chunks each."""
    return [write_tiff(share / f"{number}.tif", size=100, seed=number) for number in range(count)]


@pytest.mark.parametrize("chunk_bytes", [CHUNK_BYTES, 8 * CHUNK_BYTES], ids=["chunks", "whole"])
def test_one_damaged_chunk_costs_one_file(  # noqa: PLR0917  fixtures are arguments
    alice: OwnerSession,
    share: Path,
    pool: UploadPool,
    wire: Wire,
    chunk_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a bit that flips on the wire, then that file alone is sent again, and OMERO holds what was acquired.

    Small files are compared after the last of them, larger ones in their turn.
    """
    monkeypatch.setattr(upload, "CHUNK_BYTES", chunk_bytes)
    files = images(share, 4)
    chunks = {index: -(-file.stat().st_size // chunk_bytes) for index, file in enumerate(files)}
    assert min(chunks.values()) > 2 or max(chunks.values()) == 1
    wire.damages = {(2, chunks[2] - 1)}
    sending = Sending(alice.register(spec_of(share, files)), share, files)
    hashes = sending.send(pool)
    assert wire.written == {**chunks, 2: 2 * chunks[2]}
    assert [count for count in sending.told if count < 0] == [-files[2].stat().st_size]
    assert sum(sending.told) == sum(file.stat().st_size for file in files)
    assert list(hashes) == [hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest() for file in files]
    sending.registered.start(hashes).wait(deadline_seconds=120, on_step=nobody, stop=never)
    held = {file.path: file.hash_hex for file in alice.verify(sending.registered.fileset_id).files}
    assert held == {file.name: hash_hex for file, hash_hex in zip(files, hashes, strict=True)}


def test_a_file_that_is_damaged_three_times_ends_the_upload(
    alice: OwnerSession, share: Path, pool: UploadPool, wire: Wire
) -> None:
    """It is no accident then; the attempt ends, and the next one begins anew."""
    files = images(share, 2)
    chunks = -(-files[1].stat().st_size // CHUNK_BYTES)
    wire.damages = {(1, 0), (1, chunks), (1, 2 * chunks)}
    sending = Sending(alice.register(spec_of(share, files)), share, files)
    with pytest.raises(RequestError, match=r"hcs/1\.tif.* 3 times") as caught:
        sending.send(pool)
    assert caught.value.reason is Reason.UPLOAD_DIFFERS
    assert wire.written[1] == 3 * chunks
    alice.delete_fileset(sending.registered.fileset_id)


def grow(file: Path) -> None:
    """Append."""
    with file.open("ab") as stream:
        stream.write(b"more")


def rewrite(file: Path) -> None:
    """Change a byte at the end that is still to be sent."""
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"!")


@pytest.mark.parametrize(
    "change",
    [grow, rewrite, lambda file: os.truncate(file, CHUNK_BYTES + 1), Path.unlink],
    ids=["grew", "changed", "shrank", "vanished"],
)
def test_a_file_that_changes_half_way_ends_the_attempt(  # noqa: PLR0917  fixtures are arguments
    alice: OwnerSession,
    gateway: Gateway,
    share: Path,
    pool: UploadPool,
    wire: Wire,
    change: Callable[[Path], object],
) -> None:
    """As manifest-differs, never as a defect; what was sent can be deleted, and nothing was started."""
    files = images(share, 3)
    spec = spec_of(share, files)
    sending = Sending(alice.register(spec), share, files)
    changes = iter([change])

    def change_once(_: int) -> None:
        if wire.written.get(1) == 2:
            next(changes, nobody)(files[1])

    sending.on_bytes = change_once
    with pytest.raises(RequestError, match=r"hcs/1\.tif") as caught:
        sending.send(pool, limit=1)
    assert caught.value.reason is Reason.MANIFEST_DIFFERS
    assert next(changes, None) is None
    assert 2 not in wire.written
    assert classify(state_of(gateway, spec)) is State.UPLOAD_UNFINISHED
    alice.delete_fileset(sending.registered.fileset_id)
    assert gateway.find_filesets(spec.request_id) == ()


def test_the_requests_of_a_batch_are_found_by_its_name_and_id(
    alice: OwnerSession, gateway: Gateway, share: Path
) -> None:
    """Those only whose fileset's owner wrote it."""
    (tif,) = images(share, 1)
    specs = [spec_of(share, [tif]) for _ in range(3)]
    name, batch_id = f"batch {uuid.uuid4()}", str(uuid.uuid4())
    filesets = [alice.register(spec).fileset_id for spec in specs]
    for fileset_id in filesets[:2]:
        alice.annotate(fileset_id, {"batch": name, "batch_id": batch_id}, {})
    with gateway.sudo("bob", "screening") as bob:
        pairs = [("request_id", specs[2].request_id), ("batch", name)]
        annotation = omero.model.MapAnnotationI()
        annotation.ns = omero.rtypes.rstring(NAMESPACE)
        annotation.mapValue = named_values(pairs)
        link = omero.model.FilesetAnnotationLinkI()
        link.parent = omero.model.FilesetI(filesets[2], False)  # noqa: FBT003  Ice knows no keywords
        link.child = annotation
        bob._connection.update.saveObject(link)
    expected = [spec.request_id for spec in specs[:2]]
    assert list(gateway.find_requests(name)) == list(gateway.find_requests(batch_id)) == expected
    assert gateway.find_requests("no such batch") == ()
    for fileset_id in filesets:
        alice.delete_fileset(fileset_id)

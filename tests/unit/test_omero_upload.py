"""Sending files, without a server: order of calls, second sends, progress, comparison and interruption."""

from __future__ import annotations

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import Ice
import omero
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import Reason, RequestError, Transient
from fleet_worker.omero import upload
from fleet_worker.omero.facts import HeldFile, ImportSpec, SpecFile, UploadedFile
from fleet_worker.omero.inplace import FilesInPlace
from fleet_worker.omero.running import RunningCount
from fleet_worker.omero.upload import SENDS, RegisteredImport


@dataclass
class Store:
    """One file in the server; refuses two calls at a time, as the real one should be treated."""

    damaged_sends: int = 0
    data: bytearray = field(default_factory=bytearray)
    calls: list[str] = field(default_factory=list)
    pending: tuple[bytes, int] | None = None
    error: Exception | None = None

    def begin_write(self, chunk: bytes, position: int, length: int) -> object:
        """Take a chunk."""
        assert self.pending is None, "two writes at a time"
        assert length == len(chunk)
        self.calls.append("write")
        self.pending = (bytes(chunk), position)
        return self.pending

    def end_write(self, _pending: object) -> None:
        """The chunk has arrived."""
        assert self.pending is not None
        (chunk, position), self.pending = self.pending, None
        if self.error is not None:
            raise self.error
        self.data[position : position + len(chunk)] = chunk

    def ice_invocationTimeout(self, _milliseconds: int) -> Store:  # noqa: N802  Ice's name
        """The same with another time-out."""
        return self

    def save(self) -> Any:
        """Hash what is there."""
        assert self.pending is None
        self.calls.append("save")
        data = bytes(self.data)
        if self.damaged_sends > 0:
            self.damaged_sends -= 1
            data += b"!"
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        return SimpleNamespace(hash=SimpleNamespace(val=digest))

    def truncate(self, length: int) -> None:
        """Cut."""
        self.calls.append("truncate")
        del self.data[length:]

    def begin_close(self) -> str:
        """Begin to close."""
        assert self.pending is None, "closed while written to"
        self.calls.append("begin_close")
        return "closing"

    def end_close(self, _pending: object) -> None:
        """It is closed."""
        self.calls.append("end_close")

    def close(self) -> None:
        """Close."""
        self.calls.append("close")


@dataclass
class Process:
    """The server's side of an upload."""

    store: Store | None
    closed: int = 0
    opened: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    begun_before_one_was_open: int = 0

    def begin_getUploader(self, index: int) -> int:  # noqa: N802  OMERO's name
        """Begin to open a file."""
        self.begun_before_one_was_open += not self.ended
        self.opened.append(index)
        return index + 1

    def end_getUploader(self, pending: int) -> Store | None:  # noqa: N802  OMERO's name
        """It is open."""
        if self.store is not None:
            self.ended.append(pending - 1)
        return self.store

    def ice_invocationTimeout(self, _milliseconds: int) -> Process:  # noqa: N802  Ice's name
        """The same with another time-out."""
        return self

    def verifyUpload(self, _hashes: list[str]) -> Any:  # noqa: N802  OMERO's name
        """Refuse."""
        raise omero.ChecksumValidationException(failingChecksums={2: "", 0: "abc"})

    def close(self) -> None:
        """Let go."""
        self.closed += 1


def registered(store: Store | None, size_bytes: int, running: RunningCount | None = None) -> RegisteredImport:
    """A registered import of one file."""
    spec = ImportSpec("r", "d", 1, "hcs/a", "file", (SpecFile("hcs/a", size_bytes),))
    connection: Any = None
    return RegisteredImport(connection, spec, Process(store), 7, running or RunningCount())


def nobody(_: object) -> None:
    """Hears progress and does nothing."""


def never() -> None:
    """Lets everything go on."""


def ahead(process: Process, files: int) -> RegisteredImport:
    """A registered import of files of three bytes."""
    spec = ImportSpec("r", "d", 1, "hcs/0", "file", tuple(SpecFile(f"hcs/{number}", 3) for number in range(files)))
    connection: Any = None
    return RegisteredImport(connection, spec, process, 7, RunningCount())


def send(store: Store, data: bytes, told: list[int] | None = None) -> UploadedFile:
    """Upload these bytes."""
    heard: list[int] = [] if told is None else told
    return registered(store, len(data)).upload(0, io.BytesIO(data), on_bytes=heard.append, stop=lambda: None)


@given(data=st.binary(max_size=300), chunk=st.integers(1, 64))
def test_every_byte_arrives_once_and_in_place(data: bytes, chunk: int) -> None:
    """Whatever the size of a chunk; an empty file is saved without a write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload, "CHUNK_BYTES", chunk)
        store, told = Store(), list[int]()
        sent = send(store, data, told)
    assert bytes(store.data) == data
    assert sum(told) == len(data)
    assert sent.hash_hex == hashlib.sha1(data, usedforsecurity=False).hexdigest()
    assert store.calls.count("write") == -(-len(data) // chunk)


def test_a_small_file_is_written_and_closed_in_the_background() -> None:
    """To close it has the server save it; nobody waits for it before all files are compared."""
    store = Store()
    ahead(Process(store), 2).upload(0, io.BytesIO(b"abc"), on_bytes=nobody, stop=never, ahead=1)
    assert store.calls == ["write", "begin_close"]


def test_an_empty_file_is_saved() -> None:
    """The server saves only what was written to."""
    store = Store()
    send(store, b"")
    assert store.calls[:2] == ["save", "begin_close"]


def test_a_damaged_file_is_cut_and_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress does not count it twice."""
    monkeypatch.setattr(upload, "CHUNK_BYTES", 2)
    store, told = Store(damaged_sends=1), list[int]()
    assert send(store, b"abc", told).sends == 2
    assert store.calls[:7] == ["write", "write", "save", "truncate", "write", "write", "save"]
    assert told == [2, 1, -3, 2, 1]


def test_it_is_given_up_after_three_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is no accident."""
    monkeypatch.setattr(upload, "CHUNK_BYTES", 2)
    store = Store(damaged_sends=SENDS)
    with pytest.raises(Transient) as caught:
        send(store, b"abc")
    assert caught.value.reason is Reason.UPLOAD_DIFFERS
    assert store.calls.count("save") == SENDS


def test_a_file_that_was_not_saved_is_closed_before_anything_else_happens() -> None:
    """Its session could end meanwhile, and the server would lock up."""
    store = Store()
    with pytest.raises(Transient) as caught:
        registered(store, 99).upload(0, io.BytesIO(b"abc"), on_bytes=lambda _: None, stop=lambda: None)
    assert caught.value.reason is Reason.MANIFEST_DIFFERS
    assert store.calls == ["write", "begin_close", "end_close"]


def test_a_file_that_grows_for_ever_is_given_up_after_the_first_byte_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instrument may append to it faster than it is sent."""

    class Endless(io.BytesIO):
        def read(self, _size: int | None = None) -> bytes:
            return b"x"

    monkeypatch.setattr(upload, "CHUNK_BYTES", 1)
    store = Store()
    with pytest.raises(Transient, match="its manifest says 3") as caught:
        registered(store, 3).upload(0, Endless(), on_bytes=lambda _: None, stop=lambda: None)
    assert caught.value.reason is Reason.MANIFEST_DIFFERS
    assert bytes(store.data) == b"xxxx"
    assert "save" not in store.calls


def test_stop_waits_for_the_chunk_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store must be idle before it is closed."""
    monkeypatch.setattr(upload, "CHUNK_BYTES", 1)
    store, asked = Store(), list[int]()

    def stop() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registered(store, 3).upload(0, io.BytesIO(b"abc"), on_bytes=lambda _: None, stop=stop)
    assert store.calls == ["write", "begin_close", "end_close"]
    assert bytes(store.data) == b"a"


def test_a_lost_connection_is_no_fault_of_the_request() -> None:
    """The attempt costs nothing and is made anew."""
    with pytest.raises(RequestError) as caught:
        send(Store(error=Ice.ConnectionLostException()), b"abc")
    assert caught.value.reason is Reason.OMERO_UNAVAILABLE


def test_a_server_that_opens_no_file_has_lost_the_session() -> None:
    """``getUploader`` swallows its errors and returns None."""
    with pytest.raises(Transient) as caught:
        registered(None, 3).upload(0, io.BytesIO(b"abc"), on_bytes=lambda _: None, stop=lambda: None)
    assert caught.value.reason is Reason.SESSION_LOST


def test_refused_hashes_name_their_files_and_nothing_runs() -> None:
    """In the order of the spec."""
    running = RunningCount()
    with pytest.raises(Transient) as caught:
        registered(Store(), 3, running).start(["x"])
    assert getattr(caught.value, "indexes", None) == (0, 2)
    assert not running.any()


def test_the_files_that_come_next_are_opened_before_their_turn() -> None:
    """Each once, and no more of them than may be."""
    process = Process(Store())
    sending = ahead(process, 5)
    opened = []
    for index in range(5):
        sending.upload(index, io.BytesIO(b"abc"), on_bytes=nobody, stop=never, ahead=2)
        opened.append(list(process.opened))
    assert opened == [[0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize("ahead_files", [0, 2])
def test_no_file_is_opened_before_one_is_open(ahead_files: int) -> None:
    """Two openings at once, the first of their import, may spoil the server's context of it."""
    process = Process(Store())
    sending = ahead(process, 5)
    stage = threading.Barrier(5, timeout=30)

    def send_one(index: int) -> None:
        stage.wait()
        sending.upload(index, io.BytesIO(b"abc"), on_bytes=nobody, stop=never, ahead=ahead_files)

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(send_one, range(5)))
    assert process.begun_before_one_was_open == 1


def test_a_file_that_is_sent_again_is_opened_again() -> None:
    """It was closed meanwhile."""
    process = Process(Store())
    sending = ahead(process, 2)
    for index in (0, 1, 0):
        sending.upload(index, io.BytesIO(b"abc"), on_bytes=nobody, stop=never)
    assert process.opened == [0, 1, 0]


def test_at_most_so_many_files_are_closing() -> None:
    """The next is waited for."""
    store = Store()
    sending = ahead(Process(store), 3)
    for index in range(3):
        sending.upload(index, io.BytesIO(b"abc"), on_bytes=nobody, stop=never, ahead=1)
    assert store.calls.count("begin_close") == 3
    assert store.calls.count("end_close") == 2


def test_what_was_opened_for_nothing_is_closed() -> None:
    """The session is about to end."""
    store = Store()
    sending = ahead(Process(store), 4)
    sending.upload(0, io.BytesIO(b"abc"), on_bytes=nobody, stop=never, ahead=2)
    sending.close()
    assert store.calls == ["write", "begin_close", "close", "close", "end_close"]


def test_files_that_the_server_holds_otherwise_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all of them are closed, which is when the server saves them."""
    store = Store()
    sending = ahead(Process(store), 3)

    def held(_: FilesInPlace) -> tuple[HeldFile, ...]:
        assert store.calls[-1] == "end_close"
        return (HeldFile(5, "a/0", "same"), HeldFile(4, "a/1", "other"), HeldFile(6, "a/2"))

    monkeypatch.setattr(FilesInPlace, "held", held)
    sending.upload(0, io.BytesIO(b"abc"), on_bytes=nobody, stop=never, ahead=2)
    assert sending.differing(["same", "same", "same"]) == (1, 2)

"""Uploading the files of one request over the pool that all requests of a worker share."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet_common.errors import LeaseLost, Reason, RequestError, failure
from fleet_common.storage import ManifestEntry, OpenFiles, Share
from fleet_worker.omero.facts import UploadedFile
from fleet_worker.uploads import UploadPool

DEADLINE_SECONDS = 10.0


@dataclass
class Server:
    """Receives files; notes how many were in flight at once, and may hold all uploads back."""

    holds_back: bool = False
    fails: dict[int, RequestError] = field(default_factory=dict)
    received: dict[int, bytes] = field(default_factory=dict)
    begun: list[int] = field(default_factory=list)
    most_at_once: int = 0
    wanted_at_once: int = 0
    _in_flight: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _go: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def upload(
        self, index: int, stream: io.FileIO, *, on_bytes: Callable[[int], None], stop: Callable[[], None]
    ) -> UploadedFile:
        """Take one file."""
        stop()
        with self._lock:
            self.begun.append(index)
            self._in_flight += 1
            self.most_at_once = max(self.most_at_once, self._in_flight)
            if self._in_flight == self.wanted_at_once:
                self.reached.set()
        try:
            if self.holds_back:
                assert self._go.wait(DEADLINE_SECONDS)
            if index in self.fails:
                raise self.fails[index]
            self.received[index] = stream.readall()
            on_bytes(len(self.received[index]))
            return UploadedFile(index, f"hash{index}", len(self.received[index]))
        finally:
            with self._lock:
                self._in_flight -= 1

    def go(self) -> None:
        """Let the uploads that were held back go on."""
        self._go.set()


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """Twelve files of 0 to 11 bytes; the first is not empty."""
    for number in range(12):
        (tmp_path / f"{number:02}.tif").write_bytes(b"x" * (number or 20))
    return Share("hcs", tmp_path)


@pytest.fixture
def pool() -> Iterator[UploadPool]:
    """Three files in flight in the whole worker."""
    made = UploadPool(3)
    yield made
    made.close()


def entries(count: int) -> list[ManifestEntry]:
    """The first files."""
    return [ManifestEntry(f"{number:02}.tif", number or 20) for number in range(count)]


@dataclass
class Sending:
    """One call of send, and what it told."""

    pool: UploadPool
    share: Share
    server: Server
    told_bytes: list[int] = field(default_factory=list)
    told_files: int = 0
    check: Callable[[], None] = lambda: None

    def send(self, count: int, limit: int | None = None) -> tuple[str, ...]:
        """Send the first files."""
        with OpenFiles(self.share) as files:
            return self.pool.send(
                files,
                entries(count),
                self.server,
                limit=limit,
                on_bytes=self.told_bytes.append,
                on_file=self._one_more,
                check=self.check,
            )

    def _one_more(self) -> None:
        self.told_files += 1


def test_every_file_is_sent_once_and_hashes_come_in_the_order_of_the_entries(share: Share, pool: UploadPool) -> None:
    """Whatever the order in which they arrive."""
    sending = Sending(pool, share, Server())
    assert sending.send(12) == tuple(f"hash{number}" for number in range(12))
    assert sending.server.received == {number: b"x" * (number or 20) for number in range(12)}
    assert (sum(sending.told_bytes), sending.told_files) == (20 + sum(range(12)), 12)


def test_no_files_are_no_hashes(share: Share, pool: UploadPool) -> None:
    """And no wait."""
    assert Sending(pool, share, Server()).send(0) == ()


@pytest.mark.parametrize(("limit", "expected"), [(None, 3), (1, 1), (2, 2), (3, 3), (32, 3)])
def test_at_most_so_many_files_are_in_flight(share: Share, pool: UploadPool, limit: int | None, expected: int) -> None:
    """The smaller of the request's own limit and the worker's, and that many really are."""
    server = Server(holds_back=True, wanted_at_once=expected)
    sending = Sending(pool, share, server)
    sender = threading.Thread(target=sending.send, args=(9, limit))
    sender.start()
    assert server.reached.wait(DEADLINE_SECONDS)
    server.go()
    sender.join(DEADLINE_SECONDS)
    assert not sender.is_alive()
    assert server.most_at_once == expected


def test_a_request_with_one_file_does_not_wait_for_all_of_another(share: Share, pool: UploadPool) -> None:
    """Given a plate that holds one thread of three, when an image comes, then it is sent meanwhile."""
    slow = Server(holds_back=True, wanted_at_once=1)
    plate = Sending(pool, share, slow)
    sender = threading.Thread(target=plate.send, args=(9, 1))
    sender.start()
    assert slow.reached.wait(DEADLINE_SECONDS)
    assert Sending(pool, share, Server()).send(1) == ("hash0",)
    assert sender.is_alive()
    slow.go()
    sender.join(DEADLINE_SECONDS)
    assert len(slow.received) == 9


def test_the_first_failure_ends_the_upload_and_begins_no_further_file(share: Share, pool: UploadPool) -> None:
    """Its error is what the attempt hears; what was in flight has ended by then."""
    server = Server(fails={0: failure(Reason.UPLOAD_DIFFERS, "differs")})
    with pytest.raises(RequestError) as caught:
        Sending(pool, share, server).send(12, limit=1)
    assert caught.value is server.fails[0]
    assert server.begun == [0]


def test_nobody_writes_any_more_when_a_failed_upload_has_returned(share: Share, pool: UploadPool) -> None:
    """The fileset is deleted next: a file still in flight must have ended."""
    server = Server(holds_back=True, wanted_at_once=3, fails={0: failure(Reason.UPLOAD_DIFFERS, "differs")})
    returned = threading.Event()

    def send() -> None:
        with pytest.raises(RequestError):
            Sending(pool, share, server).send(12)
        assert server._in_flight == 0
        returned.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert server.reached.wait(DEADLINE_SECONDS)
    server.go()
    sender.join(DEADLINE_SECONDS)
    assert returned.is_set()


def test_a_lost_lock_ends_the_upload(share: Share, pool: UploadPool) -> None:
    """The check is asked before every file, from any thread."""
    server = Server()
    sending = Sending(pool, share, server)

    def check() -> None:
        if server.received:
            raise LeaseLost("lost")

    sending.check = check
    with pytest.raises(LeaseLost):
        sending.send(12, limit=1)
    assert list(server.received) == [0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_bytes(b"longer than it was"), Reason.MANIFEST_DIFFERS),
        (lambda path: path.unlink(), Reason.MANIFEST_DIFFERS),
        (lambda path: (path.unlink(), path.symlink_to("/etc/hostname")), Reason.NOT_A_REGULAR_FILE),
    ],
    ids=["another size", "gone", "a link swapped in"],
)
def test_a_file_that_changed_since_the_manifest_is_not_sent(
    share: Share, pool: UploadPool, change: Callable[[Path], object], reason: Reason
) -> None:
    """It is checked on the open descriptor."""
    change(share.root / "05.tif")
    server = Server()
    with pytest.raises(RequestError) as caught:
        Sending(pool, share, server).send(6, limit=1)
    assert caught.value.reason is reason
    assert 5 not in server.begun


def test_the_pool_serves_the_next_request_after_a_failure(share: Share, pool: UploadPool) -> None:
    """No thread is lost."""
    for _ in range(4):
        with pytest.raises(RequestError):
            Sending(pool, share, Server(fails={0: failure(Reason.SESSION_LOST, "gone")})).send(3)
    assert len(Sending(pool, share, Server()).send(12)) == 12

"""Uploading the files of one request over the pool that all requests of a worker share."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from fleet_common.errors import LeaseLost, Reason, RequestError, failure
from fleet_common.storage import ManifestEntry, OpenFiles, Share
from fleet_worker.omero.facts import UploadedFile
from fleet_worker.uploads import UploadPool
from fleet_worker.uploadslots import UploadSlots
from support.waiting import until

DEADLINE_SECONDS = 10.0


@dataclass
class Server:
    """Receives files; notes how many were in flight at once, and may hold all uploads back."""

    holds_back: bool = False
    fails: dict[int, RequestError] = field(default_factory=dict)
    received: dict[int, bytes] = field(default_factory=dict)
    begun: list[int] = field(default_factory=list)
    meanwhile: dict[int, Callable[[], object]] = field(default_factory=dict)
    endless: set[int] = field(default_factory=set)
    damaged: dict[int, int] = field(default_factory=dict)
    aheads: list[int] = field(default_factory=list)
    most_at_once: int = 0
    wanted_at_once: int = 0
    _in_flight: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _go: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def upload(
        self, index: int, stream: io.FileIO, *, on_bytes: Callable[[int], None], stop: Callable[[], None], ahead: int
    ) -> UploadedFile:
        """Take one file."""
        self.aheads.append(ahead)
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
            self.meanwhile.get(index, lambda: None)()
            while index in self.endless:
                stop()
            on_bytes(len(self.received[index]))
            return UploadedFile(index, f"hash{index}", len(self.received[index]))
        finally:
            with self._lock:
                self._in_flight -= 1

    def differing(self, hashes: Sequence[str]) -> Collection[int]:
        """Whatever was damaged on its way, for so many sends."""
        assert all(hashes)
        return {index for index, sends in self.damaged.items() if self.begun.count(index) <= sends}

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
    turn: threading.Event = field(default_factory=threading.Event)
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
                on_begin=self._begun,
                on_file=self._one_more,
                check=self.check,
            )

    def _begun(self) -> None:
        assert not self.server.received or self.turn.is_set()
        self.turn.set()

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


def write_over(path: Path) -> None:
    """Change the first byte."""
    with path.open("r+b") as stream:
        stream.write(b"y")


def replace(path: Path) -> None:
    """Put another file of the same size in its place, as programs do that save safely."""
    new = path.with_suffix(".new")
    new.write_bytes(b"y" * path.stat().st_size)
    new.replace(path)


def write_over_and_set_the_old_time(path: Path) -> None:
    """As a copy that preserves times does."""
    status = path.stat()
    write_over(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        write_over,
        lambda path: path.write_bytes(b"longer than it was"),
        lambda path: os.truncate(path, 2),
        Path.unlink,
        replace,
        write_over_and_set_the_old_time,
    ],
    ids=["written over", "grew", "shrank", "removed", "replaced", "written over, and its old time set again"],
)
def test_a_file_that_is_changed_while_it_is_sent_ends_the_upload(
    share: Share, pool: UploadPool, change: Callable[[Path], object]
) -> None:
    """Whatever arrived may be half of the old and half of the new: the attempt is made again, and costs one."""
    path = share.root / "05.tif"
    os.utime(path, ns=(0, 1_000_000_000))
    server = Server(meanwhile={5: lambda: change(path)})
    with pytest.raises(RequestError, match=r"'hcs/05\.tif' was changed") as caught:
        Sending(pool, share, server).send(12, limit=1)
    assert caught.value.reason is Reason.MANIFEST_DIFFERS
    assert server.begun == [0, 1, 2, 3, 4, 5]


def test_to_read_a_file_changes_nothing(share: Share, pool: UploadPool) -> None:
    """Somebody may look at the plate while it is sent."""
    server = Server(meanwhile={5: (share.root / "05.tif").read_bytes})
    assert len(Sending(pool, share, server).send(12, limit=1)) == 12


def test_a_share_that_goes_away_while_a_file_is_read_is_no_defect(share: Share, pool: UploadPool) -> None:
    """NFS says ESTALE or EIO in the middle of a file."""

    def gone() -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with pytest.raises(RequestError, match=r"'hcs/00\.tif' cannot be read") as caught:
        Sending(pool, share, Server(meanwhile={0: gone})).send(1)
    assert caught.value.reason is Reason.SHARE_UNAVAILABLE


def test_one_failure_ends_the_files_that_are_in_flight_at_their_next_chunk(share: Share, pool: UploadPool) -> None:
    """Nobody waits for the rest of a file of 100 GB whose plate has failed."""
    server = Server(holds_back=True, wanted_at_once=3, fails={0: failure(Reason.UPLOAD_DIFFERS, "differs")})
    server.endless = {1, 2}
    sending = Sending(pool, share, server)
    errors: list[RequestError] = []

    def send() -> None:
        with pytest.raises(RequestError) as caught:
            sending.send(12)
        errors.append(caught.value)

    sender = threading.Thread(target=send)
    sender.start()
    assert server.reached.wait(DEADLINE_SECONDS)
    server.go()
    sender.join(DEADLINE_SECONDS)
    assert errors == [server.fails[0]]
    assert sorted(server.begun) == [0, 1, 2]
    assert sending.told_bytes == []


def test_files_are_sent_again_alone(share: Share, pool: UploadPool) -> None:
    """What the server found different: progress goes back by its bytes, and counts them again."""
    server, told = Server(), list[int]()
    with OpenFiles(share) as files:
        hashes = pool.send_again(files, entries(12), server, (7, 3, 7), on_bytes=told.append, check=lambda: None)
    assert hashes == {3: "hash3", 7: "hash7"}
    assert sorted(server.received) == [3, 7]
    assert sorted(told) == [-7, -3, 3, 7]


@dataclass
class Slots:
    """Counts the files that hold one; refuses when it is closed."""

    count: int
    held: int = 0
    most: int = 0
    steps: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def one(self, check: Callable[[], None]) -> Iterator[None]:
        """Wait for a slot."""
        with self.changed:
            while self.held == self.count:
                if "stop waiting" in self.steps:
                    raise failure(Reason.DRAINING, "the worker stops")
                self.changed.wait(0.02)
                check()
            self.held += 1
            self.most = max(self.most, self.held)
        try:
            yield
        finally:
            with self.changed:
                self.held -= 1
                self.changed.notify()

    def stop_waiting(self) -> None:
        """Refuse."""
        self.steps.append("stop waiting")

    def close(self) -> None:
        """Give all back."""
        assert self.held == 0
        self.steps.append("close")


def slotted(count: int) -> tuple[Slots, UploadPool]:
    """A pool of three threads and some slots."""
    slots = Slots(count)
    return slots, UploadPool(3, cast("UploadSlots", slots))


def test_every_file_is_sent_while_a_slot_is_held(share: Share) -> None:
    """However many threads the pool has."""
    slots, pool = slotted(2)
    server = Server(meanwhile={3: lambda: slots.steps.append(f"{slots.held} held")})
    assert len(Sending(pool, share, server).send(12)) == 12
    assert 1 <= server.most_at_once <= slots.most <= 2
    assert slots.steps[0] in {"1 held", "2 held"}
    pool.close()
    assert slots.steps[1:] == ["stop waiting", "close"]


def test_a_lost_lock_ends_the_wait_for_a_slot(share: Share) -> None:
    """Given a server whose slots are all taken by others, then the attempt stops all the same."""
    _, pool = slotted(0)
    sending, lost = Sending(pool, share, Server()), threading.Event()

    def check() -> None:
        if lost.is_set():
            raise LeaseLost("lost")

    sending.check = check
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(sending.send, 12)
        until(lambda: pool._pool._threads)
        lost.set()
        with pytest.raises(LeaseLost):
            sent.result(DEADLINE_SECONDS)
    assert sending.server.begun == []
    pool.close()


def test_a_pool_that_is_closed_gives_up_what_waits(share: Share) -> None:
    """Given files that wait for slots, and some that wait for their turn, then all hear of the drain and none hangs."""
    _, pool = slotted(0)
    sending, reasons = Sending(pool, share, Server()), list[Reason]()

    def send() -> None:
        with pytest.raises(RequestError) as caught:
            sending.send(12)
        reasons.append(caught.value.reason)

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    until(lambda: len(pool._order._places) == 2 and len(pool._pool._threads) == 3)
    pool.close()
    for sender in senders:
        sender.join(DEADLINE_SECONDS)
    send()
    assert reasons == [Reason.DRAINING] * 3


def test_the_pool_serves_the_next_request_after_a_failure(share: Share, pool: UploadPool) -> None:
    """No thread is lost."""
    for _ in range(4):
        with pytest.raises(RequestError):
            Sending(pool, share, Server(fails={0: failure(Reason.SESSION_LOST, "gone")})).send(3)
    assert len(Sending(pool, share, Server()).send(12)) == 12


def test_a_file_that_the_server_holds_otherwise_is_sent_again_alone(share: Share, pool: UploadPool) -> None:
    """And its bytes are counted once."""
    server = Server(damaged={2: 1})
    sending = Sending(pool, share, server)
    assert sending.send(4) == ("hash0", "hash1", "hash2", "hash3")
    assert sorted(server.begun) == [0, 1, 2, 2, 3]
    assert sum(sending.told_bytes) == 20 + 1 + 2 + 3


def test_a_file_that_never_arrives_whole_ends_the_upload(share: Share, pool: UploadPool) -> None:
    """Three times are no accident."""
    server = Server(damaged={2: 3})
    with pytest.raises(RequestError, match=r"hcs/02\.tif.*3 times") as caught:
        Sending(pool, share, server).send(4)
    assert caught.value.reason is Reason.UPLOAD_DIFFERS
    assert server.begun.count(2) == 3


@pytest.mark.parametrize(("limit", "expected"), [(None, 3), (2, 2)])
def test_as_many_files_are_opened_ahead_as_are_in_flight(
    share: Share, pool: UploadPool, limit: int | None, expected: int
) -> None:
    """Given a request that has the pool for itself."""
    server = Server()
    Sending(pool, share, server).send(4, limit)
    assert set(server.aheads) == {expected}

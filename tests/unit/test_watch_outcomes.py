"""What has its outcome leaves the spool while a watch runs; and what of a spool can be told without reading it all."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from fleet_common.broker import BrokerUnavailable
from fleet_common.events import FINAL, Event, Kind
from fleet_producer.spool import Spool
from fleet_producer.watch.outcomes import Settling
from support.builders import REQUEST_ID, a_request, an_event
from support.waiting import until


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 1_000_000)


def settling(spool: Spool) -> Settling:
    return Settling(spool, Follower, nothing)


def nothing(_event: Event) -> None:
    """Nobody listens."""


@dataclass
class Follower:
    """Tells some events, and fails before that as often as it is told to."""

    told: list[Event] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Detach."""

    def events(self, *, stop: Callable[[], bool], deadline_seconds: float) -> Iterator[Event]:
        """All at once, and then nothing until it is stopped."""
        assert deadline_seconds > 1e9
        yield from self.told
        self.done.set()
        until(stop, 30, "a stop")


@pytest.mark.parametrize("kind", sorted(FINAL))
def test_what_is_final_ends_what_was_sent(spool: Spool, kind: Kind) -> None:
    spool.mark_sent(spool.add([a_request()])[0])
    settling(spool).heard(an_event(kind))
    assert spool.entries() == []


@pytest.mark.parametrize("kind", sorted(set(Kind) - FINAL))
def test_anything_else_does_not(spool: Spool, kind: Kind) -> None:
    spool.mark_sent(spool.add([a_request()])[0])
    settling(spool).heard(an_event(kind))
    assert len(spool.entries()) == 1


def test_what_is_pending_stays(spool: Spool) -> None:
    """Given a request that was submitted again after it had died, then the old outcome is none of the new one."""
    spool.add([a_request()])
    settling(spool).heard(an_event(Kind.DEAD))
    assert len(spool.entries()) == 1


def test_the_outcome_of_another_lane_is_none(spool: Spool) -> None:
    """Anybody may say anything of any request id, but only in a lane of their own."""
    spool.mark_sent(spool.add([a_request()])[0])
    settling(spool).heard(an_event(Kind.IMPORTED, lane="other"))
    assert len(spool.entries()) == 1


def test_who_listens_is_told_everything(spool: Spool) -> None:
    heard: list[Event] = []
    settling = Settling(spool, Follower, heard.append)
    told = [an_event(Kind.ACCEPTED), an_event(Kind.IMPORTED, lane="other")]
    for event in told:
        settling.heard(event)
    assert heard == told


def test_it_follows_on_a_thread_of_its_own_until_it_is_left(spool: Spool) -> None:
    spool.mark_sent(spool.add([a_request()])[0])
    follower = Follower([an_event(Kind.STARTED), an_event(Kind.IMPORTED)])
    before = threading.active_count()
    with Settling(spool, lambda: follower, nothing):
        assert follower.done.wait(30)
    assert spool.entries() == []
    assert threading.active_count() == before


def test_it_tries_again_when_the_broker_is_away(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet_producer.watch.outcomes._AGAIN_SECONDS", 0.001)
    spool.mark_sent(spool.add([a_request()])[0])
    follower = Follower([an_event(Kind.IMPORTED)])
    tries: list[int] = []

    def follow() -> Follower:
        tries.append(1)
        if len(tries) < 3:
            raise BrokerUnavailable("away")
        return follower

    with Settling(spool, follow, nothing):
        assert follower.done.wait(30)
    assert len(tries) == 3
    assert spool.entries() == []


class TestSpool:
    """What a watch asks of a spool every minute."""

    def test_what_was_sent_is_not_read_for_what_is_pending(self, spool: Spool) -> None:
        """Given a confirmed request whose file was damaged, then a look for pending ones does not even open it."""
        sent = spool.mark_sent(spool.add([a_request()])[0])
        (pending,) = spool.add([a_request(request_id=spool_id(1))])
        (spool.folder / sent.slip.name).write_bytes(b"damaged")
        assert spool.pending() == [pending]
        assert spool.set_aside() == []

    def test_totals_count_requests_and_bytes(self, spool: Spool) -> None:
        assert spool.totals() == (0, 0, 0)
        entries = spool.add([a_request(), a_request(request_id=spool_id(1))])
        assert spool.totals() == (2, sum(len(entry.body) for entry in entries), 0)

    def test_totals_count_what_was_set_aside_as_the_quota_does(self, spool: Spool) -> None:
        """Given a file that is no request, then its bytes and those of the reason are held, too, and it is counted."""
        (entry,) = spool.add([a_request()])
        (spool.folder / "notes.txt").write_bytes(bytes(500))
        spool.pending()
        (aside,) = spool.set_aside()
        assert spool.totals() == (1, len(entry.body) + 500 + len(aside.reason), 1)

    def test_what_was_sent_of_one_request_is_found(self, spool: Spool) -> None:
        sent = spool.mark_sent(spool.add([a_request()])[0])
        spool.add([a_request(request_id=spool_id(1))])
        assert spool.sent(REQUEST_ID) == [sent]
        assert spool.sent(spool_id(1)) == []


def spool_id(number: int) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, str(number))

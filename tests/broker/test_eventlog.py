"""The event log: everything that was confirmed is read, in order, once; and producers follow only their own."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime

import pytest

from fleet_common.broker import BrokerRefused, EventReader, LiveFollower, Outgoing, Publisher, StreamReader
from fleet_common.events import Event, Kind, encode_event, fold
from support.proxy import Proxy
from support.rabbit import NAMES, QUICK, Rabbit
from support.waiting import until


def event(kind: Kind = Kind.STARTED, lane: str = "demo", seq: int = 0) -> Event:
    """Some event."""
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    return Event(event_id=uuid.uuid4(), kind=kind, request_id=uuid.uuid4(), lane=lane, at=moment, seq=seq)


def tell(publisher: Publisher, count: int, kind: Kind = Kind.STARTED) -> list[Event]:
    """Events that were confirmed."""
    told = [event(kind, seq=number) for number in range(count)]
    for one in told:
        publisher.publish_event(one, required=True)
    return told


def after_now(reader: EventReader) -> int:
    """The offset of the next event."""
    end = reader.end()
    return 0 if end is None else end + 1


def test_everything_that_was_confirmed_is_read_to_the_end(rabbit: Rabbit) -> None:
    reader, worker = rabbit.reader(), rabbit.publisher("worker")
    start = after_now(reader)
    told = tell(worker, 300)
    assert list(reader.read_all(start)) == told
    assert reader.next_offset == start + 300
    assert list(reader.read_all("first"))[-300:] == told
    assert list(reader.read_all(reader.next_offset)) == []


def test_an_event_that_was_just_confirmed_is_never_missed(rabbit: Rabbit) -> None:
    """The count of a passive declare lags on RabbitMQ 3.10; the end that is read to must not."""
    reader, worker = rabbit.reader(), rabbit.publisher("worker")
    for _ in range(30):
        (told,) = tell(worker, 1)
        last = list(reader.read_all(reader.end() or 0))
        assert last == [told]


def test_the_log_of_a_fold_gives_a_status(rabbit: Rabbit) -> None:
    reader, worker = rabbit.reader(), rabbit.publisher("worker")
    start = after_now(reader)
    request_id = uuid.uuid4()
    for attempt, kind in ((1, Kind.STARTED), (1, Kind.RETRIED), (2, Kind.STARTED), (2, Kind.IMPORTED)):
        told = event(kind).model_copy(update={"request_id": request_id, "attempt": attempt})
        worker.publish_event(told, required=True)
    status = fold(one for one in reader.read_all(start) if one.request_id == request_id)
    assert (status.state, status.attempt, status.is_final) == (Kind.IMPORTED, 2, True)


def test_a_reader_follows_what_is_appended(rabbit: Rabbit) -> None:
    reader, worker = rabbit.reader(), rabbit.publisher("worker")
    events = reader.follow("next", deadline_seconds=20)
    told = tell(worker, 5)
    assert [next(events) for _ in range(5)] == told


def test_following_ends_at_the_deadline_or_when_told(rabbit: Rabbit) -> None:
    reader = rabbit.reader()
    assert list(reader.follow("next", deadline_seconds=0.3)) == []
    assert list(reader.follow("next", stop=lambda: True)) == []


def test_following_goes_on_without_a_gap_when_the_connection_breaks(rabbit: Rabbit) -> None:
    worker = rabbit.publisher("worker")
    with Proxy(rabbit.description.amqp_port) as proxy:
        reader = rabbit.reader(rabbit.plain("operator", proxy.port))
        events = reader.follow("next", deadline_seconds=40)
        told = tell(worker, 2)
        seen = [next(events), next(events)]
        proxy.cut()
        told += tell(worker, 3)
        seen += [next(events) for _ in range(3)]
    assert seen == told


@pytest.mark.timeout(120)
def test_following_goes_on_after_a_restart_of_the_broker(rabbit: Rabbit) -> None:
    worker, reader = rabbit.publisher("worker"), rabbit.reader()
    events = reader.follow("next", deadline_seconds=90)
    (first,) = tell(worker, 1)
    assert next(events) == first
    rabbit.restart()
    told = event()
    worker.publish_event(told, required=True, deadline_seconds=60)
    assert next(events) == told


def test_leaving_in_the_middle_of_the_log_leaves_the_connection_alone(rabbit: Rabbit) -> None:
    """RabbitMQ 3.10 closes the connection of a reader that cancels with messages on the way."""
    reader, worker = rabbit.reader(), rabbit.publisher("worker")
    tell(worker, 800)
    for _ in range(3):
        events = reader.read_all("first")
        next(events)
        events.close()  # type: ignore[attr-defined]  # it is a generator
    assert reader.link.generation == 1
    assert len(list(reader.read_all("first"))) >= 800


def test_what_is_no_event_or_under_a_foreign_key_is_skipped_and_counted(rabbit: Rabbit) -> None:
    """Given a producer who says under its own key that something of another lane was imported, nobody believes it."""
    reader, producer = rabbit.reader(), rabbit.publisher("demo")
    start = after_now(reader)
    forged = encode_event(event(Kind.IMPORTED, lane="hcs"))
    producer.publish(Outgoing(NAMES.events, "demo.accepted", b"nonsense"))
    producer.publish(Outgoing(NAMES.events, "demo.accepted", forged))
    true = event(Kind.ACCEPTED)
    producer.publish_event(true, required=True)
    assert list(reader.read_all(start)) == [true]
    assert reader.skipped == 2


def test_who_may_not_read_the_log_is_told_so(rabbit: Rabbit) -> None:
    with (
        EventReader(rabbit.plain("demo"), backoff=QUICK) as reader,
        pytest.raises(BrokerRefused, match="ACCESS_REFUSED"),
    ):
        list(reader.read_all())
    with (
        EventReader(rabbit.plain("demo"), backoff=QUICK) as reader,
        pytest.raises(BrokerRefused, match="ACCESS_REFUSED"),
    ):
        next(reader.follow("first", deadline_seconds=20))


def test_an_empty_log_has_no_end(rabbit: Rabbit) -> None:
    rabbit.renew(NAMES.control_log)
    with StreamReader(rabbit.plain("operator"), NAMES.control_log, backoff=QUICK) as reader:
        assert reader.end() is None
        assert list(reader.messages_to_end()) == []


def test_progress_that_nobody_waits_for_arrives_while_the_broker_is_well(rabbit: Rabbit) -> None:
    reader, worker = rabbit.reader(), rabbit.publisher("worker")
    events = reader.follow("next", deadline_seconds=20)
    told = event(Kind.PROGRESS)
    worker.publish_event(told, required=False)
    assert next(events) == told
    assert worker.dropped == 0


def test_progress_is_dropped_and_counted_while_the_broker_is_away(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        worker = rabbit.publisher("worker", rabbit.plain("worker", proxy.port))
        proxy.hold()
        for _ in range(300):
            worker.publish_event(event(Kind.PROGRESS), required=False)
        assert worker.dropped == 300 - 256
        proxy.refuse()
        proxy.cut()
        proxy.release()
        until(lambda: not worker.connected)
        worker.publish_event(event(Kind.PROGRESS), required=False)
        assert worker.dropped == 301


def test_a_producer_follows_its_own_events_live(rabbit: Rabbit) -> None:
    """Given a follower that attached before, then it sees its lane's events, and no others."""
    worker = rabbit.publisher("worker")
    with LiveFollower(rabbit.plain("demo"), ["demo"], backoff=QUICK) as follower:
        worker.publish_event(event(lane="hcs"), required=True)
        told = tell(worker, 3)
        assert [follower.next(10) for _ in range(3)] == told
        assert follower.next(0.2) is None
        assert list(follower.events(deadline_seconds=0.2)) == []
        assert follower.gaps == 0


def test_a_producer_may_not_follow_another_lane(rabbit: Rabbit) -> None:
    follower = LiveFollower(rabbit.plain("demo"), ["demo", "hcs"], backoff=QUICK)
    with pytest.raises(BrokerRefused, match="ACCESS_REFUSED"):
        follower.start(10)


def test_a_live_follower_knows_that_it_missed_something(rabbit: Rabbit) -> None:
    worker = rabbit.publisher("worker")
    with (
        Proxy(rabbit.description.amqp_port) as proxy,
        LiveFollower(rabbit.plain("demo", proxy.port), ["demo"], backoff=QUICK) as follower,
    ):
        proxy.cut()
        until(lambda: follower.gaps == 1)
        (told,) = tell(worker, 1)
        assert follower.next(10) == told


def test_several_readers_at_once_see_the_same(rabbit: Rabbit) -> None:
    worker = rabbit.publisher("worker")
    readers = [rabbit.reader() for _ in range(3)]
    follows = [reader.follow("next", deadline_seconds=20) for reader in readers]
    seen: list[list[Event]] = [[], [], []]

    def read(number: int) -> None:
        seen[number] += [next(follows[number]) for _ in range(20)]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    told = tell(worker, 20)
    for thread in threads:
        thread.join(20)
    assert seen == [told, told, told]

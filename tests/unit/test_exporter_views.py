"""What the exporter shows of what it saw: complete for the lanes that it knows, and nothing of others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from fleet_common.broker.overview import Filling, Overview
from fleet_common.errors import Reason
from fleet_common.events import Kind, Result
from fleet_common.fleetmetrics import DEAD_REASONS, METRICS, SOURCES
from fleet_common.heartbeats import Heartbeat, Settle
from fleet_common.ledger import IMPORTED, IN_WORK, WAITING, Ledger
from fleet_common.messages import Batch, Priority
from fleet_common.producers import FORGOTTEN_SECONDS, Producers
from fleet_common.settings import OmeroSettings
from fleet_worker.exporter import views
from fleet_worker.exporter.board import Board, Seen
from fleet_worker.exporter.views import OmeroState
from fleet_worker.omero.serverfacts import ServerLimits
from support.builders import NOW, an_event

LANES = ("hcs", "phenix1")
STATE = OmeroState(ServerLimits(min_threads=5, background_threads=10), (), 7_000, 2, 9)


def a_ledger() -> Ledger:
    """Given one request that waits since second 10, one in work, and an older batch that is done."""
    ledger = Ledger()
    old, new = (Batch(id=uuid.UUID(int=number), name=name) for number, name in ((8, "old"), (9, "new")))
    done = Result(fileset_id=1, files=4, bytes=40, images=1)
    ledger.add(an_event(Kind.IMPORTED, seq=1, request_id=uuid.UUID(int=1), batch=old, result=done), 5.0)
    ledger.add(an_event(Kind.RETRIED, seq=1, request_id=uuid.UUID(int=2), batch=new), 10.0)
    ledger.add(an_event(Kind.STARTED, seq=1, request_id=uuid.UUID(int=3), batch=new), 2.0)
    ledger.add(an_event(Kind.IMPORTED, seq=1, request_id=uuid.UUID(int=4), batch=new, result=done), 20.0)
    ledger.add(an_event(Kind.ACCEPTED, request_id=uuid.UUID(int=5), lane="gone"), 1.0)
    return ledger


def a_heartbeat(host: str, **facts: object) -> Heartbeat:
    """Of a producer of phenix1."""
    return Heartbeat.model_validate({"lane": "phenix1", "host": host, "at": NOW, **facts})


class TestLedger:
    """Open requests and the newest batch."""

    seen = views.of_ledger(a_ledger(), LANES, 100.0, skipped=3)

    def test_every_lane_has_both_states_even_with_nothing_in_it(self) -> None:
        assert self.seen["open_requests"] == {
            ("hcs", WAITING): 0,
            ("hcs", IN_WORK): 0,
            ("phenix1", WAITING): 1,
            ("phenix1", IN_WORK): 1,
        }

    def test_the_oldest_that_waits_counts_not_the_one_in_work(self) -> None:
        assert self.seen["oldest_waiting_seconds"] == {("hcs",): 0, ("phenix1",): 90}

    def test_only_the_newest_batch_of_a_lane_is_shown(self) -> None:
        requests = self.seen["batch_requests"]
        assert (requests["phenix1", IMPORTED], requests["phenix1", WAITING], requests["phenix1", IN_WORK]) == (1, 1, 1)
        assert self.seen["batch_size"] == {("phenix1", "files"): 4, ("phenix1", "bytes"): 40}
        assert self.seen["batch_sent"] == {("phenix1", "files"): 4, ("phenix1", "bytes"): 40}

    def test_a_batch_has_its_first_and_last_event(self) -> None:
        assert self.seen["batch_first_event_timestamp_seconds"] == {("phenix1",): 10}
        assert self.seen["batch_last_event_timestamp_seconds"] == {("phenix1",): 20}

    def test_it_says_what_it_could_not_read_or_keep(self) -> None:
        assert (self.seen["event_log_skipped"], self.seen["event_log_forgotten"]) == ({(): 3}, {(): 0})


class TestQueues:
    """By lane and class."""

    def test_a_lane_of_the_settings_and_a_declared_one_are_both_there(self) -> None:
        seen = views.of_overview(Overview(lanes={("new", Priority.BULK): Filling(2, 1)}), ("hcs",))
        assert {lane for lane, _ in seen["queue_ready"]} == {"hcs", "new"}
        assert (seen["queue_ready"]["new", "bulk"], seen["queue_unacked"]["new", "bulk"]) == (2, 1)
        assert seen["queue_ready"]["hcs", "urgent"] == 0

    def test_slots_that_nobody_holds_are_0(self) -> None:
        seen = views.of_overview(Overview(slots={"import": 3}), ())
        assert seen["slots_taken"] == {("upload",): 0, ("create",): 0, ("staged",): 0, ("import",): 3}

    def test_a_timeout_that_is_not_told_is_left_out(self) -> None:
        assert "delivery_timeout_seconds" not in views.of_overview(Overview(), ())
        assert views.of_overview(Overview(delivery_timeout_seconds=60), ())["delivery_timeout_seconds"] == {(): 60}

    def test_slots_of_the_settings_are_those_that_workers_use(self) -> None:
        seen = views.of_settings(OmeroSettings(import_slots=3, create_slots=2, upload_slots=20))
        assert seen["slots_configured"] == {("upload",): 20, ("create",): 2, ("staged",): 6, ("import",): 3}


class TestDead:
    """By reason."""

    def test_every_reason_is_there_from_the_start(self) -> None:
        counts = views.of_dead(["file-empty", "file-empty", "delivery-limit"])["dead_letters"]
        assert counts.keys() == {(reason,) for reason in DEAD_REASONS}
        assert (counts["file-empty",], counts["delivery-limit",], counts["crash-loop",]) == (2, 1, 0)

    def test_a_word_of_a_newer_version_is_unknown(self) -> None:
        assert views.of_dead(["not-invented-yet", ""])["dead_letters"]["unknown",] == 2


class TestProducers:
    """From their heartbeats."""

    def test_a_lane_without_heartbeats_has_none(self) -> None:
        assert all(not series for series in views.of_producers(Producers(), LANES, 100.0).values())

    def test_the_most_silent_host_counts_and_spools_add_up(self) -> None:
        producers = Producers()
        producers.add(a_heartbeat("a", spool_requests=2, oldest_unconfirmed_seconds=5, seconds_since_scan=1), 40.0)
        needing = {"set_aside": 1, "parked": 2, "folders_away": 3}
        producers.add(a_heartbeat("b", spool_requests=3, unconfirmed=1, oldest_unconfirmed_seconds=9, **needing), 90.0)
        seen = views.of_producers(producers, LANES, 100.0)
        assert seen["producer_last_heartbeat_timestamp_seconds"] == {("phenix1",): 40}
        assert seen["producer_spool_requests"] == {("phenix1",): 5}
        assert seen["producer_unconfirmed_requests"] == {("phenix1",): 1}
        assert seen["producer_oldest_unconfirmed_seconds"] == {("phenix1",): 9}
        assert seen["producer_seconds_since_scan"] == {("phenix1",): 61}
        assert {name: seen[f"producer_{name}"]["phenix1",] for name in needing} == needing

    def test_acquisitions_are_there_in_every_state(self) -> None:
        producers = Producers()
        producers.add(a_heartbeat("a", acquisitions={Settle.ACQUIRING: 4}), 1.0)
        series = views.of_producers(producers, LANES, 2.0)["producer_acquisitions"]
        assert series == {("phenix1", str(state)): 4.0 * (state is Settle.ACQUIRING) for state in Settle}

    def test_a_newer_heartbeat_replaces_that_of_the_same_host(self) -> None:
        producers = Producers()
        producers.add(a_heartbeat("a", spool_requests=9), 1.0)
        producers.add(a_heartbeat("a", spool_requests=1), 2.0)
        assert views.of_producers(producers, LANES, 3.0)["producer_spool_requests"] == {("phenix1",): 1}

    def test_a_host_that_was_taken_away_is_forgotten_after_a_week(self) -> None:
        producers = Producers()
        producers.add(a_heartbeat("a"), 0.0)
        assert producers.of("phenix1", FORGOTTEN_SECONDS)
        assert not producers.of("phenix1", FORGOTTEN_SECONDS + 1)

    def test_hosts_are_bounded(self) -> None:
        producers = Producers(most=2)
        for number, host in enumerate(("a", "b", "c")):
            producers.add(a_heartbeat(host), float(number))
        assert [heard.heartbeat.host for heard in producers.of("phenix1", 3.0)] == ["b", "c"]


class TestOmero:
    """What the server says of itself."""

    def test_it_is_all_there(self) -> None:
        assert views.of_omero(STATE) == {
            "omero_read_only": {(): 0},
            "omero_free_bytes": {(): 7_000},
            "omero_threads": {("min_threads",): 5, ("background_threads",): 10},
            "omero_running_imports": {(): 2},
            "omero_open_sessions": {(): 9},
        }

    def test_what_the_server_does_not_tell_is_left_out(self) -> None:
        seen = views.of_omero(OmeroState(ServerLimits(), ("database",), None, 0, 0))
        assert seen["omero_threads"] == {}
        assert "omero_free_bytes" not in seen
        assert seen["omero_read_only"] == {(): 1}


def all_seen() -> Iterator[Seen]:
    """Everything that any eye can see."""
    producers = Producers()
    producers.add(a_heartbeat("a"), 1.0)
    yield views.of_settings(OmeroSettings())
    yield views.of_overview(Overview(delivery_timeout_seconds=60), LANES)
    yield views.of_dead([Reason.FILE_EMPTY])
    yield views.of_ledger(a_ledger(), LANES, 100.0, skipped=0)
    yield views.of_producers(producers, LANES, 2.0)
    yield views.of_omero(STATE)


def test_every_documented_metric_is_made_and_with_its_own_labels() -> None:
    """And none that is not documented."""
    made = {name: series for seen in all_seen() for name, series in seen.items()} | {"source_up": {("omero",): 1.0}}
    assert made.keys() == {shown.name for shown in METRICS}
    for shown in METRICS:
        assert {len(labels) for labels in made[shown.name]} == {len(shown.labels)}, shown.name


class TestBoard:
    """What is fresh."""

    def test_a_source_is_up_while_what_it_said_is_fresh(self) -> None:
        """Given a source that falls silent, then its values go, and it is said to be down."""
        now = [0.0]
        board = Board(lambda: now[0], 60.0, {"slots_configured": {("import",): 4.0}})
        board.expect("rabbitmq")
        board.put("rabbitmq", {"retries_waiting": {(): 2.0}})
        assert board.view().series["retries_waiting"] == {(): 2.0}
        assert board.view().series["source_up"] == {("rabbitmq",): 1.0}
        now[0] = 61.0
        assert "retries_waiting" not in board.view().series
        assert board.view().series["source_up"] == {("rabbitmq",): 0.0}
        assert board.view().series["slots_configured"] == {("import",): 4.0}

    def test_a_source_that_fails_shows_nothing_at_once(self) -> None:
        board = Board(lambda: 0.0, 60.0, {})
        board.expect("omero")
        board.put("omero", {"omero_read_only": {(): 0.0}})
        board.drop("omero")
        assert board.view().series == {"source_up": {("omero",): 0.0}}

    def test_two_sources_stand_side_by_side(self) -> None:
        board = Board(lambda: 0.0, 60.0, {})
        board.put("omero", {"omero_read_only": {(): 0.0}})
        board.put("rabbitmq", {"retries_waiting": {(): 1.0}})
        assert {"omero_read_only", "retries_waiting"} <= board.view().series.keys()

    def test_an_unknown_source_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'rabbit' is none of"):
            Board(lambda: 0.0, 60.0, {}).expect("rabbit")
        assert "rabbit" not in SOURCES

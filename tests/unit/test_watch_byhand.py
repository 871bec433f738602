"""Plates that lack files and that a person submits all the same, before a watch that sees them too."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_common.assembling import Order
from fleet_common.events import Event, Kind
from fleet_common.messages import ImportRequest, Options, Owner, Priority, SubmittedBy
from fleet_common.storage import Share, Shares
from fleet_producer.completeness import State
from fleet_producer.prepare import prepare
from fleet_producer.spool import Spool
from fleet_producer.watch.byhand import HEARD_SECONDS
from fleet_stack.plates import make_plate
from support.builders import BATCH, NOW, a_request, an_event
from support.watching import DEADLINE_SECONDS, SMALL, Bench, Instrument

SOON_SECONDS = 25
"""Two looks at the folder."""
AT_REST_SECONDS = 8000
"""More than two looks at a plate at rest."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def instrument(bench: Bench) -> Instrument:
    """An instrument that stopped before its second well."""
    stopped = Instrument.of(bench)
    stopped.write([file for file in stopped.files if not file.name.startswith("r01c02")])
    return stopped


def partial_of(bench: Bench, folder: Path, **changes: Any) -> ImportRequest:
    """The request that ``submit --partial`` makes of what is there."""
    order = Order(
        owner=Owner(user="alice", group="screening"),
        target="Screen:+name:All",
        lane="phenix1",
        priority=Priority.NORMAL,
        batch=BATCH,
        submitted_by=SubmittedBy(host="acquisition-1"),
        options=Options(),
        partial_by="alice",
    )
    shares = Shares([Share("hcs", bench.root)])
    return prepare(folder, shares, replace(order, **changes), bench.time.clock).request


def accepted(request: ImportRequest) -> Event:
    """What the lane is told when another host publishes it."""
    source = f"{request.source.share}/{request.source.path}"
    return an_event(Kind.ACCEPTED, request_id=request.request_id, lane="phenix1", at=NOW, source=source)


Submit = Callable[[Bench, ImportRequest], None]


def here(bench: Bench, request: ImportRequest) -> None:
    """Submit on the host of the watch."""
    bench.spool.add([request])


def elsewhere(bench: Bench, request: ImportRequest) -> None:
    """Submit on another host, to the lane of the watch."""
    bench.watcher.hear(accepted(request))


EVERYWHERE = pytest.mark.parametrize("submit", [here, elsewhere])


def requests_of_all_files(bench: Bench) -> list[ImportRequest]:
    """What was published of whole plates."""
    return [request for request in bench.broker.requests if request.source.partial is None]


class TestDecided:
    """Whoever submits a plate without its missing files has taken it over."""

    @EVERYWHERE
    def test_nobody_is_asked_any_more(self, bench: Bench, instrument: Instrument, submit: Submit) -> None:
        """Given a plate of which people were told, when one submits it, then what they were told is withdrawn."""
        bench.watch(DEADLINE_SECONDS + 400)
        request = partial_of(bench, instrument.folder)
        submit(bench, request)
        bench.watch(SOON_SECONDS)
        assert (bench.only.state, bench.only.request_id) == (State.PUBLISHED, str(request.request_id))
        told = [event.kind for event in bench.broker.events if event.kind is not Kind.ACCEPTED]
        assert told == [Kind.INCOMPLETE, Kind.WITHDRAWN]

    @EVERYWHERE
    def test_the_deadline_need_not_be_over(self, bench: Bench, instrument: Instrument, submit: Submit) -> None:
        bench.watch(60)
        assert bench.only.done < bench.only.of
        submit(bench, partial_of(bench, instrument.folder))
        bench.watch(SOON_SECONDS)
        assert bench.only.state is State.PUBLISHED
        bench.watch(DEADLINE_SECONDS + AT_REST_SECONDS)
        assert {event.kind for event in bench.broker.events} <= {Kind.ACCEPTED}

    @EVERYWHERE
    @pytest.mark.parametrize("restarted", [False, True])
    def test_missing_files_that_come_later_publish_nothing(
        self, bench: Bench, instrument: Instrument, submit: Submit, *, restarted: bool
    ) -> None:
        """And the watch says how to import them if that is wanted, even when the spool has forgotten the request."""
        bench.watch(60)
        submit(bench, partial_of(bench, instrument.folder))
        bench.watch(SOON_SECONDS)
        for entry in bench.spool.entries():
            bench.spool.remove(entry)
        if restarted:
            bench.restart()
        instrument.finish()
        instrument.write([instrument.index])
        bench.watch(AT_REST_SECONDS)
        assert requests_of_all_files(bench) == []
        assert "--again" in bench.only.next_action

    def test_what_was_submitted_while_the_watch_was_off_counts(self, bench: Bench, instrument: Instrument) -> None:
        """Given a decision and then the missing files, both while nobody watched, then nothing more is published."""
        here(bench, partial_of(bench, instrument.folder))
        instrument.finish()
        bench.watch(AT_REST_SECONDS)
        assert requests_of_all_files(bench) == []
        assert "has changed since" in bench.only.why

    def test_a_plate_that_was_moved_away_and_back_is_known(self, bench: Bench, instrument: Instrument) -> None:
        bench.watch(60)
        here(bench, partial_of(bench, instrument.folder))
        bench.watch(SOON_SECONDS)
        bench.spool.remove(bench.spool.entries()[0])
        instrument.folder.rename(bench.folder / "away")
        bench.watch(60)
        (bench.folder / "away").rename(instrument.folder)
        instrument.finish()
        bench.restart()
        bench.watch(400)
        assert requests_of_all_files(bench) == []

    def test_one_that_was_submitted_again_is_known_by_its_files(self, bench: Bench, instrument: Instrument) -> None:
        bench.watch(60)
        here(bench, partial_of(bench, instrument.folder, nonce=uuid.uuid4().hex))
        bench.watch(SOON_SECONDS)
        assert bench.only.state is State.PUBLISHED


class TestOthers:
    """What is no decision on this plate."""

    def test_a_single_image_of_the_plate(self, bench: Bench, instrument: Instrument) -> None:
        bench.watch(60)
        first = next(file for file in instrument.images if (instrument.folder / file).exists())
        image = partial_of(bench, instrument.folder / first, target="Dataset:+name:A look")
        here(bench, image)
        elsewhere(bench, image)
        bench.watch(DEADLINE_SECONDS + 400)
        assert bench.only.state is State.INCOMPLETE

    def test_a_measurement_that_lay_here_before(self, bench: Bench, instrument: Instrument) -> None:
        """Given a decision on one measurement, when another one in the same folder stays incomplete, it is told."""
        bench.watch(60)
        here(bench, partial_of(bench, instrument.folder))
        bench.watch(SOON_SECONDS)
        shutil.rmtree(instrument.folder)
        bench.watch(30)
        other = make_plate(bench.folder / "other", replace(SMALL, seed=9))
        assert other.folder.name == instrument.folder.name
        shutil.copytree(other.folder, instrument.folder)
        for file in instrument.images:
            (instrument.folder / file).unlink()
        bench.watch(DEADLINE_SECONDS + 400)
        assert bench.only.state is State.INCOMPLETE

    def test_what_was_heard_of_long_ago(self, bench: Bench, instrument: Instrument) -> None:
        """Given a plate that another host has submitted, then one that is written in its place later is another."""
        request = partial_of(bench, instrument.folder)
        shutil.rmtree(instrument.folder)
        elsewhere(bench, request)
        bench.watch(HEARD_SECONDS + 10)
        instrument.write([instrument.index])
        bench.watch(DEADLINE_SECONDS + 400)
        assert bench.only.state is State.INCOMPLETE

    def test_what_its_own_watch_has_published(self, bench: Bench) -> None:
        bench.plate()
        bench.settle()
        elsewhere(bench, bench.broker.requests[0])
        bench.watch(AT_REST_SECONDS)
        assert len(bench.published) == 1
        assert bench.only.next_action == ""


def test_a_request_of_the_spool_is_read_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given many incomplete plates and a full spool, then looks at the plates read the spool no more than once."""
    for number in range(5):
        made = Instrument.of(bench, replace(SMALL, name=f"P{number}", seed=number))
        made.write([made.index])
    bench.watch(DEADLINE_SECONDS + 400)
    read: list[str] = []
    load = Spool._load

    def noted(spool: Spool, path: Path, slip: Any) -> Any:
        read.append(path.name)
        return load(spool, path, slip)

    monkeypatch.setattr(Spool, "_load", noted)
    bench.spool.mark_sent(bench.spool.add([a_request()])[0])
    bench.watch(2000)
    assert len(read) == 1

"""The life of a worker: what it waits for before it takes, and the order in which it ends."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fleet_common.broker import LinkState
from fleet_common.errors import Reason, RequestError
from fleet_common.settings import BrokerSettings, LaneRule, OmeroSettings, Settings, WorkerSettings
from fleet_worker.omero.serverfacts import ServerLimits
from fleet_worker.worker import Worker
from support.builders import a_request

DRAIN = [
    "taker.stop",
    "taker.wait_done",
    "taker.close",
    "uploads.close",
    "sweeper.stop",
    "gate.stop",
    "control.stop",
    "gateway.close",
    "publisher.stop",
    "consuming.stop",
    "health.stop",
]
"""Requests in work keep heartbeats, locks, slots and sessions until they are settled; events are flushed after the last
request has told its own; the consuming link, with which locks and slots go, is the last engine to be left."""


class Recorder:
    """Stands for a part of the worker: writes down what is called."""

    def __init__(self, name: str, journal: list[str], answers: dict[str, Any] | None = None) -> None:
        self._name, self._journal, self._answers = name, journal, answers or {}

    def __getattr__(self, call: str) -> Any:
        def called(*_: Any, **__: Any) -> Any:
            self._journal.append(f"{self._name}.{call}")
            answer = self._answers.get(call)
            return answer() if callable(answer) else answer

        return called


class Bench:
    """A worker whose parts are recorders."""

    def __init__(self, password_file: Path, grace_seconds: float = 3600.0) -> None:
        self.journal: list[str] = []
        self.password_file = password_file
        self.idle = threading.Event()
        self.idle.set()
        self.worker = Worker(
            Settings(
                broker=BrokerSettings(user="worker", password=SecretStr("rabbit")),
                omero=OmeroSettings(user="importer", password_file=password_file),
                worker=WorkerSettings(lanes={"hcs": LaneRule()}, grace_seconds=grace_seconds),
            )
        )
        parts: Any = self.worker
        self.taker = Recorder("taker", self.journal, {"wait_done": lambda: self.idle.wait(0.01)})
        self.readiness = dict(self.worker._readiness())
        for name in ("consuming", "publisher", "sweeper", "gate", "control", "gateway", "health"):
            setattr(parts, f"_{name}", Recorder(name, self.journal))
        vars(parts._gate)["broken"] = False
        parts._taker = self.taker
        object.__setattr__(parts._parts, "uploads", Recorder("uploads", self.journal))

    def run(self, *, hurry: bool = False) -> list[str]:
        """Start, stop at once, and return how it ended; a wait that is repeated is there once."""
        stop, hurried = threading.Event(), threading.Event()
        stop.set()
        if hurry:
            hurried.set()
        self.worker.run(stop, hurried)
        ending = self.journal[self.journal.index("taker.stop") :]
        return [step for number, step in enumerate(ending) if step != "taker.wait_done" or ending[number - 1] != step]


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """The password of the service account."""
    file = tmp_path / "password"
    file.write_text("first\n")
    return file


def test_it_ends_in_the_order_of_the_design(password_file: Path) -> None:
    """And every part that was started is stopped."""
    bench = Bench(password_file)
    assert bench.run() == DRAIN
    started = {step.removesuffix(".start") for step in bench.journal if step.endswith(".start")}
    stopped = {step.rpartition(".")[0] for step in bench.journal if step.endswith((".stop", ".close"))}
    assert started <= stopped


def test_it_is_not_ready_any_more_before_it_stops_taking(password_file: Path) -> None:
    """Kubernetes and people see it first."""
    bench = Bench(password_file)
    seen: list[str | None] = []
    bench.taker._answers["stop"] = lambda: seen.append(bench.readiness["draining"]())
    assert bench.readiness["draining"]() is None
    bench.run()
    assert seen == ["the worker stops"]


def test_what_is_in_work_may_end_by_itself(password_file: Path) -> None:
    """Nobody is hurried within the grace time."""
    bench = Bench(password_file)
    bench.idle.clear()
    threading.Timer(0.1, bench.idle.set).start()
    assert bench.run() == DRAIN
    assert not bench.worker._hurry.is_set()


def test_after_the_grace_time_the_rest_is_handed_back(password_file: Path) -> None:
    """In the same order; only that requests in work are told to hurry."""
    bench = Bench(password_file, grace_seconds=0.02)
    bench.idle.clear()
    bench.taker._answers["close"] = lambda: bench.worker._hurry.is_set() or pytest.fail("nobody was hurried")
    assert bench.run() == DRAIN
    assert bench.worker._hurry.is_set()


def test_told_a_second_time_it_hands_back_at_once(password_file: Path) -> None:
    """Although an hour of grace is left."""
    bench = Bench(password_file)
    bench.idle.clear()
    assert bench.run(hurry=True) == DRAIN
    assert bench.worker._hurry.is_set()


@pytest.mark.parametrize("missing", [None, "control", "gate", "publisher"])
def test_it_takes_only_when_nothing_is_in_the_way(password_file: Path, missing: str | None) -> None:
    """Orders are known, OMERO lets us work, and what is settled can be published."""
    bench = Bench(password_file)
    asks = {"control": "wait_known", "gate": "wait_open"}
    for name, call in asks.items():
        getattr(bench.worker, f"_{name}")._answers[call] = missing != name
    link = Recorder("link", bench.journal, {"wait_writable": missing != "publisher"})
    publisher: Any = Recorder("publisher", bench.journal)
    publisher.link, publisher.dropped = link, 0
    bench.worker._publisher = publisher
    assert bench.worker._ready_to_take(0.0) is (missing is None)


@pytest.mark.parametrize(("threads", "refused"), [(5, False), (4, True), (None, False)])
def test_a_server_with_too_few_threads_is_not_loaded(
    password_file: Path, threads: int | None, *, refused: bool
) -> None:
    """Four imports need five threads; where nothing is told, nothing is judged."""
    bench = Bench(password_file)
    limits = ServerLimits(min_threads=threads, background_threads=10, pool_size=None)
    if threads is None:
        limits = ServerLimits()
    gateway: Any = bench.worker._gateway
    gateway._answers["limits"] = limits
    gate: Any = bench.worker._gate
    vars(gate)["problem"] = "not logged in yet"
    if refused:
        with pytest.raises(RequestError, match="Set import_slots to 3") as caught:
            bench.worker._check_omero()
        assert caught.value.reason is Reason.OMERO_OVERCOMMITTED
    else:
        bench.worker._check_omero()


@pytest.mark.parametrize(("problem", "connected"), [(None, 1.0), ("omero-unavailable: it is away", 0.0)])
def test_the_metric_of_omero_says_what_readiness_says(
    password_file: Path, problem: str | None, connected: float
) -> None:
    """Also when an attempt was the first to find the server away."""
    bench = Bench(password_file)
    gate: Any = bench.worker._gate
    vars(gate)["problem"] = problem
    assert bench.worker._readiness()["omero"]() == problem
    assert bench.worker._metrics.registry.get_sample_value("omero_import_omero_connected") == connected


def test_a_new_password_is_used_and_mends_the_gate(password_file: Path) -> None:
    """Only one that is another: the refused one would be refused again."""
    bench = Bench(password_file)
    gateway: Any = Recorder("gateway", bench.journal)
    gateway.address = Worker(bench.worker._settings)._gateway.address
    bench.worker._gateway = gateway
    assert not bench.worker._new_password()
    password_file.write_text("second\n")
    assert bench.worker._new_password()
    assert gateway.address.password.get_secret_value() == "second"
    assert not bench.worker._new_password()
    password_file.unlink()
    assert not bench.worker._new_password()


def test_an_order_makes_the_taker_look_again_and_is_counted(password_file: Path) -> None:
    """A lane that was resumed is served at once."""
    bench = Bench(password_file)
    control: Any = bench.worker._control
    control._answers["is_paused"] = True
    vars(bench.worker)["_source"] = Recorder("source", bench.journal)
    bench.worker._ordered()
    assert bench.journal[-1] == "source.ring"
    assert bench.worker._metrics.registry.get_sample_value("omero_import_lane_paused", {"lane": "hcs"}) == 1


def test_a_cancel_is_looked_up_by_request_and_batch(password_file: Path) -> None:
    """Either may have been cancelled."""
    bench = Bench(password_file)
    control: Any = bench.worker._control
    asked: list[tuple[Any, ...]] = []
    control.cancelled = lambda *about: asked.append(about)
    request = a_request()
    assert bench.worker._cancelled(request) is None
    assert asked == [(request.request_id, request.batch.id)]


def test_only_a_reconnect_of_the_consuming_link_excuses_deliveries(password_file: Path) -> None:
    """The first connection of a worker excuses nobody: it may be one that has just died of a request."""
    bench = Bench(password_file)
    consume, publish = bench.worker._link_state("consume"), bench.worker._link_state("publish")
    consume(LinkState(connected=True, generation=1, reason=""))
    publish(LinkState(connected=True, generation=2, reason=""))
    consume(LinkState(connected=False, generation=2, reason="lost"))
    assert "taker.reconnected" not in bench.journal
    consume(LinkState(connected=True, generation=2, reason=""))
    assert "taker.reconnected" in bench.journal

"""Over TLS the fleet talks to the broker and the OMERO that it can verify, and to no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_stack import certificates
from fleet_stack.fleet import Fleet, WorkerProcess
from fleet_stack.plates import tiff
from fleet_stack.rabbitmq.part import RabbitPart
from support.facility import Facility, until

CONNECTIONS = {"rabbitmq-consume", "rabbitmq-publish", "control", "omero"}
"""All that a worker has."""


def trusting(fleet: Fleet, folder: Path, authority: Path) -> Fleet:
    """The fleet over TLS, with one authority that it trusts."""
    stack = fleet.stack
    broker, omero = replace(stack.broker, ca_file=authority), replace(stack.omero, ca_file=authority)
    return replace(fleet, tls=True, folder=folder, stack=replace(stack, broker=broker, omero=omero))


@pytest.fixture(scope="module")
def secure(alone: Facility, tmp_path_factory: pytest.TempPathFactory) -> Facility:
    """The facility over TLS, with the stack's own authority."""
    return replace(alone, fleet=trusting(alone.fleet, tmp_path_factory.mktemp("tls"), alone.fleet.stack.omero.ca_file))


@pytest.fixture(scope="module")
def deceived(alone: Facility, tmp_path_factory: pytest.TempPathFactory) -> Facility:
    """The same, but somebody else's authority is trusted: as if the servers were somebody else's."""
    folder = tmp_path_factory.mktemp("deceived")
    certificates._authority(folder, "somebody else")
    return replace(alone, fleet=trusting(alone.fleet, folder, folder / "ca.pem"))


@pytest.fixture(scope="module")
def worker(secure: Facility) -> Iterator[WorkerProcess]:
    """A worker that trusts the right authority, alone, and ready."""
    made = secure.fleet.start_worker("secure", secure.layout.ports.spare[2])
    try:
        made.wait_ready()
        yield made
    finally:
        made.stop()


@pytest.fixture
def refusing(deceived: Facility) -> Iterator[WorkerProcess]:
    """A worker that trusts the wrong authority, and has tried all its connections."""
    made = deceived.fleet.start_worker("deceived", deceived.layout.ports.spare[3])
    try:
        until(lambda: refused(made) == CONNECTIONS, 60, "four refusals")
        yield made
    finally:
        made.stop()


def refused(worker: WorkerProcess) -> set[str]:
    """Which connections the worker has tried and refused for their certificates."""
    return {name for name, text in problems(worker).items() if "certificate" in text}


def problems(worker: WorkerProcess) -> dict[str, str]:
    """What /readyz says of the connections."""
    _, body = worker.fetch("/readyz")
    checks = dict(json.loads(body)["checks"]) if body else dict.fromkeys(("nothing listens",), "not yet")
    checks.pop("draining", None)
    return checks


def connections(facility: Facility) -> list[dict[str, Any]]:
    """What the broker knows of the connections of the fleet's accounts."""
    found = RabbitPart(facility.layout).management.get("/api/connections")
    return [one for one in found if one.get("user") in {"worker", "demo"}]


def test_an_image_is_imported_over_verified_tls(secure: Facility, worker: WorkerProcess) -> None:
    """From the submitter's confirm to the outcome; no connection was without TLS."""
    image = tiff(secure.share("confocal") / "secured cell.tif", seed=71)
    done = secure.submit(image, target="Dataset:+name:over TLS")
    assert done.states == ["imported"], done.errors + worker.tail()
    assert done.only["worker"] == "secure"
    # The broker's management tells of a connection some seconds after it was made.
    seen = until(lambda: [one for one in connections(secure) if one["user"] == "worker"], 30, "connections")
    assert {(one["ssl"], one["port"]) for one in seen} == {(True, secure.layout.ports.amqps)}


def test_a_worker_does_not_talk_to_servers_that_it_cannot_verify(refusing: WorkerProcess) -> None:
    """It says so of each connection, is alive, and waits."""
    assert refused(refusing) == problems(refusing).keys() == CONNECTIONS
    assert (refusing.fetch("/readyz")[0], refusing.fetch("/healthz")[0]) == (503, 200)


def test_a_worker_never_falls_back_to_an_unverified_connection(deceived: Facility, refusing: WorkerProcess) -> None:
    """However often it tries, it is connected to nothing."""
    until(lambda: refusing.tail(100_000).count("broker not reached") >= 4, 60, "more tries")
    _, metrics = refusing.fetch("/metrics")
    assert "omero_import_omero_connected 0.0" in metrics
    assert 'omero_import_broker_connected{role="consume"} 0.0' in metrics
    assert 'omero_import_broker_connected{role="publish"} 0.0' in metrics
    assert not [word for word in ("broker connected", "logged in to OMERO") if word in refusing.tail(100_000)]
    assert [one["ssl"] for one in connections(deceived) if not one["ssl"]] == []


def test_submit_refuses_a_broker_that_it_cannot_verify(
    secure: Facility, deceived: Facility, worker: WorkerProcess
) -> None:
    """Exit 5 with the cause; nothing was published that a worker could have taken."""
    image = tiff(deceived.share("confocal") / "deceived cell.tif", seed=72)
    done = deceived.submit(image, target="Dataset:+name:over TLS", wait=False, options=("--deadline", "3"))
    assert (done.exit_code, done.requests) == (5, [])
    assert "certificate verify failed" in done.errors
    assert "may safely be repeated" in done.errors
    assert worker.ready()
    assert not [one for one in secure.status() if one.get("source") == "confocal/deceived cell.tif"]

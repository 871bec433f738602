"""Metrics and health over HTTP."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest

from fleet_common.health import Check, Health, verdict
from fleet_common.metrics import Metrics
from fleet_common.settings import MetricsSettings

TIMEOUT_SECONDS = 10.0


@dataclass
class Served:
    """A health server, what its checks say, and a way to ask it."""

    metrics: Metrics = field(default_factory=Metrics)
    taker: str | None = None
    omero: str | None = None
    rabbitmq: str | None = None
    port: int = 0

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
        """Status, content type and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """A server on a free port; to stop one takes half a second."""
    made = Served()
    live: dict[str, Check] = {"taker": lambda: made.taker}
    ready: dict[str, Check] = {"omero": lambda: made.omero, "rabbitmq": lambda: made.rabbitmq}
    health = Health(MetricsSettings(port=0), made.metrics.registry, live=live, ready=ready)
    made.port = health.port
    health.start()
    yield made
    health.stop()


@pytest.fixture
def served(server: Served) -> Served:
    """The server, with all well."""
    server.taker = server.omero = server.rabbitmq = None
    return server


def test_liveness_says_that_the_loops_tick(served: Served) -> None:
    """200 while they do, 503 when one does not, and which."""
    assert served.get("/healthz")[0] == HTTPStatus.OK
    served.taker = "nothing was taken during 70 s"
    status, kind, body = served.get("/healthz")
    assert (status, kind) == (HTTPStatus.SERVICE_UNAVAILABLE, "application/json")
    assert json.loads(body) == {"ok": False, "checks": {"taker": "nothing was taken during 70 s"}}


def test_liveness_does_not_depend_on_the_engines(served: Served) -> None:
    """A restart would kill running imports, and help nothing."""
    served.omero = served.rabbitmq = "away"
    assert served.get("/healthz")[0] == HTTPStatus.OK


@pytest.mark.parametrize(
    ("omero", "rabbitmq", "expected"),
    [
        (None, None, HTTPStatus.OK),
        ("not logged in yet", None, HTTPStatus.SERVICE_UNAVAILABLE),
        (None, "connection refused", HTTPStatus.SERVICE_UNAVAILABLE),
        ("not logged in yet", "connection refused", HTTPStatus.SERVICE_UNAVAILABLE),
    ],
)
def test_readiness_says_what_is_missing(
    served: Served, omero: str | None, rabbitmq: str | None, expected: HTTPStatus
) -> None:
    """Each check by its name."""
    served.omero, served.rabbitmq = omero, rabbitmq
    status, _, body = served.get("/readyz")
    assert status == expected
    assert json.loads(body)["checks"] == {"omero": omero or "ok", "rabbitmq": rabbitmq or "ok"}


def test_metrics_are_served_as_they_are_now(served: Served) -> None:
    """In the format that Prometheus asks for."""
    served.metrics.files.labels("hcs").inc(3)
    status, kind, body = served.get("/metrics")
    assert (status, kind.split(";")[0]) == (HTTPStatus.OK, "text/plain")
    assert '\nomero_import_files_total{lane="hcs"} 3.0\n' in body


def test_openmetrics_is_served_to_who_asks_for_it(served: Served) -> None:
    """It ends with its own mark."""
    _, kind, body = served.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metricsx", "/healthz/", "/../etc/passwd"])
def test_any_other_path_is_not_found(served: Served, path: str) -> None:
    """With a hint."""
    status, _, body = served.get(path)
    assert (status, body) == (HTTPStatus.NOT_FOUND, "try /metrics, /healthz or /readyz\n")


def test_nothing_can_be_written(served: Served) -> None:
    """There is no other method."""
    assert served.get("/metrics", method="POST")[0] == HTTPStatus.NOT_IMPLEMENTED


def test_requests_are_not_logged(served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    """Probes come every few seconds."""
    served.get("/healthz")
    assert capfd.readouterr().err == ""


def test_a_silent_client_keeps_nobody_waiting(served: Served) -> None:
    """Another one is answered meanwhile, and its own thread has a deadline."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=TIMEOUT_SECONDS) as silent:
        silent.sendall(b"GET /met")
        assert served.get("/healthz")[0] == HTTPStatus.OK


def test_the_port_is_free_and_the_thread_gone_after_stop() -> None:
    """A worker that restarts listens again."""
    health = Health(MetricsSettings(port=0), Metrics().registry, live={}, ready={})
    health.start()
    port = health.port
    health.stop()
    assert not health._thread.is_alive()
    again = Health(MetricsSettings(port=port), Metrics().registry, live={}, ready={})
    assert again.port == port
    again.start()
    again.stop()


def test_no_checks_are_a_good_verdict() -> None:
    """A producer has none."""
    assert verdict({}) == (HTTPStatus.OK, {"ok": True, "checks": {}})

"""``/metrics``, ``/healthz`` and ``/readyz`` on one port.

Liveness says that the loops of this process tick; it never depends on RabbitMQ or OMERO, because a restart would kill
running imports. Readiness says whether work can be taken now, and if not, why. The server runs on a daemon thread
that :class:`Health` owns; checks are called on that thread and must return at once.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from fleet_common.settings import MetricsSettings

_CLIENT_SECONDS: Final = 10.0
"""A client that sends no request for so long is let go, or its thread would stay for ever."""
Check = Callable[[], str | None]
"""None when all is well, otherwise what is wrong, in a few words."""


class Health:
    """Serves metrics and health until :meth:`stop`."""

    def __init__(
        self,
        settings: MetricsSettings,
        registry: CollectorRegistry,
        *,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
    ) -> None:
        self._server = ThreadingHTTPServer((settings.host, settings.port), _handler(registry, live, ready))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def verdict(checks: Mapping[str, Check]) -> tuple[HTTPStatus, dict[str, Any]]:
    """200 when every check passes, otherwise 503; the body says what each check found."""
    found = {name: check() for name, check in checks.items()}
    good = not any(found.values())
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return status, {"ok": good, "checks": {name: problem or "ok" for name, problem in found.items()}}


def _handler(
    registry: CollectorRegistry, live: Mapping[str, Check], ready: Mapping[str, Check]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_SECONDS

        def do_GET(self) -> None:
            if self.path == "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, kind, encode(registry))
            elif self.path in {"/healthz", "/readyz"}:
                status, body = verdict(live if self.path == "/healthz" else ready)
                self._answer(status, "application/json", json.dumps(body).encode() + b"\n")
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"try /metrics, /healthz or /readyz\n")

        def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # Whoever asked may have given up: nobody needs a stack trace of that.
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the signature is http.server's
            """Probes come every few seconds and are no news."""

    return Handler

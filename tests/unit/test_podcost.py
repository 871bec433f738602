"""The pod's deletion cost: the number of requests in work, told to a real HTTPS server in the API server's place."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
import structlog

from fleet_common.errors import UsageError
from fleet_stack import certificates
from fleet_stack.layout import Layout
from fleet_worker.podcost import ANNOTATION, Pod, PodCost

WAIT_SECONDS = 10


class Told:
    """Costs as they were written; some tries may fail."""

    def __init__(self, failures: int = 0) -> None:
        self.costs: list[int] = []
        self.tries = 0
        self._failures = failures

    def __call__(self, cost: int) -> None:
        self.tries += 1
        if self.tries <= self._failures:
            raise OSError("403")
        self.costs.append(cost)


class TestCost:
    """What is written, and when."""

    def test_a_changed_number_is_written_and_an_unchanged_one_is_not(self) -> None:
        told, numbers = Told(), iter([0, 0, 2, 2, 1])
        cost = PodCost(told, lambda: next(numbers))
        for _ in range(5):
            cost.look()

        assert told.costs == [0, 2, 1]

    def test_what_could_not_be_written_is_tried_again(self) -> None:
        told = Told(failures=2)
        cost = PodCost(told, lambda: 3)
        for _ in range(4):
            cost.look()

        assert (told.costs, told.tries) == ([3], 3)

    def test_a_lasting_failure_is_complained_of_once(self) -> None:
        """Given an account that may not patch pods, the log says so once, and again after it had worked."""
        numbers = iter([1, 1, 2, 3])
        told = Told(failures=2)
        cost = PodCost(told, lambda: next(numbers))
        with structlog.testing.capture_logs() as logs:
            for _ in range(4):
                cost.look()

        assert [one["log_level"] for one in logs] == ["warning"]
        assert "may its account patch pods" in logs[0]["event"]

    def test_its_thread_writes_at_once_and_ends_when_it_is_told(self) -> None:
        written = threading.Event()
        cost = PodCost(lambda _: written.set(), lambda: 1)
        cost.start()

        assert written.wait(WAIT_SECONDS)
        cost.stop()
        assert "pod-cost" not in {thread.name for thread in threading.enumerate()}


class TestPod:
    """Where the API server is, and what it is told."""

    def account(self, folder: Path) -> Path:
        for name, text in (("namespace", "imaging\n"), ("token", "secret-token\n"), ("ca.crt", "")):
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    @pytest.mark.parametrize(("host", "shown"), [("10.96.0.1", "10.96.0.1"), ("fd00::1", "[fd00::1]")])
    def test_its_address_is_that_of_the_environment(self, host: str, shown: str, tmp_path: Path) -> None:
        environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
        pod = Pod.of_environment("fleet-1", environment, self.account(tmp_path))

        assert pod.url == f"https://{shown}:443/api/v1/namespaces/imaging/pods/fleet-1"

    def test_outside_of_kubernetes_the_setting_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="pod_deletion_cost"):
            Pod.of_environment("host", {}, tmp_path)

    def test_an_account_that_is_not_mounted_is_named(self, tmp_path: Path) -> None:
        environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        with pytest.raises(UsageError, match="namespace"):
            Pod.of_environment("fleet-1", environment, tmp_path)

    def test_the_api_server_gets_a_patch_of_one_annotation_with_the_token(self, api: Api, tmp_path: Path) -> None:
        """Given a server whose certificate the account trusts, when a cost is written, then it gets exactly that."""
        account = self.account(tmp_path)
        (account / "ca.crt").write_bytes(api.ca.read_bytes())
        Pod(f"https://localhost:{api.port}/api/v1/namespaces/imaging/pods/fleet-1", account).annotate(2)

        (call,) = api.calls
        assert call["path"] == "/api/v1/namespaces/imaging/pods/fleet-1"
        assert call["body"] == {"metadata": {"annotations": {ANNOTATION: "2"}}}
        assert call["type"] == "application/merge-patch+json"
        assert call["token"] == "Bearer secret-token"

    def test_a_server_that_nobody_vouches_for_gets_no_token(self, api: Api, tmp_path: Path) -> None:
        account = self.account(tmp_path)
        (account / "ca.crt").write_text(Path(certifi.where()).read_text(encoding="utf-8"), encoding="utf-8")

        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            Pod(f"https://localhost:{api.port}/x", account).annotate(2)
        assert api.calls == []


class Api:
    """An HTTPS server that remembers PATCH calls."""

    def __init__(self, folder: Path) -> None:
        made = certificates.ensure(Layout("api", folder, folder, 29000))
        self.ca = made.authority
        self.calls: list[dict[str, Any]] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.server, made.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WAIT_SECONDS)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        calls = self.calls

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PATCH(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                calls.append(
                    {
                        "path": self.path,
                        "body": json.loads(body),
                        "type": self.headers["Content-Type"],
                        "token": self.headers["Authorization"],
                    }
                )
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the signature is http.server's
                """Nobody reads it."""

        return Handler


@pytest.fixture
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server in the API server's place."""
    one = Api(tmp_path_factory.mktemp("api"))
    yield one
    one.stop()

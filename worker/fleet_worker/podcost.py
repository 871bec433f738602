"""Tell Kubernetes how much work the removal of this pod would break, so that idle pods go first when a fleet shrinks.

A ReplicaSet that loses pods removes those with the lowest ``controller.kubernetes.io/pod-deletion-cost`` first
(Kubernetes documentation, "ReplicaSet", pod deletion cost; best effort). The cost is the number of requests in work.
Neighbours: ``worker`` owns one where ``worker.pod_deletion_cost`` is set. Threading: the thread ``pod-cost`` belongs to
the :class:`PodCost`, from :meth:`PodCost.start` to :meth:`PodCost.stop`.
"""

from __future__ import annotations

import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from fleet_common.errors import UsageError

ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_INTERVAL_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 15.0
_LOG = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pod:
    """This pod's address at the API server, and where its account lies."""

    url: str
    account: Path

    @classmethod
    def of_environment(cls, name: str, environment: Mapping[str, str], account: Path = ACCOUNT) -> Pod:
        """What Kubernetes gives to every pod with an account; ``name`` is the pod's.

        Raises:
            UsageError: This is no such pod.
        """
        try:
            host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
            namespace = (account / "namespace").read_text(encoding="utf-8").strip()
        except (KeyError, OSError) as error:
            raise UsageError(
                f"worker.pod_deletion_cost needs a pod whose account is mounted ({error}): leave it out elsewhere"
            ) from error
        where = f"[{host}]" if ":" in host else host
        return cls(f"https://{where}:{port}/api/v1/namespaces/{namespace}/pods/{name}", account)

    def annotate(self, cost: int) -> None:
        """Write the cost to the pod. The token is read anew, because Kubernetes renews it.

        Raises:
            OSError: The API server is away or refuses; a refusal is a ``urllib.error.HTTPError``.
        """
        request = urllib.request.Request(  # noqa: S310  https always
            self.url,
            method="PATCH",
            data=json.dumps({"metadata": {"annotations": {ANNOTATION: str(cost)}}}).encode(),
            headers={
                "Authorization": f"Bearer {(self.account / 'token').read_text(encoding='utf-8').strip()}",
                "Content-Type": "application/merge-patch+json",
            },
        )
        trusted = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        urllib.request.urlopen(request, timeout=_CALL_SECONDS, context=trusted).close()  # noqa: S310


class PodCost:
    """Keeps the pod's cost equal to the requests in work.

    Args:
        annotate: Writes a cost; raises ``OSError`` when it cannot.
        in_work: The number of requests in work.
        interval_seconds: Between two looks; only a changed cost is written.
    """

    def __init__(
        self,
        annotate: Callable[[int], None],
        in_work: Callable[[], int],
        interval_seconds: float = _INTERVAL_SECONDS,
    ) -> None:
        self._annotate, self._in_work, self._interval_seconds = annotate, in_work, interval_seconds
        self._told: int | None = None
        self._failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pod-cost", daemon=True)

    def start(self) -> None:
        """Begin; the first cost is written at once."""
        self._thread.start()

    def stop(self) -> None:
        """End; the cost stays as it was told last."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def look(self) -> None:
        """Write the cost if it has changed; complain once for as long as it cannot be written."""
        cost = self._in_work()
        if cost == self._told:
            return
        try:
            self._annotate(cost)
        except OSError as error:
            if not self._failing:
                _LOG.warning("the pod's deletion cost cannot be written: may its account patch pods?", error=str(error))
            self._failing = True
            return
        self._told, self._failing = cost, False

    def _run(self) -> None:
        while True:
            self.look()
            if self._stopping.wait(self._interval_seconds):
                return

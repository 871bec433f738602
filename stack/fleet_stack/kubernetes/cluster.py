"""A private cluster on loopback: etcd, a real API server, controllers, a scheduler, and kwok for the nodes.

Role: what the suite of ``make kube-test`` installs the chart into. Pod Security "restricted" is enforced for every
namespace, so a pod that breaks it is refused and not only frowned upon. Neighbours: `programs` builds what runs here.
Threading: one thread uses one cluster.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fleet_stack.console import run
from fleet_stack.processes import detached, end, wait_until

_STAGES: Final = Path(__file__).with_name("stages.yaml")
_PATIENCE_SECONDS: Final = 90.0
_CALL_SECONDS: Final = 30.0
_ADMISSION: Final = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [
        {
            "name": "PodSecurity",
            "configuration": {
                "apiVersion": "pod-security.admission.config.k8s.io/v1",
                "kind": "PodSecurityConfiguration",
                "defaults": dict.fromkeys(("enforce", "audit", "warn"), "restricted"),
                "exemptions": {},
            },
        }
    ],
}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class RefusedError(Exception):
    """The API server refused; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered.

    Attributes:
        body: The object.
        warnings: Texts of the header ``Warning``: unknown or duplicate fields, deprecated versions, Pod Security.
    """

    body: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Cluster:
    """One cluster; :meth:`stop` ends its processes, and its folder is all that it writes.

    Attributes:
        folder: Data, keys and logs.
        programs: Where the programs are.
        port: Of the API server, on 127.0.0.1.
    """

    folder: Path
    programs: Path
    port: int = field(default_factory=_free_port)
    _token: str = field(default_factory=lambda: secrets.token_hex(16))
    _processes: list[str] = field(default_factory=list)

    @property
    def kubeconfig(self) -> Path:
        """For helm and kubectl, as an administrator."""
        return self.folder / "kubeconfig"

    def start(self) -> None:
        """Start everything and wait until the API server answers.

        Raises:
            StackError: Something did not start; its log is in the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_files()
        etcd, peer = _free_port(), _free_port()
        self._launch("etcd", *_etcd_flags(self.folder / "etcd", etcd, peer))
        self._launch("kube-apiserver", *self._apiserver_flags(etcd))
        wait_until(self._answers, _PATIENCE_SECONDS, f"the API server on port {self.port}", self._processes[-1])
        common = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0")
        key, root = self.folder / "accounts.key", self.folder / "certificates/apiserver.crt"
        self._launch(
            "kube-controller-manager",
            *common,
            f"--service-account-private-key-file={key}",
            f"--root-ca-file={root}",
            # The nodes have no heart that beats.
            "--node-monitor-grace-period=24h",
        )
        self._launch("kube-scheduler", *common)
        self._launch("kwok", f"--kubeconfig={self.kubeconfig}", "--manage-all-nodes=true", f"--config={_STAGES}")

    def stop(self) -> None:
        """End all processes, last started first, and remove the folder."""
        while self._processes:
            end(self._processes.pop(), 5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Ask the API server.

        Raises:
            RefusedError: It said no.
        """
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_CALL_SECONDS, context=self._tls()) as response:  # noqa: S310
                warnings = tuple(response.headers.get_all("Warning") or ())
                return Answer(json.loads(response.read()), warnings)
        except urllib.error.HTTPError as error:
            raise RefusedError(error.read().decode(errors="replace")) from error

    def create(self, one: Mapping[str, Any], namespace: str = "", *, dry: bool = False) -> Answer:
        """Create an object with strict field validation: an unknown or duplicate field is refused.

        Args:
            one: The object.
            namespace: Where; empty for what has no namespace.
            dry: Whether only to check it, by every admission plugin.
        """
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry else "")
        return self.call("POST", self._collection(one["apiVersion"], one["kind"], namespace) + query, one)

    def items(self, version: str, kind: str, namespace: str) -> list[dict[str, Any]]:
        """All objects of a kind in a namespace."""
        found: list[dict[str, Any]] = self.call("GET", self._collection(version, kind, namespace)).body["items"]
        return found

    def _collection(self, version: str, kind: str, namespace: str) -> str:
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        resources = self.call("GET", root).body["resources"]
        name = next((one["name"] for one in resources if one["kind"] == kind and "/" not in one["name"]), None)
        if name is None:
            raise RefusedError(f"the API server knows no {kind} of {version}")
        return f"{root}/namespaces/{namespace}/{name}" if namespace else f"{root}/{name}"

    def _answers(self) -> bool:
        try:
            request = urllib.request.Request(f"https://127.0.0.1:{self.port}/readyz")
            urllib.request.urlopen(request, timeout=2, context=self._tls()).close()  # noqa: S310
        except (OSError, ssl.SSLError):
            return False
        return True

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "certificates/apiserver.crt"))

    def _launch(self, name: str, *flags: str) -> None:
        environment = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin"}
        log = self.folder / f"{name}.log"
        self._processes.append(detached([self.programs / name, *flags], env=environment, cwd=self.folder, log=log))

    def _apiserver_flags(self, etcd: int) -> tuple[str, ...]:
        key = self.folder / "accounts.key"
        return (
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            # Debian's etcd 3.4 cannot serve streaming lists; refused at once, clients ask for ordinary ones.
            "--feature-gates=WatchList=false",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--admission-control-config-file={self.folder / 'admission.json'}",
        )

    def _write_files(self) -> None:
        run(["openssl", "genrsa", "-out", self.folder / "accounts.key", "2048"])
        (self.folder / "tokens.csv").write_text(f"{self._token},admin,admin,system:masters\n")
        (self.folder / "admission.json").write_text(json.dumps(_ADMISSION))
        server = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority": str(self.folder / "certificates/apiserver.crt"),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "private", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "private", "context": {"cluster": "private", "user": "admin"}}],
            "current-context": "private",
        }
        self.kubeconfig.write_text(json.dumps(config))
        self.kubeconfig.chmod(0o600)


def _etcd_flags(data: Path, port: int, peer: int) -> tuple[str, ...]:
    address, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    return (
        f"--data-dir={data}",
        f"--listen-client-urls={address}",
        f"--advertise-client-urls={address}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        # Nothing of it is worth a disk's patience.
        "--unsafe-no-fsync",
    )

"""What a facility has before the chart comes: operators' kinds, nodes, Secrets, claims; and helm itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from fleet_stack.kubernetes.cluster import Cluster
from support.chart import CHART, CRDS, Values, crd_kinds, of_kind, pods

GROUPS: Final = {
    "PodMonitor": ("monitoring.coreos.com", "v1"),
    "PrometheusRule": ("monitoring.coreos.com", "v1"),
    "ScaledObject": ("keda.sh", "v1alpha1"),
    "TriggerAuthentication": ("keda.sh", "v1alpha1"),
}
NODE_LABELS: Final = {"storage": "fast", "kubernetes.io/arch": "amd64", "topology.kubernetes.io/zone": "a"}
HELM_SECONDS: Final = 240


def prepare(cluster: Cluster) -> None:
    """Make the operators' kinds, two nodes and a priority class."""
    for kind in crd_kinds():
        cluster.create(custom_resource(kind))
    for name in ("node-a", "node-b"):
        labels = {**NODE_LABELS, "kubernetes.io/hostname": name}
        cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    cluster.create(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "imports"},
            "value": 1000,
        }
    )


def custom_resource(kind: str) -> dict[str, Any]:
    """The definition of an operator's kind with the schema of tests/crds; the API server closes its objects itself."""
    group, version = GROUPS[kind]
    plural = f"{kind.lower()}s"
    spec = json.loads((CRDS / f"{kind}.json").read_text(encoding="utf-8"))
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
                }
            ],
        },
    }


@dataclass(frozen=True)
class Place:
    """A namespace with what the values of a case refer to, and helm."""

    cluster: Cluster
    namespace: str
    folder: Path

    def prepare(self, values: Values) -> None:
        """Make the namespace, and every Secret and claim that pods of these values mount."""
        self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        for secret, keys in _secrets(values).items():
            data = dict.fromkeys(keys, "not-a-real-password")
            self._create("v1", "Secret", secret, {"stringData": data})
        for claim in _claims(values):
            self.cluster.create(_volume(claim, self.namespace, _CLAIM))
            self._create("v1", "PersistentVolumeClaim", claim, {"spec": _CLAIM})
        for one in of_kind(values, "PersistentVolumeClaim"):
            # Nothing provides volumes here: what the chart will claim waits for it.
            self.cluster.create(_volume(one["metadata"]["name"], self.namespace, one["spec"]))

    def helm(self, *arguments: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
        """Run the real helm, with values when they are given."""
        flags = []
        if values is not None:
            file = self.folder / "values.yaml"
            file.write_text(yaml.safe_dump(values), encoding="utf-8")
            flags = ["--values", str(file)]
        return subprocess.run(
            [str(self.cluster.programs / "helm"), "--namespace", self.namespace, *arguments, *flags],
            env={
                "KUBECONFIG": str(self.cluster.kubeconfig),
                "HOME": str(self.folder),
                "PATH": "/usr/bin:/bin",
            },
            capture_output=True,
            text=True,
            timeout=HELM_SECONDS,
            check=False,
        )

    def install(self, values: Values, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`helm upgrade --install --wait`, as the how-to says."""
        words = ("upgrade", "--install", "fleet", str(CHART), "--wait", "--timeout", "2m", *arguments)
        return self.helm(*words, values=values)

    def items(self, version: str, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind here."""
        return self.cluster.items(version, kind, self.namespace)

    def _create(self, version: str, kind: str, name: str, body: Mapping[str, Any]) -> None:
        self.cluster.create({"apiVersion": version, "kind": kind, "metadata": {"name": name}, **body}, self.namespace)


_CLAIM: Final = {
    "accessModes": ["ReadWriteMany"],
    "storageClassName": "",
    "resources": {"requests": {"storage": "1Gi"}},
}


def _volume(claim: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A volume for one claim, of the kind that its specification asks for."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{claim}"},
        "spec": {
            "accessModes": spec["accessModes"],
            "storageClassName": spec.get("storageClassName", ""),
            "capacity": {"storage": "100Gi"},
            "claimRef": {"namespace": namespace, "name": claim},
            "nfs": {"server": "192.0.2.1", "path": "/data"},
        },
    }


def _secrets(values: Values) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for _, pod in pods(values):
        for volume in pod["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                keys = {item["key"] for item in source["secret"]["items"]}
                wanted.setdefault(source["secret"]["name"], set()).update(keys)
    return wanted


def _claims(values: Values) -> set[str]:
    """The claims that are there before the chart; those that the chart makes itself are not."""
    mounted = {
        volume["persistentVolumeClaim"]["claimName"]
        for _, pod in pods(values)
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    return mounted - {one["metadata"]["name"] for one in of_kind(values, "PersistentVolumeClaim")}

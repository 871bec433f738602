"""Helm and a real API server: every case of the chart is installed, upgraded, tested and removed, and nobody frowns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_stack.kubernetes.cluster import Cluster, RefusedError
from support.chart import CASES, Values, case, merged, objects
from support.kubernetes import Place

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=CASES)
def values(request: pytest.FixtureRequest) -> Values:
    """The values of each case in ci/."""
    return case(request.param)


@pytest.fixture(scope="module")
def place(cluster: Cluster, values: Values, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A namespace of its own for each case, with the Secrets and claims that its values name."""
    number = sum(1 for one in cluster.call("GET", "/api/v1/namespaces").body["items"])
    one = Place(cluster, f"imaging-{number}", tmp_path_factory.mktemp("helm"))
    one.prepare(values)
    yield one
    one.helm("uninstall", "fleet", "--ignore-not-found")


class TestCase:
    """One case of ci/, in the order of its life."""

    def test_every_object_is_accepted_strictly_and_without_a_warning(self, place: Place, values: Values) -> None:
        """Given strict field validation and Pod Security "restricted", when each object is tried, nothing is said."""
        for one in objects(values):
            answer = place.cluster.create(one, place.namespace, dry=True)
            assert answer.warnings == (), one["metadata"]["name"]

    def test_it_is_installed_and_everything_becomes_ready(self, place: Place, values: Values) -> None:
        """Given `helm upgrade --install --wait`, the topology Job has run first and all pods are admitted and ready."""
        installed = place.install(values)

        assert installed.returncode == 0, installed.stderr
        assert "warning" not in installed.stderr.lower()
        for deployment in place.items("apps/v1", "Deployment"):
            status = deployment["status"]
            assert status["readyReplicas"] == status["replicas"] == deployment["spec"]["replicas"]

    def test_helm_test_succeeds(self, place: Place) -> None:
        """Given the pods of `helm test`, they are admitted, run and end well."""
        tested = place.helm("test", "fleet", "--timeout", "2m")
        assert tested.returncode == 0, tested.stderr
        assert "Succeeded" in tested.stdout

    def test_nothing_changes_when_nothing_has_changed(self, place: Place, values: Values) -> None:
        """Given the same values again, when helm upgrades, then no worker is restarted."""
        before = generations(place)
        assert place.install(values).returncode == 0
        assert generations(place) == before

    def test_an_upgrade_replaces_the_workers(self, place: Place, values: Values) -> None:
        """Given a changed setting, when helm upgrades, then every worker's pod is replaced and ready again."""
        before = pods_of_workers(place)
        upgraded = place.install(merged(values, {"omero": {"importSlots": 2}}))

        assert upgraded.returncode == 0, upgraded.stderr
        assert "warning" not in upgraded.stderr.lower()
        assert pods_of_workers(place)
        assert not pods_of_workers(place) & before

    def test_a_rollback_brings_the_old_settings_back(self, place: Place) -> None:
        rolled = place.helm("rollback", "fleet", "1", "--wait", "--timeout", "2m")
        assert rolled.returncode == 0, rolled.stderr
        # Helm leaves what belongs to hooks as it is: the next upgrade makes it anew.
        own = [
            one
            for one in place.items("v1", "ConfigMap")
            if "helm.sh/hook" not in one["metadata"].get("annotations", {})
        ]
        texts = [one["data"].get("fleet.toml", "") for one in own]
        assert not any("import_slots = 2\n" in text for text in texts)

    def test_removing_it_leaves_spools_and_nothing_else(self, place: Place) -> None:
        """Given `helm uninstall`, claims of spools stay, because accepted requests are in them; all else is gone."""
        kept = {one["metadata"]["name"] for one in place.items("v1", "PersistentVolumeClaim")}
        removed = place.helm("uninstall", "fleet", "--wait", "--timeout", "2m")

        assert removed.returncode == 0, removed.stderr
        assert {one["metadata"]["name"] for one in place.items("v1", "PersistentVolumeClaim")} == kept
        for version, kind in OWN_KINDS:
            left = {one["metadata"]["name"] for one in place.items(version, kind) if of_the_release(one)}
            assert left <= HOOKS_LEAVE, kind


OWN_KINDS = (
    ("apps/v1", "Deployment"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("keda.sh/v1alpha1", "TriggerAuthentication"),
)
# Helm does not count hooks among a release's objects; the next install replaces this one.
HOOKS_LEAVE = {"fleet-topology", "fleet-omero-import-fleet-topology"}


def of_the_release(one: dict[str, Any]) -> bool:
    found: bool = one["metadata"].get("labels", {}).get("app.kubernetes.io/instance") == "fleet"
    return found


def generations(place: Place) -> dict[str, int]:
    return {one["metadata"]["name"]: one["metadata"]["generation"] for one in place.items("apps/v1", "Deployment")}


def pods_of_workers(place: Place) -> set[str]:
    """The pods of workers that are not on their way out."""
    return {
        one["metadata"]["uid"]
        for one in place.items("v1", "Pod")
        if one["metadata"]["labels"]["app.kubernetes.io/component"].startswith("worker")
        and "deletionTimestamp" not in one["metadata"]
    }


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> str:
    """A namespace for what must be refused."""
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "wrong"}})
    return "wrong"


class TestCluster:
    """The checks themselves: what is wrong is refused."""

    def pod(self, **security: Any) -> dict[str, Any]:
        container = {"name": "one", "image": "one", "securityContext": security}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": {"containers": [container]}}

    def test_a_pod_that_may_be_root_is_refused(self, cluster: Cluster, namespace: str) -> None:
        with pytest.raises(RefusedError, match="restricted"):
            cluster.create(self.pod(), namespace, dry=True)

    def test_an_unknown_field_is_refused(self, cluster: Cluster, namespace: str) -> None:
        wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "date": {"a": "b"}}
        with pytest.raises(RefusedError, match="unknown field"):
            cluster.create(wrong, namespace, dry=True)

    def test_an_unknown_field_of_an_operators_object_is_refused(self, cluster: Cluster, namespace: str) -> None:
        monitor = next(one for one in objects(case("full")) if one["kind"] == "PodMonitor")
        wrong = merged(monitor, {"spec": {"podMetricsEndpoint": []}})
        with pytest.raises(RefusedError, match="unknown field"):
            cluster.create(wrong, namespace, dry=True)

    def test_a_deployment_whose_pods_would_be_refused_is_warned_of(self, cluster: Cluster, namespace: str) -> None:
        deployment = next(one for one in objects(case("minimal")) if one["kind"] == "Deployment")
        template = deployment["spec"]["template"]
        loose = merged(template, {"spec": {"securityContext": {"runAsNonRoot": False, "runAsUser": 0}}})
        answer = cluster.create(merged(deployment, {"spec": {"template": loose}}), namespace, dry=True)
        assert any("would violate PodSecurity" in text for text in answer.warnings)


def test_logs_of_the_cluster_are_kept_beside_its_data(cluster: Cluster) -> None:
    logs = {Path(file).stem for file in cluster.folder.glob("*.log")}
    assert {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"} <= logs

"""The Helm chart, rendered without a cluster: valid objects, restricted pods, no secret anywhere."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from support.chart import (
    CASES,
    CHART,
    ROOT,
    Values,
    case,
    component_of,
    container_of,
    crd_kinds,
    crd_schema,
    merged,
    objects,
    of_kind,
    one_of,
    pod_of,
    pods,
    rendered,
    settings_of,
)

OLDEST, NEWEST = "1.28.0", "1.37.0"
# Pod Security Standards, "restricted", volume types (Kubernetes documentation).
ALLOWED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}


@pytest.fixture(params=CASES)
def values(request: pytest.FixtureRequest) -> Values:
    """The values of each case in ci/."""
    return case(request.param)


def test_there_are_cases_to_render() -> None:
    assert {"minimal", "full", "trial", "scaled", "classes"} <= set(CASES)


class TestObjects:
    """Every object of every case."""

    @pytest.mark.parametrize("version", [OLDEST, NEWEST])
    def test_each_is_valid_for_the_oldest_and_the_newest_kubernetes(self, values: Values, version: str) -> None:
        for one in objects(values):
            if one["kind"] not in crd_kinds():
                kubernetes_validate.validate(one, version, strict=True)

    def test_custom_resources_fit_their_operators(self, values: Values) -> None:
        for one in objects(values):
            if one["kind"] in crd_kinds():
                jsonschema.validate(one["spec"], crd_schema(one["kind"]))

    def test_every_custom_resource_that_can_be_made_is_checked(self) -> None:
        """Given the templates, every kind that Kubernetes itself does not know has a schema in tests/crds."""
        texts = [file.read_text(encoding="utf-8") for file in (CHART / "templates").rglob("*.yaml")]
        groups = [re.findall(r"(?m)^apiVersion: (\S+)\nkind: (\S+)", text) for text in texts]
        foreign = {kind for found in groups for version, kind in found if re.search(r"coreos\.com|keda\.sh", version)}

        assert foreign == set(crd_kinds())

    @pytest.mark.parametrize(
        ("kind", "wrong"),
        [
            ("PodMonitor", {"podMetricsEndpoints": [{"intervalz": "30s"}], "selector": {}}),
            ("PrometheusRule", {"groups": [{"name": "a", "rules": [{"expr": "1", "sumary": "x"}]}]}),
            ("ScaledObject", {"scaleTargetRef": {"name": "a"}, "triggers": [], "maxReplicas": 3}),
            ("ScaledObject", {"scaleTargetRef": {"name": "a"}, "triggers": [{"type": "x", "metadata": {"value": 3}}]}),
            ("TriggerAuthentication", {"secretTargetRef": [{"parameter": "host", "name": "a", "keys": "b"}]}),
        ],
    )
    def test_an_unknown_key_or_wrong_type_in_a_custom_resource_is_found(self, kind: str, wrong: Values) -> None:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, crd_schema(kind))

    def test_lint_finds_no_error_and_no_warning(self, values: Values) -> None:
        report = helm_python.lint(CHART, values, strict=True)

        assert report["errors"] == []
        assert [one for one in report["messages"] if one["severity"] > 1] == []

    def test_each_carries_the_recommended_labels(self, values: Values) -> None:
        wanted = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "part-of", "managed-by")}
        for one in objects(values):
            assert wanted <= one["metadata"]["labels"].keys(), one["metadata"]

    def test_no_two_have_the_same_kind_and_name(self, values: Values) -> None:
        named = [(one["kind"], one["metadata"]["name"]) for one in objects(values)]
        assert sorted(set(named)) == sorted(named)

    def test_names_fit_kubernetes_however_long_the_release_is(self, values: Values) -> None:
        long = merged(values, {"fullnameOverride": "x" * 63})
        assert all(len(one["metadata"]["name"]) <= 63 for one in objects(long))

    def test_selectors_hold_only_what_never_changes(self, values: Values) -> None:
        """Given an upgrade of the chart, selectors are immutable: they name name, instance and component."""
        wanted = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
        for one in of_kind(values, "Deployment"):
            assert one["spec"]["selector"]["matchLabels"].keys() == wanted
            assert (
                one["spec"]["selector"]["matchLabels"].items() <= one["spec"]["template"]["metadata"]["labels"].items()
            )

    def test_each_budget_keeps_the_workers_of_its_class(self, values: Values) -> None:
        for budget in of_kind(values, "PodDisruptionBudget"):
            deployment = one_of(values, "Deployment", component_of(budget))
            assert budget["spec"]["selector"] == deployment["spec"]["selector"]
            assert budget["spec"]["maxUnavailable"] >= 1


class TestPods:
    """Every pod, hooks and tests included."""

    def test_each_is_restricted(self, values: Values) -> None:
        """Each passes the Pod Security Standard "restricted"."""
        for name, pod in pods(values):
            security = pod["securityContext"]
            assert security["runAsNonRoot"] is True, name
            assert security["runAsUser"] > 0, name
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys(), name
            assert {key for volume in pod["volumes"] for key in volume} - {"name"} <= ALLOWED_VOLUMES, name
            for container in pod["containers"]:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }, name

    def test_none_gets_a_token_of_the_cluster_but_to_tell_its_deletion_cost(self, values: Values) -> None:
        """Given a pod with a token, its account may patch pods here and nothing else."""
        for _, pod in pods(values):
            if pod["automountServiceAccountToken"]:
                (role,) = of_kind(values, "Role", "pod-cost")
                assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
                assert pod["serviceAccountName"] == role["metadata"]["name"]
        assert all(one["automountServiceAccountToken"] is False for one in of_kind(values, "ServiceAccount"))

    def test_every_container_says_what_it_needs(self, values: Values) -> None:
        for _, pod in pods(values):
            for container in pod["containers"]:
                assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
                assert "memory" in container["resources"]["limits"]

    def test_every_mount_has_its_volume_and_every_volume_a_mount(self, values: Values) -> None:
        for name, pod in pods(values):
            volumes = [volume["name"] for volume in pod["volumes"]]
            mounts = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
            assert sorted(volumes) == sorted(mounts), name

    def test_a_stopping_worker_is_given_longer_than_its_grace_time(self, values: Values) -> None:
        for one in of_kind(values, "Deployment"):
            if component_of(one).startswith("worker"):
                granted = one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
                assert granted >= settings_of(values, component_of(one))["worker"]["grace_seconds"] + 60

    @pytest.mark.parametrize("component", ["worker", "worker-inplace", "exporter", "producer-phenix1"])
    def test_probes_ask_the_health_pages_on_the_metrics_port(self, component: str) -> None:
        container = container_of(case("full"), component)
        pages = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("liveness", "readiness", "startup")}

        assert pages["liveness"] == pages["startup"] == {"path": "/healthz", "port": "metrics"}
        assert pages["readiness"] == {"path": "/readyz", "port": "metrics"}
        assert container["ports"] == [{"name": "metrics", "containerPort": 9200}]
        assert settings_of(case("full"), component)["metrics"]["port"] == 9200

    def test_autoscalers_of_nodes_leave_workers_alone(self) -> None:
        template = one_of(case("minimal"), "Deployment", "worker")["spec"]["template"]
        annotations = template["metadata"]["annotations"]

        assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert annotations["karpenter.sh/do-not-disrupt"] == "true"

    def test_workers_spread_over_nodes_where_they_can(self) -> None:
        (spread,) = pod_of(case("minimal"), "worker")["topologySpreadConstraints"]
        deployment = one_of(case("minimal"), "Deployment", "worker")

        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
        assert spread["labelSelector"] == deployment["spec"]["selector"]

    def test_the_image_is_the_one_of_the_released_version(self) -> None:
        """The chart's appVersion is the version of the distribution."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert container_of(case("minimal"), "worker")["image"] == f"omero-import-fleet-worker:{project['version']}"

    def test_a_digest_pins_the_image_of_every_pod(self) -> None:
        digests = {case("full")[image]["digest"] for image in ("image", "producerImage")}
        used = {one["image"].rpartition("@")[2] for _, pod in pods(case("full")) for one in pod["containers"]}
        assert used == digests


class TestSecrets:
    """Passwords are files of existing Secrets."""

    def test_none_is_made_and_none_is_shown(self, values: Values) -> None:
        """None is made by the chart, none stands in a ConfigMap, an argument or a variable."""
        assert of_kind(values, "Secret") == []
        for one in of_kind(values, "ConfigMap"):
            assert not re.search(r"(?im)^\s*password\s*[=:]", "\n".join(one["data"].values()))
        for _, pod in pods(values):
            for container in pod["containers"]:
                assert all("valueFrom" not in one or "fieldRef" in one["valueFrom"] for one in container["env"])
                spoken = (container.get("command", []), container["args"], container["env"])
                assert not any("password" in json.dumps(part).lower() for part in spoken)

    @pytest.mark.parametrize("group", ["broker", "omero", "exporter", "topology"])
    def test_a_password_given_as_a_value_is_refused(self, group: str) -> None:
        with pytest.raises(helm_python.HelmError, match="password"):
            rendered(merged(case("minimal"), {group: {"password": "hunter2"}}))

    def test_a_password_given_as_a_variable_is_refused(self) -> None:
        variable = {"name": "OMERO_FLEET_BROKER__PASSWORD", "value": "hunter2"}
        with pytest.raises(helm_python.HelmValuesError, match="extraEnv"):
            rendered(merged(case("minimal"), {"worker": {"extraEnv": [variable]}}))

    def test_an_address_with_a_password_is_refused(self) -> None:
        with pytest.raises(helm_python.HelmError, match="managementUrl"):
            rendered(merged(case("minimal"), {"broker": {"managementUrl": "https://u:p@rabbitmq:15671"}}))

    def test_each_pod_gets_the_passwords_of_its_own_accounts_only(self) -> None:
        given = {name.partition(" fleet-omero-import-fleet")[2]: secrets_of(pod) for name, pod in pods(case("minimal"))}

        assert given == {
            "": {"fleet-broker-worker", "fleet-omero"},
            "-exporter": {"fleet-broker-exporter", "fleet-omero"},
            "-topology": {"fleet-broker-topology"},
            "-test-topology": {"fleet-broker-topology"},
            "-test-worker": {"fleet-broker-worker", "fleet-omero"},
            "-test-metrics": {"fleet-broker-exporter"},
        }

    @pytest.mark.parametrize(
        ("name", "change", "named"),
        [
            ("minimal", {"broker": {"existingSecret": ""}}, "broker.existingSecret"),
            ("minimal", {"omero": {"existingSecret": ""}}, "omero.existingSecret"),
            ("minimal", {"topology": {"existingSecret": ""}}, "topology.existingSecret"),
            ("minimal", {"exporter": {"existingSecret": ""}}, "exporter.existingSecret"),
            ("minimal", {"broker": {"managementUrl": ""}}, "broker.managementUrl"),
            ("full", {"producers": {"phenix1": {"existingSecret": ""}}}, "producers.phenix1.existingSecret"),
            ("scaled", {"worker": {"autoscaling": {"existingSecret": ""}}}, "worker.autoscaling.existingSecret"),
            ("scaled", {"broker": {"managementUrl": ""}}, "broker.managementUrl"),
            ("minimal", {"lanes": None}, "lanes: name at least one lane"),
            ("classes", {"workerClasses": {"slow": {"replicaCount": 1}}}, "workerClasses.slow.lanes"),
        ],
    )
    def test_what_must_be_said_is_asked_for_by_name(self, name: str, change: dict[str, Any], named: str) -> None:
        with pytest.raises(helm_python.HelmError, match=re.escape(named)):
            rendered(merged(case(name), change))


def secrets_of(pod: Values) -> set[str]:
    (sources,) = (volume["projected"]["sources"] for volume in pod["volumes"] if "projected" in volume)
    return {source["secret"]["name"] for source in sources}


def test_the_chart_needs_the_oldest_version_that_is_tested() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["kubeVersion"] == f">={OLDEST}-0"

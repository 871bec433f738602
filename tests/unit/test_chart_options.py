"""What the chart does when it is asked to: hooks, autoscaling, classes of workers, monitoring, network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from fleet_common.broker import Names
from fleet_common.broker.topology import describe
from support.chart import (
    CHART,
    Values,
    case,
    component_of,
    container_of,
    merged,
    objects,
    of_kind,
    one_of,
    pod_of,
    settings_of,
)

RULES = {
    "groups": [
        {
            "name": "test",
            "rules": [{"alert": "Away", "expr": "up == 0", "annotations": {"summary": "{{ $labels.pod }} is away"}}],
        }
    ]
}
DASHBOARD = {"title": "Test", "panels": [{"legend": "{{lane}}", "expr": 'rate(x{lane=~"$lane"}[5m])'}]}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the chart with one more rule file and dashboard."""
    folder = tmp_path_factory.mktemp("chart") / "omero-import-fleet"
    shutil.copytree(CHART, folder)
    for name, text in (
        ("rules/zz-test.yaml", yaml.safe_dump(RULES)),
        ("dashboards/zz-test.json", json.dumps(DASHBOARD)),
    ):
        (folder / "files" / name).parent.mkdir(exist_ok=True)
        (folder / "files" / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def monitored(chart: Path) -> list[Values]:
    """Every object of that copy with all that can be switched on."""
    return objects(case("full"), chart)


class TestHooks:
    """Topology before everything else, and `helm test`."""

    def test_topology_is_declared_before_anything_else_of_the_release(self) -> None:
        """Given an install, the Job and its settings are hooks: the settings come first, and it needs nothing else."""
        job = one_of(case("minimal"), "Job", "topology")
        settings = one_of(case("minimal"), "ConfigMap", "topology")
        weights = [int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in (settings, job)]
        pod = job["spec"]["template"]["spec"]
        hooks = {one["metadata"]["annotations"]["helm.sh/hook"] for one in (settings, job)}

        assert hooks == {"pre-install,pre-upgrade"}
        assert weights == sorted(set(weights))
        assert "serviceAccountName" not in pod
        assert pod["containers"][0]["args"] == ["topology", "apply"]
        assert {one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one} == {
            settings["metadata"]["name"]
        }

    def test_helm_test_asks_broker_omero_and_metrics(self) -> None:
        """Given `helm test`, one pod compares the broker, one for each class logs in as a worker, one reads metrics."""
        tests = {one["metadata"]["name"]: one["spec"]["containers"][0] for one in of_kind(case("full"), "Pod")}
        service = one_of(case("full"), "Service", "exporter")

        assert tests["fleet-test-topology"]["args"] == ["topology", "verify"]
        assert tests["fleet-test-worker"]["args"] == tests["fleet-test-worker-inplace"]["args"] == ["doctor"]
        assert tests["fleet-test-metrics"]["args"] == [f"http://{service['metadata']['name']}:9200/metrics"]
        for one in of_kind(case("full"), "Pod"):
            assert one["metadata"]["annotations"]["helm.sh/hook"] == "test"

    @pytest.mark.parametrize(
        ("up", "said"), [(1.0, ""), (0.0, "does not read RabbitMQ"), (None, "does not read RabbitMQ")]
    )
    def test_helm_test_fails_where_the_exporter_does_not_read_rabbitmq(self, up: float | None, said: str) -> None:
        """Given metrics as the exporter writes them, or those of one that has looked nowhere yet."""
        (pod,) = (one for one in of_kind(case("full"), "Pod") if one["metadata"]["name"] == "fleet-test-metrics")
        command = [sys.executable, *pod["spec"]["containers"][0]["command"][1:], f"data:,{quote(exposed(up))}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

        assert done.returncode == int(bool(said))
        assert said in done.stderr

    def test_a_tested_worker_sees_the_shares_as_a_worker_does(self) -> None:
        (pod,) = (one for one in of_kind(case("full"), "Pod") if one["metadata"]["name"] == "fleet-test-worker")
        real = [one for one in container_of(case("full"), "worker")["volumeMounts"] if "share-" in one["name"]]

        assert [one for one in pod["spec"]["containers"][0]["volumeMounts"] if "share-" in one["name"]] == real

    def test_without_topology_and_exporter_there_are_workers_only(self) -> None:
        assert {one["kind"] for one in objects(case("trial"))} == {"ConfigMap", "Deployment", "Pod"}


class TestAutoscaling:
    """KEDA."""

    def scaled(self, name: str = "scaled", change: Values | None = None) -> Values:
        spec: Values = one_of(merged(case(name), change or {}), "ScaledObject", "worker")["spec"]
        return spec

    def test_a_scaled_deployment_says_no_number_of_replicas(self) -> None:
        """Given an upgrade, a number in the Deployment would undo what the autoscaler chose."""
        assert "replicas" not in one_of(case("scaled"), "Deployment", "worker")["spec"]
        assert one_of(case("minimal"), "Deployment", "worker")["spec"]["replicas"] == 2

    def test_the_scaled_object_names_the_deployment(self) -> None:
        deployment = one_of(case("scaled"), "Deployment", "worker")["metadata"]["name"]
        assert self.scaled()["scaleTargetRef"] == {"name": deployment}

    def test_requests_in_work_count(self) -> None:
        """Given only ready messages counted, a fleet busy with its last plates would be taken away."""
        (trigger,) = self.scaled()["triggers"]

        assert (trigger["metadata"]["protocol"], trigger["metadata"]["mode"]) == ("http", "QueueLength")
        assert trigger["metadata"]["excludeUnacknowledged"] == "false"

    def test_the_lanes_queues_are_counted_and_no_others(self) -> None:
        (trigger,) = self.scaled()["triggers"]
        wanted = {one.name for one in describe(Names(), ("hcs", "confocal")).queues}
        counted = {name for name in wanted if re.search(trigger["metadata"]["queueName"], name)}

        assert counted == {name for name in wanted if name.startswith("import.lane.")}
        assert len(counted) == 6
        assert not re.search(trigger["metadata"]["queueName"], "import.lane.other.normal")
        assert trigger["metadata"]["operation"] == "sum"

    @pytest.mark.parametrize(("asked", "value"), [(0, "2"), (5, "5")])
    def test_one_pod_more_for_as_many_requests_as_a_worker_has_in_work(self, asked: int, value: str) -> None:
        (trigger,) = self.scaled(change={"worker": {"autoscaling": {"requestsPerPod": asked}}})["triggers"]
        assert trigger["metadata"]["value"] == value

    def test_a_silent_broker_does_not_drain_the_fleet(self) -> None:
        assert self.scaled("full")["fallback"] == {
            "failureThreshold": 3,
            "replicas": 2,
            "behavior": "currentReplicasIfHigher",
        }

    def test_an_older_keda_is_given_no_behaviour_that_it_does_not_know(self) -> None:
        assert self.scaled()["fallback"] == {"failureThreshold": 3, "replicas": 2}

    def test_pods_go_one_by_one(self) -> None:
        down = self.scaled()["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]

        assert down["stabilizationWindowSeconds"] == 600
        assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 600}]

    def test_the_password_reaches_keda_from_a_secret_and_not_in_the_address(self) -> None:
        """Given a password with special characters, an address that holds it breaks: it is a parameter of its own."""
        (trigger,) = self.scaled("full")["triggers"]
        authentication = one_of(case("full"), "TriggerAuthentication", "worker")

        assert trigger["metadata"]["host"] == "https://rabbitmq.messaging.svc:15671/"
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
        assert authentication["spec"]["secretTargetRef"] == [
            {"parameter": "password", "name": "fleet-broker-monitor", "key": "monitor"},
            {"parameter": "ca", "name": "fleet-ca", "key": "root.pem"},
        ]

    @pytest.mark.parametrize(("name", "tls"), [("full", "enable"), ("scaled", "disable")])
    def test_a_certificate_of_ones_own_is_used_when_there_is_one(self, name: str, tls: str) -> None:
        scaler = next(one for one in of_kind(case(name), "ConfigMap") if one["metadata"]["name"].endswith("-scaler"))
        assert scaler["data"] == {"username": "monitor", "tls": tls}

    def test_every_value_of_a_trigger_is_a_string(self) -> None:
        for name in ("full", "scaled"):
            (trigger,) = self.scaled(name)["triggers"]
            assert all(isinstance(value, str) for value in trigger["metadata"].values())


class TestClasses:
    """Workers of several classes."""

    def test_each_class_is_a_deployment_with_settings_and_a_budget_of_its_own(self) -> None:
        for kind in ("Deployment", "ConfigMap", "PodDisruptionBudget"):
            components = {component_of(one) for one in of_kind(case("full"), kind)}
            assert {"worker", "worker-inplace"} <= components

    def test_no_worker_without_a_class_when_there_are_no_lanes_at_the_top(self) -> None:
        assert {component_of(one) for one in of_kind(case("classes"), "Deployment")} == {
            "worker-fast",
            "worker-inplace",
        }

    def test_a_class_may_write_to_the_repository_as_its_group(self) -> None:
        pod = pod_of(case("full"), "worker-inplace")
        (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == "/OMERO")
        (claim,) = (one["persistentVolumeClaim"] for one in pod["volumes"] if one["name"] == mount["name"])

        assert (mount["readOnly"], mount["subPath"]) == (False, "ManagedRepository")
        assert claim == {"claimName": "omero-data"}
        assert pod["securityContext"]["supplementalGroups"] == [30001, 30002, 2000]

    def test_files_that_are_not_the_fleets_are_not_given_to_its_group(self) -> None:
        """Given a pod that writes to a volume of OMERO's, then it has no fsGroup: drivers of NFS and Ceph obey it."""

        def said(component: str) -> tuple[object, object]:
            pod = pod_of(case("full"), component)
            (mode,) = (one["projected"]["defaultMode"] for one in pod["volumes"] if "projected" in one)
            return pod["securityContext"].get("fsGroup"), mode

        assert said("worker-inplace") == (None, 0o444)
        assert said("worker") == (20002, 0o440)

    def test_other_workers_do_not_see_the_repository(self) -> None:
        pod = pod_of(case("full"), "worker")
        assert not any(mount["mountPath"] == "/OMERO" for mount in pod["containers"][0]["volumeMounts"])

    @pytest.mark.parametrize("said", [{}, {"readOnly": True}])
    def test_a_mount_is_read_only_unless_it_says_otherwise(self, said: Values) -> None:
        mounts = {"more": {"existingClaim": "c", "mountPath": "/more"} | said}
        pod = pod_of(merged(case("minimal"), {"worker": {"extraMounts": mounts}}), "worker")
        (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == "/more")
        (claim,) = (one["persistentVolumeClaim"] for one in pod["volumes"] if one["name"] == mount["name"])
        assert mount["readOnly"] is True
        assert claim == {"claimName": "c", "readOnly": True}


class TestDeletionCost:
    """Pods that tell Kubernetes how much their removal would break."""

    def test_only_the_classes_that_ask_for_it_tell_it(self) -> None:
        told = {name: pod_of(case("full"), name) for name in ("worker", "worker-inplace")}

        assert told["worker-inplace"]["automountServiceAccountToken"] is True
        assert told["worker-inplace"]["serviceAccountName"] == "fleet-pod-cost"
        assert told["worker"]["automountServiceAccountToken"] is False
        assert settings_of(case("full"), "worker-inplace")["worker"]["pod_deletion_cost"] is True
        assert settings_of(case("full"))["worker"]["pod_deletion_cost"] is False

    def test_the_binding_gives_the_role_to_that_account(self) -> None:
        binding = one_of(case("full"), "RoleBinding", "pod-cost")
        (subject,) = binding["subjects"]

        assert binding["roleRef"]["name"] == one_of(case("full"), "Role", "pod-cost")["metadata"]["name"]
        assert subject == {"kind": "ServiceAccount", "name": "fleet-pod-cost", "namespace": "imaging"}

    def test_nobody_gets_such_an_account_unasked(self) -> None:
        assert of_kind(case("minimal"), "Role") == []
        assert of_kind(case("minimal"), "ServiceAccount", "pod-cost") == []

    def test_the_api_server_is_reached_through_the_network_policy(self) -> None:
        def ports(name: str) -> set[object]:
            rules = one_of(case(name), "NetworkPolicy", "network")["spec"]["egress"]
            return {port["port"] for rule in rules for port in rule["ports"]}

        assert {443, 6443} <= ports("full")
        assert not {443, 6443} & ports("scaled")


class TestProducers:
    """Watchers of shares that the cluster can read."""

    def test_each_runs_once_with_the_image_of_producers(self) -> None:
        """Given a producer that is replaced, the old pod is gone first: two must not watch the same folders."""
        for name in case("full")["producers"]:
            spec = one_of(case("full"), "Deployment", f"producer-{name}")["spec"]
            (container,) = spec["template"]["spec"]["containers"]

            assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
            assert container["args"] == ["watch"]
            assert container["image"].startswith(case("full")["producerImage"]["repository"])

    def test_its_spool_outlives_the_release(self) -> None:
        claim = one_of(case("full"), "PersistentVolumeClaim", "producer-phenix1")

        assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        assert claim["spec"] == {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "5Gi"}},
        }

    def test_a_claim_that_is_there_is_used(self) -> None:
        volumes = {one["name"]: one for one in pod_of(case("full"), "producer-confocal")["volumes"]}

        assert of_kind(case("full"), "PersistentVolumeClaim", "producer-confocal") == []
        assert volumes["spool"]["persistentVolumeClaim"] == {"claimName": "confocal-spool"}

    def test_it_reads_the_shares_as_the_groups_that_may(self) -> None:
        pod = pod_of(case("full"), "producer-phenix1")
        shares = [one for one in pod["containers"][0]["volumeMounts"] if one["name"].startswith("share-")]

        assert len(shares) == 3
        assert all(one["readOnly"] for one in shares)
        assert 30003 in pod["securityContext"]["supplementalGroups"]

    def test_it_gets_the_password_of_its_lane_only(self) -> None:
        (volume,) = (one for one in pod_of(case("full"), "producer-phenix1")["volumes"] if one["name"] == "secrets")
        named = {source["secret"]["name"] for source in volume["projected"]["sources"]}
        assert named == {"fleet-broker-phenix1", "fleet-ca"}


class TestMonitoring:
    """PodMonitor, rules, dashboards."""

    def test_the_monitor_finds_every_pod_that_serves_metrics_and_no_hook(self) -> None:
        selector = one_of(case("full"), "PodMonitor", "metrics")["spec"]["selector"]
        (expression,) = selector["matchExpressions"]
        serving = [one["spec"]["template"] for one in of_kind(case("full"), "Deployment")]
        hooks = [one_of(case("full"), "Job", "topology")["spec"]["template"], *of_kind(case("full"), "Pod")]

        for one in serving:
            assert one["spec"]["containers"][0]["ports"][0]["name"] == "metrics"
            assert selector["matchLabels"].items() <= one["metadata"]["labels"].items()
        assert expression["operator"] == "NotIn"
        hidden = set(expression["values"])
        assert not {component_of(one) for one in serving} & hidden
        assert {component_of(one) for one in hooks} == hidden

    def test_labels_that_the_operator_selects_by_are_added(self, monitored: list[Values]) -> None:
        found = [one for one in monitored if one["kind"] in {"PodMonitor", "PrometheusRule"}]

        assert {one["kind"] for one in found} == {"PodMonitor", "PrometheusRule"}
        assert all(one["metadata"]["labels"]["release"] == "kube-prometheus-stack" for one in found)

    def test_every_file_of_rules_is_installed(self, monitored: list[Values]) -> None:
        """Given one more file, braces in it included, it is a PrometheusRule, too."""
        made = [one["spec"] for one in monitored if one["kind"] == "PrometheusRule"]
        assert len(made) == 2
        assert RULES in made

    def test_dashboards_are_the_very_files(self, chart: Path, monitored: list[Values]) -> None:
        made = [one for one in monitored if component_of(one) == "dashboard"]
        texts = {name.removeprefix("fleet-"): json.loads(text) for one in made for name, text in one["data"].items()}
        files = (chart / "files/dashboards").glob("*.json")

        assert texts == {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}
        assert texts["zz-test.json"] == DASHBOARD
        for one in made:
            assert one["metadata"]["labels"]["grafana_dashboard"] == "true"
            assert one["metadata"]["annotations"] == {"grafana_folder": "OMERO"}

    def test_the_exporter_runs_once(self) -> None:
        spec = one_of(case("full"), "Deployment", "exporter")["spec"]
        assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
        assert container_of(case("full"), "exporter")["args"] == ["exporter"]

    def test_the_exporter_can_leave_omero_alone(self) -> None:
        """Given no look into OMERO, the exporter is told so and has no password of it."""
        values = merged(case("minimal"), {"exporter": {"omero": False}})
        (volume,) = (one for one in pod_of(values, "exporter")["volumes"] if one["name"] == "secrets")

        assert container_of(values, "exporter")["args"] == ["exporter", "--no-omero"]
        assert [one["secret"]["name"] for one in volume["projected"]["sources"]] == ["fleet-broker-exporter"]

    def test_nothing_for_prometheus_or_grafana_is_made_unasked(self) -> None:
        kinds = {one["kind"] for one in objects(case("minimal"))}
        assert not {"PodMonitor", "PrometheusRule", "ScaledObject"} & kinds
        assert of_kind(case("minimal"), "ConfigMap", "dashboard") == []


def exposed(rabbitmq_up: float | None) -> str:
    """What Prometheus is shown of sources; RabbitMQ is left out where it is None."""
    registry = CollectorRegistry()
    up = Gauge("omero_import_source_up", "Whether a source can be read.", ["source"], registry=registry)
    up.labels("omero").set(1)
    if rabbitmq_up is not None:
        up.labels("rabbitmq").set(rabbitmq_up)
    return generate_latest(registry).decode()


class TestNetwork:
    """NetworkPolicy."""

    def rules(self, name: str, direction: str) -> list[Values]:
        found: list[Values] = one_of(case(name), "NetworkPolicy", "network")["spec"][direction]
        return found

    def test_it_holds_for_every_pod_of_the_release(self) -> None:
        spec = one_of(case("full"), "NetworkPolicy", "network")["spec"]
        deployment = one_of(case("full"), "Deployment", "worker")

        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert spec["podSelector"]["matchLabels"].items() <= labels.items()

    @pytest.mark.parametrize(("name", "ports"), [("full", [5671, 15671]), ("scaled", [5671, 15672])])
    def test_the_broker_is_reached_on_its_ports(self, name: str, ports: list[int]) -> None:
        rule = next(one for one in self.rules(name, "egress") if {"port": ports[0]} in one["ports"])
        assert [one["port"] for one in rule["ports"]] == ports

    @pytest.mark.parametrize(
        ("url", "port"),
        [("https://rabbitmq", 443), ("http://rabbitmq/api", 80), ("https://rabbitmq.example.org:15671/x", 15671)],
    )
    def test_the_management_port_is_that_of_its_address(self, url: str, port: int) -> None:
        values = merged(case("scaled"), {"broker": {"managementUrl": url}})
        egress = one_of(values, "NetworkPolicy", "network")["spec"]["egress"]
        assert any({"port": port} in rule["ports"] for rule in egress)

    @pytest.mark.parametrize(("tls", "ports"), [(True, [14064]), (False, [14064, 4063])])
    def test_omeros_plain_port_is_reached_only_where_files_go_over_it(self, tls: bool, ports: list[int]) -> None:  # noqa: FBT001  a table
        values = merged(case("full"), {"omero": {"tls": tls}})
        egress = one_of(values, "NetworkPolicy", "network")["spec"]["egress"]
        (rule,) = (one for one in egress if {"port": 14064} in one["ports"])
        assert [one["port"] for one in rule["ports"]] == ports

    def test_where_broker_and_omero_are_can_be_said(self) -> None:
        to = {port["port"]: rule.get("to") for rule in self.rules("full", "egress") for port in rule["ports"]}

        assert to[5671] == case("full")["networkPolicy"]["brokerTo"]
        assert to[14064] == case("full")["networkPolicy"]["omeroTo"]
        assert to[53] is None
        assert to[8125] is None

    @pytest.mark.parametrize(
        ("change", "ports"),
        [
            pytest.param({}, [587, 443], id="mail and webhook"),
            pytest.param({"settings": {"smtp_port": 25}}, [25, 443], id="a mail server with a port of its own"),
            pytest.param({"webhookUrlKey": "", "webhookTokenKey": ""}, [587], id="mail alone"),
            pytest.param({"settings": {"smtp_host": ""}}, [443], id="a webhook alone"),
        ],
    )
    def test_people_are_reached_on_the_ports_of_their_ways(self, change: Values, ports: list[int]) -> None:
        """In the pod that tells them, and in no other."""
        values = merged(case("full"), {"notify": change})
        (policy,) = of_kind(values, "NetworkPolicy", "notify")

        assert policy["spec"]["egress"] == [{"ports": [{"port": port} for port in ports]}]
        labels = one_of(values, "Deployment", "notify")["spec"]["template"]["metadata"]["labels"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "notify"

    @pytest.mark.parametrize("change", [{"notify": {"enabled": False}}, {"networkPolicy": {"enabled": False}}])
    def test_nobody_is_reached_where_nobody_is_told(self, change: Values) -> None:
        assert of_kind(merged(case("full"), change), "NetworkPolicy", "notify") == []

    def test_only_metrics_come_in_and_only_from_where_it_says(self) -> None:
        (rule,) = self.rules("full", "ingress")

        assert rule["ports"] == [{"port": settings_of(case("full"))["metrics"]["port"]}]
        assert case("full")["networkPolicy"]["metricsFrom"][0] in rule["from"]

    def test_what_helm_test_runs_may_read_metrics(self) -> None:
        (rule,) = self.rules("full", "ingress")
        own = {"podSelector": one_of(case("full"), "NetworkPolicy", "network")["spec"]["podSelector"]}

        assert own in rule["from"]
        assert any(one.get("to") == [own] for one in self.rules("full", "egress"))


def test_files_for_compose_and_tests_are_not_in_the_package() -> None:
    ignored = Path(CHART / ".helmignore").read_text(encoding="utf-8").split()
    assert {"files/compose/", "ci/"} <= set(ignored)

"""The Helm chart, rendered without a cluster: valid objects, restricted pods, no secrets, settings the fleet reads."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml
from pydantic import BaseModel

from fleet_common.settings import LaneRule, Settings, load

CHART = Path(__file__).resolve().parents[2] / "charts/omero-import-fleet"
CASES = sorted(path.stem.removesuffix("-values") for path in (CHART / "ci").glob("*-values.yaml"))
OLDEST, NEWEST = "1.28.0", "1.37.0"
# Pod Security Standards, "restricted", volume types (Kubernetes documentation).
ALLOWED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}
# What the chart leaves at the default: a host's own name, what belongs to producers, and what never stands in a file.
NOT_IN_THE_FILE = {"broker.password", "omero.password", "worker.name", "producer"}

Values = dict[str, Any]


def case(name: str) -> Values:
    values: Values = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8"))
    return values


def rendered(values: Values) -> dict[str, str]:
    with helm_python.Chart.load(CHART) as chart:
        return chart.render(values, name="fleet", namespace="imaging")


def objects(values: Values) -> list[Values]:
    texts = (text for path, text in rendered(values).items() if path.endswith(".yaml"))
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def of_kind(values: Values, kind: str, component: str = "") -> list[Values]:
    found = [one for one in objects(values) if one["kind"] == kind]
    return [one for one in found if component in one["metadata"]["labels"].get("app.kubernetes.io/component", "")]


def pods(values: Values) -> Iterator[tuple[str, Values]]:
    """Every pod specification, those of hooks and tests included."""
    for one in objects(values):
        if one["kind"] == "Pod":
            yield one["kind"], one["spec"]
        elif "template" in one.get("spec", {}):
            yield one["kind"], one["spec"]["template"]["spec"]


def merged(base: Values, change: Mapping[str, Any]) -> Values:
    result = dict(base)
    for key, value in change.items():
        result[key] = merged(base.get(key, {}), value) if isinstance(value, dict) else value
    return result


@pytest.fixture(params=CASES)
def values(request: pytest.FixtureRequest) -> Values:
    """The values of each case in ci/."""
    return case(request.param)


def test_there_are_cases_to_render() -> None:
    assert {"minimal", "full", "trial"} <= set(CASES)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_valid_for_the_oldest_and_the_newest_kubernetes(values: Values, version: str) -> None:
    for one in objects(values):
        if one["kind"] != "PodMonitor":
            kubernetes_validate.validate(one, version, strict=True)


def test_lint_finds_no_error_and_no_warning(values: Values) -> None:
    report = helm_python.lint(CHART, values, strict=True)

    assert report["errors"] == []
    assert [one for one in report["messages"] if one["severity"] > 1] == []


def test_every_object_carries_the_recommended_labels(values: Values) -> None:
    wanted = {"name", "instance", "version", "part-of", "managed-by"}
    for one in objects(values):
        assert {f"app.kubernetes.io/{name}" for name in wanted} <= one["metadata"]["labels"].keys(), one["metadata"]


def test_selectors_hold_only_what_never_changes() -> None:
    """Given an upgrade of the chart, selectors are immutable: they name name, instance and component."""
    (deployment,) = of_kind(case("full"), "Deployment")
    wanted = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}

    assert deployment["spec"]["selector"]["matchLabels"].keys() == wanted
    (monitor,) = of_kind(case("full"), "PodMonitor")
    (budget,) = of_kind(case("full"), "PodDisruptionBudget")
    for one in (monitor, budget):
        assert one["spec"]["selector"] == deployment["spec"]["selector"]


def test_names_fit_kubernetes_however_long_the_release_is() -> None:
    long = merged(case("minimal"), {"fullnameOverride": "x" * 63})
    assert all(len(one["metadata"]["name"]) <= 63 for one in objects(long))


def test_every_pod_is_restricted(values: Values) -> None:
    """Every pod, hooks and tests included, passes the Pod Security Standard "restricted"."""
    for kind, pod in pods(values):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, kind
        assert security["runAsUser"] > 0, kind
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, kind
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys(), kind
        assert {key for volume in pod["volumes"] for key in volume} - {"name"} <= ALLOWED_VOLUMES, kind
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, kind


def test_no_pod_gets_a_token_of_the_cluster(values: Values) -> None:
    assert all(pod["automountServiceAccountToken"] is False for _, pod in pods(values))
    assert all(one["automountServiceAccountToken"] is False for one in of_kind(values, "ServiceAccount"))


def test_every_container_says_what_it_needs(values: Values) -> None:
    for _, pod in pods(values):
        for container in pod["containers"]:
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_every_mount_has_its_volume_and_every_volume_a_mount(values: Values) -> None:
    for kind, pod in pods(values):
        volumes = [volume["name"] for volume in pod["volumes"]]
        mounts = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert sorted(volumes) == sorted(mounts), kind


def test_a_stopping_worker_is_given_longer_than_its_grace_time(values: Values) -> None:
    (deployment,) = of_kind(values, "Deployment")
    granted = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    assert granted >= settings_of(values)["worker"]["grace_seconds"] + 60


def test_probes_ask_the_health_pages_on_the_metrics_port(values: Values) -> None:
    (deployment,) = of_kind(values, "Deployment")
    (worker,) = deployment["spec"]["template"]["spec"]["containers"]
    pages = {probe: worker[f"{probe}Probe"]["httpGet"] for probe in ("liveness", "readiness", "startup")}

    assert pages["liveness"] == pages["startup"] == {"path": "/healthz", "port": "metrics"}
    assert pages["readiness"] == {"path": "/readyz", "port": "metrics"}
    assert worker["ports"] == [{"name": "metrics", "containerPort": settings_of(values)["metrics"]["port"]}]


def test_shares_are_mounted_read_only_where_the_settings_say() -> None:
    values = case("full")
    (deployment,) = of_kind(values, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    claims = {one["name"]: one["persistentVolumeClaim"] for one in pod["volumes"] if "persistentVolumeClaim" in one}
    mounts = {one["mountPath"]: one for one in pod["containers"][0]["volumeMounts"]}

    for folder in settings_of(values)["shares"].values():
        assert mounts[folder]["readOnly"] is True
        assert claims[mounts[folder]["name"]]["readOnly"] is True
    assert mounts["/shares/hcs"]["subPath"] == "instruments"


def test_a_changed_setting_restarts_the_pods_and_an_unchanged_one_does_not() -> None:
    def checksum(change: Values) -> str:
        (deployment,) = of_kind(merged(case("minimal"), change), "Deployment")
        text: str = deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return text

    assert checksum({}) == checksum({"worker": {"replicaCount": 7}})
    assert checksum({}) != checksum({"worker": {"parallelUpload": 7}})


def test_topology_is_declared_before_anything_else_of_the_release() -> None:
    """Given an install, the Job and its settings are hooks: the settings come first, and it needs nothing else."""
    values = case("minimal")
    (job,) = of_kind(values, "Job")
    (settings,) = of_kind(values, "ConfigMap", "topology")
    weights = [int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in (settings, job)]
    pod = job["spec"]["template"]["spec"]

    assert all(one["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade" for one in (settings, job))
    assert weights == sorted(set(weights))
    assert "serviceAccountName" not in pod
    assert pod["containers"][0]["args"] == ["topology", "apply"]
    assert {one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one} == {settings["metadata"]["name"]}


def secrets_of(values: Values, kind: str) -> set[str]:
    (volumes,) = (pod["volumes"] for found, pod in pods(values) if found == kind)
    (sources,) = (volume["projected"]["sources"] for volume in volumes if "projected" in volume)
    return {source["secret"]["name"] for source in sources}


def test_only_the_topology_hook_gets_the_password_of_the_topology_account() -> None:
    values = case("minimal")

    assert secrets_of(values, "Job") == secrets_of(values, "Pod") == {"fleet-broker-topology"}
    assert secrets_of(values, "Deployment") == {"fleet-broker-worker", "fleet-omero"}


def test_without_topology_there_is_neither_hook_nor_test() -> None:
    assert {one["kind"] for one in objects(case("trial"))} == {"ConfigMap", "Deployment"}


def settings_of(values: Values, component: str = "worker") -> Values:
    (config,) = of_kind(values, "ConfigMap", component)
    return tomllib.loads(config["data"]["fleet.toml"])


def loaded(values: Values, folder: Path, component: str = "worker") -> Settings:
    (config,) = of_kind(values, "ConfigMap", component)
    file = folder / "fleet.toml"
    file.write_text(config["data"]["fleet.toml"], encoding="utf-8")
    return load(file)


def test_the_fleet_accepts_the_settings(values: Values, tmp_path: Path) -> None:
    settings = loaded(values, tmp_path)

    assert settings.worker.lanes.keys() == values["lanes"].keys()
    assert settings.shares == {name: Path("/shares") / name for name in values.get("shares", {})}
    assert settings.metrics.host == "0.0.0.0"  # noqa: S104  a container's port must be reachable for probes


def test_values_arrive_as_they_were_given(tmp_path: Path) -> None:
    """Given quotes, backslashes, umlauts and large numbers in values, the settings hold the very same."""
    values = case("full")
    settings = loaded(values, tmp_path)

    assert settings.broker.vhost == values["broker"]["vhost"]
    assert settings.broker.management_url == values["broker"]["managementUrl"]
    assert settings.omero.port == 14064
    assert settings.omero.import_slots == 7
    assert settings.worker.import_deadline_seconds == 86400
    assert settings.worker.fleet_users == ("worker", "operator", "night-shift")
    assert settings.worker.lanes["phenix1"] == LaneRule(
        shares={"hcs": ("phenix1/", "shared/é/"), "hcs_old": ("",)},
        users=("alice", "b?b"),
        groups=("screening",),
        targets=("Screen:*",),
    )


def test_a_lane_without_an_allow_list_allows_nothing_but_any_target(tmp_path: Path) -> None:
    assert loaded(case("trial"), tmp_path).worker.lanes["demo"] == LaneRule()


def test_topology_speaks_as_its_own_account(tmp_path: Path) -> None:
    values = case("full")
    worker, topology = loaded(values, tmp_path), loaded(values, tmp_path, "topology")

    assert (worker.broker.user, topology.broker.user) == ("worker", "topology")
    assert worker.worker.lanes == topology.worker.lanes


def fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def test_every_setting_of_a_worker_can_be_set_by_a_value() -> None:
    """Given a new setting, the chart must render it, or the test must say why not."""
    rendered_settings = settings_of(case("full"))
    known = {name for name in fields(Settings) if not {name, name.partition(".")[0]} & NOT_IN_THE_FILE}

    missing = {name for name in known if name.rpartition(".")[2] not in _group(rendered_settings, name)}
    assert missing == set()


def _group(settings: Values, name: str) -> Values:
    group = name.rpartition(".")[0]
    return settings.get(group, {}) if group else settings


def test_settings_name_files_that_are_mounted(values: Values, tmp_path: Path) -> None:
    """Every password and certificate that the settings name lies in the volume of secrets."""
    (deployment,) = of_kind(values, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (mount,) = (one["mountPath"] for one in pod["containers"][0]["volumeMounts"] if one["name"] == "secrets")
    (volume,) = (one["projected"] for one in pod["volumes"] if one["name"] == "secrets")
    mounted = {Path(mount) / item["path"] for source in volume["sources"] for item in source["secret"]["items"]}
    settings = loaded(values, tmp_path)

    named = {
        settings.broker.password_file,
        settings.broker.ca_file,
        settings.omero.password_file,
        settings.omero.ca_file,
    }
    assert named - {None} == mounted


def test_the_chart_makes_no_secret_and_shows_none(values: Values) -> None:
    """Passwords are files of existing Secrets: none is made, none in a ConfigMap, an argument or a variable."""
    assert of_kind(values, "Secret") == []
    for one in of_kind(values, "ConfigMap"):
        assert not re.search(r"(?im)^\s*password\s*=", one["data"]["fleet.toml"])
    for _, pod in pods(values):
        for container in pod["containers"]:
            assert all("valueFrom" not in one or "fieldRef" in one["valueFrom"] for one in container["env"])
            assert not any("password" in json.dumps(part).lower() for part in (container["args"], container["env"]))


@pytest.mark.parametrize("group", ["broker", "omero"])
def test_a_password_given_as_a_value_is_refused(group: str) -> None:
    with pytest.raises(helm_python.HelmError, match="password"):
        rendered(merged(case("minimal"), {group: {"password": "hunter2"}}))


def test_an_address_with_a_password_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match="managementUrl"):
        rendered(merged(case("minimal"), {"broker": {"managementUrl": "https://u:p@rabbitmq:15671"}}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"broker": {"existingSecret": ""}}, "broker.existingSecret"),
        ({"omero": {"existingSecret": ""}}, "omero.existingSecret"),
        ({"topology": {"existingSecret": ""}}, "topology.existingSecret"),
    ],
)
def test_what_must_be_said_is_asked_for_by_name(change: Values, named: str) -> None:
    with pytest.raises(helm_python.HelmRenderError, match=re.escape(named)):
        rendered(merged(case("minimal"), change))


def test_at_least_one_lane_is_asked_for() -> None:
    values = case("minimal")
    del values["lanes"]
    with pytest.raises(helm_python.HelmRenderError, match="lanes: name at least one lane"):
        rendered(values)


@pytest.mark.parametrize(
    "change",
    [
        {"wroker": {}},
        {"worker": {"replicas": 3}},
        {"worker": {"replicaCount": "3"}},
        {"worker": {"parallelUpload": 33}},
        {"broker": {"port": 70000}},
        {"lanes": {"Upper Case": {}}},
        {"lanes": {"hcs": {"owners": ["a"]}}},
        {"shares": {"hcs": {"hostPath": "/data"}}},
        {"security": {"userId": 0}},
        {"log": {"level": "loud"}},
    ],
)
def test_unknown_and_wrong_values_are_refused(change: Values) -> None:
    with pytest.raises(helm_python.HelmValuesError):
        rendered(merged(case("minimal"), change))


def test_the_defaults_fit_their_own_schema() -> None:
    with helm_python.Chart.load(CHART) as chart:
        jsonschema.validate(chart.values, chart.schema or {})


def leaves(schema: Values, path: str = "") -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        if part.get("properties"):
            yield from leaves(part, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def test_every_value_is_in_the_schema_with_a_default_and_a_comment() -> None:
    """Given values.yaml, each value of the schema has a default there and a comment that begins with its name."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    defaults = yaml.safe_load(text)
    comments = " ".join(line.strip() for line in text.splitlines() if line.strip().startswith("#"))

    for path in set(leaves(schema)) - {"global"}:
        at = defaults
        for part in path.split("."):
            assert part in at, path
            at = at[part]
        assert re.search(rf"{re.escape(path)}\b", comments), path


def test_notes_warn_of_what_is_not_safe() -> None:
    def notes(name: str) -> str:
        return next(text for path, text in rendered(case(name)).items() if path.endswith("NOTES.txt"))

    assert "WARNING" not in notes("full")
    for word in ("shares", "omero.verifyTls", "broker.tls"):
        assert re.search(rf"WARNING: .*{re.escape(word)}", notes("trial"))


def test_the_image_is_the_one_of_the_released_version() -> None:
    """The chart's appVersion is the version of the distribution."""
    project = tomllib.loads((CHART.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (deployment,) = of_kind(case("minimal"), "Deployment")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]

    assert image == f"omero-import-fleet-worker:{project['version']}"

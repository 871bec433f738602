"""The settings that the chart renders: the fleet reads them, and values arrive as they were given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from pydantic import BaseModel

from fleet_common.settings import LaneRule, Settings
from support.chart import (
    CASES,
    Values,
    case,
    component_of,
    container_of,
    loaded,
    merged,
    of_kind,
    one_of,
    pod_of,
    settings_of,
)

# What the chart leaves at the default: a host's own name, what belongs to producers, what never stands in a file, and
# imports in place where a class does none.
NOT_IN_THE_FILE = {"broker.password", "omero.password", "worker.name", "producer", "watch", "notify", "in_place"}


@pytest.fixture(params=CASES)
def values(request: pytest.FixtureRequest) -> Values:
    """The values of each case in ci/."""
    return case(request.param)


def components(values: Values) -> list[str]:
    """All parts that have settings."""
    return [component_of(one) for one in of_kind(values, "ConfigMap") if "fleet.toml" in one["data"]]


def test_the_fleet_accepts_all_settings(values: Values, tmp_path: Path) -> None:
    for component in components(values):
        settings = loaded(values, tmp_path, component)

        assert settings.worker.lanes or component.startswith(("producer", "notify"))
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


def test_each_part_speaks_as_its_own_account(tmp_path: Path) -> None:
    values = case("full")
    users = {component: loaded(values, tmp_path, component).broker.user for component in components(values)}

    assert users == {
        "worker": "worker",
        "worker-inplace": "worker",
        "topology": "topology",
        "exporter": "exporter",
        "notify": "news",
        "producer-phenix1": "phenix1",
        "producer-confocal": "confocal",
    }


def test_a_class_of_workers_serves_its_own_lanes_and_has_the_rest_from_worker(tmp_path: Path) -> None:
    values = case("full")
    worker, inplace = (loaded(values, tmp_path, component).worker for component in ("worker", "worker-inplace"))

    assert inplace.lanes.keys() == {"archive"}
    assert worker.lanes.keys() == {"phenix1", "confocal"}
    assert (worker.grace_seconds, inplace.grace_seconds) == (43200, 3600)
    assert inplace.retry_jitter == worker.retry_jitter == 0.5


def test_only_a_class_that_says_so_imports_in_place(tmp_path: Path) -> None:
    """And where the volume is mounted is where the worker makes links."""
    worker, inplace = (loaded(case("full"), tmp_path, one).in_place for one in ("worker", "worker-inplace"))
    mounts = container_of(case("full"), "worker-inplace")["volumeMounts"]

    assert worker.shares == {}
    assert inplace.shares == {"hcs_old": PurePosixPath("/data/hcs_old")}
    assert str(inplace.repository) in {mount["mountPath"] for mount in mounts if not mount.get("readOnly")}


def test_topology_and_exporter_know_the_lanes_of_all_classes(tmp_path: Path) -> None:
    for component in ("topology", "exporter"):
        lanes = loaded(case("full"), tmp_path, component).worker.lanes
        assert lanes.keys() == {"phenix1", "confocal", "archive"}


def test_a_producer_watches_what_its_values_say(tmp_path: Path) -> None:
    """Given folders, rules and people as values, the settings of the watcher hold the very same."""
    values = case("full")
    settings = loaded(values, tmp_path, "producer-phenix1")
    said = values["producers"]["phenix1"]
    told = settings.watch.model_dump(mode="json", exclude_unset=True)

    assert {name: told[name] for name in said["watch"]} == said["watch"]
    assert (settings.producer.lane, settings.producer.instrument) == ("phenix1", "Opera Phenix 1")
    assert settings.producer.host == "fleet-producer-phenix1"
    assert settings.producer.spool_quota_bytes == 500_000_000


def test_what_a_producer_remembers_lies_in_its_volume(tmp_path: Path) -> None:
    (mount,) = (one for one in container_of(case("full"), "producer-phenix1")["volumeMounts"] if one["name"] == "spool")
    settings = loaded(case("full"), tmp_path, "producer-phenix1")

    for folder in (settings.producer.spool, settings.watch.state):
        assert folder is not None
        assert folder.is_relative_to(mount["mountPath"])
    assert settings.producer.spool != settings.watch.state


def fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def test_workers_scan_only_where_a_jar_is_named(tmp_path: Path) -> None:
    """Given the image of workers, which has none, they do not by default."""
    assert loaded(case("minimal"), tmp_path).scan.jar is None
    scan = loaded(case("full"), tmp_path).scan
    assert (str(scan.jar), scan.memory_mb, scan.answer_seconds) == ("/opt/bioformats_package.jar", 1024, 600)
    assert scan.network == "none"


def test_a_class_may_scan_alone(tmp_path: Path) -> None:
    """Given a jar in its own values, then other classes have none."""
    values = merged(case("classes"), {"workerClasses": {"fast": {"scan": {"jar": "/jars/bioformats.jar"}}}})
    assert str(loaded(values, tmp_path, "worker-fast").scan.jar) == "/jars/bioformats.jar"
    assert loaded(values, tmp_path, "worker-inplace").scan.jar is None


def test_a_test_of_workers_has_room_for_the_reader_that_it_starts() -> None:
    """Given that doctor starts Java, then its pod may use what a worker may."""
    (pod,) = (one["spec"] for one in of_kind(case("full"), "Pod") if one["metadata"]["name"] == "fleet-test-worker")
    assert pod["containers"][0]["resources"] == container_of(case("full"), "worker")["resources"]


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
    for one in of_kind(values, "Deployment"):
        pod = one["spec"]["template"]["spec"]
        (mount,) = (part["mountPath"] for part in pod["containers"][0]["volumeMounts"] if part["name"] == "secrets")
        (volume,) = (part["projected"] for part in pod["volumes"] if part["name"] == "secrets")
        mounted = {Path(mount) / item["path"] for source in volume["sources"] for item in source["secret"]["items"]}
        settings = loaded(values, tmp_path, component_of(one))

        broker, omero, notify = settings.broker, settings.omero, settings.notify
        files = {broker.password_file, broker.ca_file, omero.password_file, omero.ca_file}
        files |= {notify.smtp_password_file, notify.webhook_url_file, notify.webhook_token_file}
        assert files - {None} == mounted


def test_topology_names_no_file_of_omero(values: Values, tmp_path: Path) -> None:
    if "topology" in components(values):
        omero = loaded(values, tmp_path, "topology").omero
        assert (omero.password_file, omero.ca_file) == (None, None)


def test_shares_are_mounted_read_only_where_the_settings_say() -> None:
    values = case("full")
    pod = pod_of(values, "worker")
    claims = {one["name"]: one["persistentVolumeClaim"] for one in pod["volumes"] if "persistentVolumeClaim" in one}
    mounts = {one["mountPath"]: one for one in pod["containers"][0]["volumeMounts"]}

    for folder in settings_of(values)["shares"].values():
        assert mounts[folder]["readOnly"] is True
        assert claims[mounts[folder]["name"]]["readOnly"] is True
    assert mounts["/shares/hcs"]["subPath"] == "instruments"


@pytest.mark.parametrize("component", ["worker", "exporter"])
def test_a_changed_setting_restarts_the_pods_and_an_unchanged_one_does_not(component: str) -> None:
    def checksum(change: Values) -> str:
        deployment = one_of(merged(case("minimal"), change), "Deployment", component)
        text: str = deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return text

    assert checksum({}) == checksum({"worker": {"replicaCount": 7}})
    assert checksum({}) != checksum({"worker": {"parallelUpload": 7}})
    assert checksum({}) != checksum({"omero": {"importSlots": 3}})

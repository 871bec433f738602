"""Prometheus and Grafana of docker-compose.yml: what they scrape, and the same rules and dashboards as the chart's."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_common.settings import load
from fleet_stack.console import StackError
from fleet_stack.prometheus import promtool

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "charts/omero-import-fleet/files"
COMPOSE = FILES / "compose"
RUN_SECONDS = 60


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPOSE / name).read_text(encoding="utf-8"))
    return found


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return found["services"]


def mounted(service: str) -> dict[str, Path]:
    """Folders and files of the project by where a service sees them."""
    mounts = (one.split(":") for one in services()[service]["volumes"] if one.startswith("./"))
    return {target: ROOT / source for source, target, _ in mounts}


class TestPrometheus:
    """What Prometheus reads."""

    def test_promtool_accepts_the_configuration(self, tmp_path: Path) -> None:
        """Given the real promtool, the configuration and every rule that it names are correct."""
        try:
            tool = promtool()
        except StackError as error:
            pytest.skip(str(error))
        text = (COMPOSE / "prometheus.yml").read_text(encoding="utf-8")
        own = text.replace("/etc/prometheus/rules", str(FILES / "rules"))
        assert own != text
        (tmp_path / "prometheus.yml").write_text(own, encoding="utf-8")

        checked = subprocess.run(
            [tool, "check", "config", tmp_path / "prometheus.yml"],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

        assert checked.returncode == 0, checked.stderr

    def test_its_rules_are_those_of_the_chart(self) -> None:
        (pattern,) = read("prometheus.yml")["rule_files"]
        assert mounted("prometheus")[str(Path(pattern).parent)] == FILES / "rules"
        assert Path(pattern).name == "*.yaml"

    def test_its_own_file_is_mounted_where_it_looks(self) -> None:
        (flag,) = (one for one in services()["prometheus"]["command"] if one.startswith("--config.file="))
        assert mounted("prometheus")[flag.partition("=")[2]] == COMPOSE / "prometheus.yml"

    def test_every_part_of_the_fleet_that_serves_metrics_is_scraped_on_its_port(self) -> None:
        port = load(COMPOSE / "fleet.toml").metrics.port
        found = [one for job in read("prometheus.yml")["scrape_configs"] for one in job.get("dns_sd_configs", [])]
        scraped = {name: one["port"] for one in found for name in one["names"]}

        ours = dict.fromkeys(("worker", "exporter", "producer", "notify"), port)
        assert {**ours, "rabbitmq": 15692} == scraped

    def test_jobs_are_named_after_services_and_series_say_where_they_are_from(self) -> None:
        for job in read("prometheus.yml")["scrape_configs"]:
            if "dns_sd_configs" in job:
                assert job["dns_sd_configs"][0]["names"] == [job["job_name"]]
                assert job["relabel_configs"] == [{"target_label": "namespace", "replacement": "compose"}]


class TestGrafana:
    """What Grafana is given."""

    def test_its_data_come_from_the_prometheus_beside_it(self) -> None:
        (source,) = read("grafana/datasources.yaml")["datasources"]
        assert source["url"] == "http://prometheus:9090"
        assert "prometheus" in services()["grafana"]["depends_on"]

    def test_its_dashboards_are_those_of_the_chart(self) -> None:
        (provider,) = read("grafana/dashboards.yaml")["providers"]
        assert mounted("grafana")[provider["options"]["path"]] == FILES / "dashboards"

    def test_what_it_finds_is_provided_and_not_changed_by_hand(self) -> None:
        """Given a dashboard changed in the browser, the next start would lose it: Grafana does not let it be saved."""
        (provider,) = read("grafana/dashboards.yaml")["providers"]
        assert (provider["disableDeletion"], provider["allowUiUpdates"]) == (True, False)

    @pytest.mark.parametrize("kind", ["datasources", "dashboards"])
    def test_files_are_mounted_where_grafana_looks(self, kind: str) -> None:
        assert mounted("grafana")[f"/etc/grafana/provisioning/{kind}/fleet.yaml"] == COMPOSE / f"grafana/{kind}.yaml"

    def test_its_administrators_password_is_a_file(self) -> None:
        one = services()["grafana"]
        file = Path(one["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"])
        assert file.name in one["secrets"]

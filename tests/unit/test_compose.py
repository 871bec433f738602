"""docker-compose.yml and tools/make_secrets.py, as far as they can be judged without an engine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_common.broker import Names
from fleet_common.broker.topology import describe
from fleet_common.settings import load
from fleet_stack.rabbitmq.permissions import users

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "charts/omero-import-fleet/files/compose"
COMPOSE = Path(sys.executable).parent / "docker-compose"
# What people use; everything else listens on this machine only, whatever FLEET_LISTEN says.
FOR_PEOPLE = {"3000", "4064", "4080"}
VARIABLES = {"FLEET_SECRETS": "/s", "FLEET_CONFIG": "/fleet.toml", "FLEET_SHARE": "/data"}
SECONDS = {"s": 1, "m": 60, "h": 3600}
RUN_SECONDS = 60

Service = dict[str, Any]


def compose(*arguments: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """Docker's own Compose, which comes with the environment; it needs no engine to read the file."""
    environment = {"PATH": os.environ["PATH"], **VARIABLES}
    environment.pop(without, None)
    command = [str(COMPOSE), "--file", str(ROOT / "docker-compose.yml"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)


def document() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return parsed


def services() -> dict[str, Service]:
    found: dict[str, Service] = document()["services"]
    return found


SERVICES = sorted(services())
PROFILES = tuple(sorted({profile for one in services().values() for profile in one.get("profiles", [])}))
OF_THE_FLEET = sorted(name for name, one in services().items() if "build" in one)


def seconds(text: str) -> int:
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)([smh])", text))


class TestCompose:
    """docker-compose.yml."""

    @pytest.mark.parametrize("profiles", [(), *((one,) for one in PROFILES), PROFILES])
    def test_it_is_accepted_without_a_warning(self, profiles: tuple[str, ...]) -> None:
        checked = compose(*(f"--profile={one}" for one in profiles), "config", "--quiet")
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")

    def test_what_starts_without_a_profile_is_the_fleet_and_its_broker(self) -> None:
        started = compose("config", "--services").stdout.split()
        assert sorted(started) == ["exporter", "rabbitmq", "topology", "worker"]

    @pytest.mark.skipif(
        not shutil.which("docker-compose"),
        reason="Compose 1.29 is not here (Debian: docker-compose); the pinned one is asked in any case",
    )
    def test_debians_compose_understands_it_too(self) -> None:
        """Given Compose 1.29, which knows fewer keys, the file is accepted all the same."""
        command = ["docker-compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
        environment = {"PATH": os.environ["PATH"], **VARIABLES}
        checked = subprocess.run(command, env=environment, capture_output=True, timeout=RUN_SECONDS, check=False)
        assert checked.returncode == 0, checked.stderr

    @pytest.mark.parametrize("name", sorted(VARIABLES))
    def test_what_has_no_safe_default_must_be_said(self, name: str) -> None:
        """Given one variable is not set, Compose refuses and names it or says what it should hold."""
        refused = compose("config", "--quiet", without=name)

        assert refused.returncode != 0
        assert "mandatory" in refused.stderr.lower() or "required" in refused.stderr.lower()

    @pytest.mark.parametrize("name", SERVICES)
    def test_images_are_pinned(self, name: str) -> None:
        assert re.search(r":v?\d+\.\d+", services()[name]["image"]), services()[name]["image"]

    def test_workers_that_scan_are_another_stage_of_the_same_file_under_a_name_of_its_own(self) -> None:
        """Given FLEET_WORKER, then a stage of that name is built; by default that of workers."""
        text = (ROOT / "worker/Dockerfile").read_text(encoding="utf-8")
        stages = set(re.findall(r"(?m)^FROM \S+ AS (\w+)$", text))
        build = services()["worker"]["build"]

        assert build["target"] == "${FLEET_WORKER:-worker}"
        assert {"worker", "scan"} <= stages
        assert build["target"] in services()["worker"]["image"]
        assert set(build["args"]) == set(re.findall(r"(?m)^ARG ([A-Z_0-9]+)(?:$|=)", text)) - {"VERSION", "REVISION"}

    @pytest.mark.parametrize("name", OF_THE_FLEET)
    def test_the_base_can_be_pinned_by_its_digest(self, name: str) -> None:
        """Given FLEET_BASE; by default it is that of the Dockerfile."""
        build = services()[name]["build"]
        (base,) = re.findall(r"(?m)^ARG BASE=(\S+)$", (ROOT / build["dockerfile"]).read_text(encoding="utf-8"))
        assert build["args"]["BASE"] == f"${{FLEET_BASE:-{base}}}"

    @pytest.mark.parametrize("name", SERVICES)
    def test_ports_are_open_on_this_machine_only(self, name: str) -> None:
        """Given FLEET_LISTEN, only what people use can be opened to the network."""
        for port in services()[name].get("ports", []):
            address, number, _ = re.fullmatch(r"(\$\{.+\}|[\d.]+):(\d+):(\d+)", port).groups()  # type: ignore[union-attr]
            assert address == ("${FLEET_LISTEN:-127.0.0.1}" if number in FOR_PEOPLE else "127.0.0.1")

    @pytest.mark.parametrize("name", sorted(set(SERVICES) - set(OF_THE_FLEET)))
    def test_engines_have_a_health_check_and_come_back(self, name: str) -> None:
        assert services()[name]["healthcheck"]["test"][0] == "CMD"
        assert services()[name]["restart"] == "unless-stopped"

    @pytest.mark.parametrize("name", OF_THE_FLEET)
    def test_containers_of_the_fleet_can_do_little(self, name: str) -> None:
        one = services()[name]
        assert one["read_only"] is True
        assert one["tmpfs"] == ["/tmp"]  # noqa: S108  a file system of the container's own
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]

    def test_volumes_and_secrets_that_are_used_are_declared_and_the_other_way_round(self) -> None:
        used = {secret for one in services().values() for secret in one.get("secrets", [])}
        volumes = {mount.partition(":")[0] for one in services().values() for mount in one.get("volumes", [])}

        assert used == set(document()["secrets"])
        assert {one for one in volumes if re.fullmatch(r"[a-z-]+", one)} == set(document()["volumes"])

    def test_files_that_are_mounted_from_here_exist(self) -> None:
        mounts = [mount.split(":")[0] for one in services().values() for mount in one.get("volumes", [])]
        here = [mount for mount in mounts if mount.startswith("./")]

        assert here
        # Docker would make a folder of what is missing, in place of a file as well.
        assert all((ROOT / mount).is_file() == bool(Path(mount).suffix) for mount in here)

    def test_no_password_stands_in_the_file_or_in_the_environment_of_a_container(self) -> None:
        """Given `docker inspect` shows every variable, none of them holds a password: they are files."""
        for name, one in services().items():
            for variable in one.get("environment", {}):
                assert not re.search(r"PASS|SECRET", variable) or variable.endswith("_FILE"), f"{name}: {variable}"

    def test_rabbitmq_gets_no_variable_that_its_image_refuses(self) -> None:
        """Given RABBITMQ_DEFAULT_PASS_FILE and its like end the container (docker-library/rabbitmq), none is set."""
        assert "environment" not in services()["rabbitmq"]

    def test_workers_wait_for_the_queues_and_the_queues_for_the_broker(self) -> None:
        assert services()["worker"]["depends_on"] == {"topology": {"condition": "service_completed_successfully"}}
        assert services()["topology"]["depends_on"] == {"rabbitmq": {"condition": "service_healthy"}}

    @pytest.mark.parametrize("name", SERVICES)
    def test_whoever_depends_on_a_service_waits_until_it_is_well(self, name: str) -> None:
        """Given a dependency, it is on health or on success, never on a mere start, and in a profile that is there."""
        for needed, how in services()[name].get("depends_on", {}).items():
            assert how["condition"] in {"service_healthy", "service_completed_successfully"}
            assert set(services()[needed].get("profiles", [])) <= set(services()[name].get("profiles", []))

    def test_a_worker_that_stops_is_not_killed_while_it_finishes(self) -> None:
        granted = seconds(services()["worker"]["stop_grace_period"])
        assert granted >= load(FILES / "fleet.toml").worker.grace_seconds + 300

    def test_only_topology_gets_the_password_of_the_topology_account(self) -> None:
        assert [name for name, one in services().items() if "broker-topology" in one.get("secrets", [])] == ["topology"]

    def test_shares_are_mounted_read_only_where_the_settings_say(self) -> None:
        for folder in load(FILES / "fleet.toml").shares.values():
            for name in ("worker", "submit", "producer"):
                assert any(mount.endswith(f":{folder}:ro") for mount in services()[name]["volumes"]), name

    def test_what_was_submitted_outlives_its_container(self) -> None:
        """Given `run --rm`, the spool is a volume, in the folder that the image gives to its user."""
        folder = services()["submit"]["environment"]["OMERO_FLEET_PRODUCER__SPOOL"]
        image = (ROOT / "producer/Dockerfile").read_text(encoding="utf-8")

        for name in ("submit", "producer"):
            assert f"spool:{folder}" in services()[name]["volumes"]
        assert "watched:/var/lib/omero-fleet" in services()["producer"]["volumes"]
        assert "--owner 1000 --group 1000 /var/lib/omero-fleet " in image
        assert f"OMERO_FLEET_PRODUCER__SPOOL={folder}\n" in image
        assert f"--owner 1000 --group 1000 {folder}\n" in image


class TestSettings:
    """What Compose mounts."""

    def test_the_settings_are_accepted_and_name_mounted_secrets(self) -> None:
        settings = load(FILES / "fleet.toml")
        mounted = {Path("/run/secrets") / name for name in services()["worker"]["secrets"]}

        assert {settings.broker.password_file, settings.omero.password_file} == mounted
        assert settings.omero.verify_tls

    @pytest.mark.parametrize("name", OF_THE_FLEET)
    def test_variables_are_settings_and_name_mounted_secrets(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given the variables of a service, the settings accept them and the password is one of its secrets."""
        one = services()[name]
        for variable, value in one["environment"].items():
            if variable != "OMERO_FLEET_CONFIG":
                monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(\w+)\}", r"\1", value))
        settings = load(FILES / "fleet.toml")

        assert settings.broker.password_file is not None
        assert settings.broker.password_file.name == f"broker-{settings.broker.user}"
        assert settings.broker.password_file.name in one["secrets"]

    def test_the_broker_keeps_a_delivery_for_seven_days_and_loads_its_users(self) -> None:
        conf = (FILES / "rabbitmq.conf").read_text(encoding="utf-8")
        lines = dict(line.split(" = ") for line in conf.splitlines() if " = " in line and not line.startswith("#"))

        assert int(lines["consumer_timeout"]) == 7 * 24 * 3600 * 1000
        assert lines["load_definitions"] == "/run/secrets/broker-definitions"
        assert "broker-definitions" in services()["rabbitmq"]["secrets"]


def make_secrets(folder: Path, *lanes: str) -> subprocess.CompletedProcess[str]:
    flags = [word for lane in lanes for word in ("--lane", lane)]
    command = [sys.executable, "-I", str(ROOT / "tools/make_secrets.py"), str(folder), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)


class TestSecrets:
    """tools/make_secrets.py."""

    def test_it_makes_every_secret_that_compose_mounts(self, tmp_path: Path) -> None:
        made = make_secrets(tmp_path / "secrets", "hcs")

        assert made.returncode == 0, made.stderr
        assert {Path(one["file"]).name for one in document()["secrets"].values()} <= {
            path.name for path in (tmp_path / "secrets").iterdir()
        }

    def test_others_cannot_enter_the_folder_but_containers_can_read_the_files(self, tmp_path: Path) -> None:
        make_secrets(tmp_path / "secrets", "hcs")

        assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
        assert all(path.stat().st_mode & 0o777 == 0o444 for path in (tmp_path / "secrets").iterdir())

    def test_the_broker_can_check_the_passwords_but_not_read_them(self, tmp_path: Path) -> None:
        """Given the definitions, each hash is the salted SHA-256 of the password beside it, which stands nowhere."""
        make_secrets(tmp_path, "hcs")
        text = (tmp_path / "broker-definitions").read_text(encoding="utf-8")

        for one in json.loads(text)["users"]:
            password = (tmp_path / f"broker-{one['name']}").read_text(encoding="utf-8")
            salted = base64.b64decode(one["password_hash"])
            assert salted[4:] == hashlib.sha256(salted[:4] + password.encode()).digest()
            assert password not in text

    def test_permissions_are_those_that_the_tests_use(self, tmp_path: Path) -> None:
        """Given the private stack's users, compose gives the same names, tags, patterns and topic permissions."""
        make_secrets(tmp_path, "hcs", "confocal")
        made = json.loads((tmp_path / "broker-definitions").read_text(encoding="utf-8"))
        known = users(("hcs", "confocal"))

        assert {(one["name"], tuple(one["tags"])) for one in made["users"]} == {(one.name, one.tags) for one in known}
        assert {(one["user"], one["configure"], one["write"], one["read"]) for one in made["permissions"]} == {
            (one.name, one.configure, one.write, one.read) for one in known
        }
        assert {(one["user"], one["exchange"], one["write"], one["read"]) for one in made["topic_permissions"]} == {
            (one.name, topic.exchange, topic.write, topic.read) for one in known for topic in one.topics
        }

    def test_exchanges_with_topic_permissions_are_declared(self, tmp_path: Path) -> None:
        """Given RabbitMQ 4.3 does not start with a topic permission for no exchange, both stand in the definitions."""
        make_secrets(tmp_path, "hcs")
        made = json.loads((tmp_path / "broker-definitions").read_text(encoding="utf-8"))
        described = {one.name: one for one in describe(Names(), ("hcs",)).exchanges}

        assert {one["name"] for one in made["exchanges"]} == {one["exchange"] for one in made["topic_permissions"]}
        for one in made["exchanges"]:
            assert (one["type"], one["arguments"]) == (described[one["name"]].kind, described[one["name"]].arguments)

    def test_a_lane_is_added_without_changing_what_is_there(self, tmp_path: Path) -> None:
        make_secrets(tmp_path, "hcs")
        before = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("[!.]*")}
        make_secrets(tmp_path, "confocal")
        after = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("[!.]*")}

        assert after.keys() - before.keys() == {"broker-confocal"}
        assert {name for name in before if before[name] != after[name]} == {"broker-definitions"}
        named = {one["name"] for one in json.loads(after["broker-definitions"])["users"]}
        assert {"hcs", "confocal"} <= named

    def test_passwords_are_long_and_differ(self, tmp_path: Path) -> None:
        make_secrets(tmp_path, "hcs")
        passwords = [
            path.read_text(encoding="utf-8") for path in tmp_path.iterdir() if path.name[-11:] != "definitions"
        ]

        assert len(set(passwords)) == len(passwords)
        assert all(len(password) >= 32 for password in passwords)

    @pytest.mark.parametrize("lane", ["../hcs", "HCS", "", "worker", "definitions", "a.b", "a b"])
    def test_a_lane_that_is_no_name_or_taken_is_refused(self, lane: str, tmp_path: Path) -> None:
        refused = make_secrets(tmp_path / "secrets", lane)

        assert refused.returncode == 2
        assert "no name of a lane" in refused.stderr
        assert not (tmp_path / "secrets").exists()

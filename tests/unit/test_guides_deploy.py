"""The how-tos of installing and operating: their values render, their services, Secrets and variables exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_common.settings import OmeroSettings, load
from support.chart import ROOT, Values, merged, of_kind, one_of, pods, rendered
from support.commandlines import understand

HOW_TO = ROOT / "docs/how-to"
PAGES = (
    "install-on-one-host",
    "install-on-kubernetes",
    "size-it",
    "upgrade",
    "back-up",
    "drain-for-maintenance",
    "move-from-dropbox-or-cron",
)
# What Docker's documentation lists and the pages use, with whether the words that follow are services.
OF_COMPOSE = {"up", "stop", "start", "restart", "run", "ps", "build", "logs", "exec", "cp"}
OF_HELM = {"upgrade", "test", "rollback"}
WITH_A_VALUE = {"--profile", "--scale", "--entrypoint", "--file"}


def text_of(page: str) -> str:
    return (HOW_TO / f"{page}.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)


def lines(program: str) -> Iterator[tuple[str, list[str]]]:
    """Every command of a program on these pages, with its words."""
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] == program:
                    yield f"{page}: {line.strip()}", words[1:]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return found


def options(words: list[str], name: str) -> list[str]:
    return [words[index + 1] for index, word in enumerate(words) if word == name]


def plain(words: list[str]) -> list[str]:
    """The words that are neither options nor their values."""
    taken = {index + 1 for index, word in enumerate(words) if word in WITH_A_VALUE}
    return [word for index, word in enumerate(words) if index not in taken and not word.startswith("-")]


COMPOSE_LINES = {line: words[1:] for line, words in lines("docker") if words[0] == "compose"}


@pytest.mark.parametrize("line", COMPOSE_LINES)
def test_commands_of_compose_name_services_and_profiles_that_exist(line: str) -> None:
    words, services = COMPOSE_LINES[line], compose()["services"]
    command, *rest = plain(words)
    profiles = {profile for one in services.values() for profile in one.get("profiles", [])}

    assert command in OF_COMPOSE
    assert set(options(words, "--profile")) <= profiles
    assert {one.partition("=")[0] for one in options(words, "--scale")} <= services.keys()
    if command in {"run", "exec"}:
        assert rest[0] in services
    elif command == "cp":
        assert {one.partition(":")[0] for one in rest if ":" in one} <= services.keys()
    else:
        assert set(rest) <= services.keys()


RUN_LINES = {line: words for line, words in COMPOSE_LINES.items() if plain(words)[0] == "run"}


@pytest.mark.parametrize("line", RUN_LINES)
def test_what_a_container_is_told_to_do_is_a_command_of_the_fleet(line: str) -> None:
    """Given `run` with a service, then its entry point and the words that follow are what omero-fleet gets."""
    words = RUN_LINES[line]
    service = plain(words)[1]
    program = ["omero-fleet"] if "--entrypoint" in words else compose()["services"][service].get("entrypoint")
    understand([*(program or ["omero-fleet"])[1:], *words[words.index(service) + 1 :]])


def test_there_are_commands_of_compose_and_helm_to_try() -> None:
    assert len(COMPOSE_LINES) >= 15
    assert len(list(lines("helm"))) >= 4


@pytest.mark.parametrize(("line", "words"), list(lines("helm")))
def test_commands_of_helm_name_the_release_and_the_chart(line: str, words: list[str]) -> None:
    command, *rest = plain([word for word in words if word not in {"--install", "--wait"}])
    assert command in OF_HELM
    assert rest[0] == "fleet"
    assert options(words, "--namespace") == ["imaging"]
    assert all((ROOT / word).is_dir() for word in rest if word.startswith("charts/")), line


def test_variables_of_compose_that_a_page_sets_are_variables_of_the_file() -> None:
    known = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    named = {name for page in PAGES for name in re.findall(r"\b((?:FLEET|OMERO)_[A-Z_]+)=", text_of(page))}

    assert {"FLEET_SECRETS", "FLEET_CONFIG", "FLEET_SHARE", "FLEET_LISTEN", "OMERO_VERIFY_TLS"} <= named
    assert named <= known


class TestKubernetes:
    """install-on-kubernetes.md."""

    def values(self) -> tuple[Values, list[Values]]:
        """The first block, and those that go on top of it."""
        first, *further = (yaml.safe_load(block) for block in blocks("install-on-kubernetes", "yaml"))
        return first, further

    def test_its_values_are_accepted_by_the_chart(self) -> None:
        first, further = self.values()
        assert rendered(first)
        assert len(further) == 3
        for one in further:
            assert rendered(merged(first, one))

    def test_each_of_its_further_blocks_makes_what_it_is_about(self) -> None:
        first, (monitoring, scaling, classes) = self.values()

        assert of_kind(merged(first, monitoring), "PodMonitor")
        assert one_of(merged(first, scaling), "ScaledObject", "worker")["spec"]["minReplicaCount"] == 0
        assert one_of(merged(first, classes), "Deployment", "worker-inplace")

    def test_the_secrets_that_it_makes_are_those_that_pods_mount_with_their_keys(self) -> None:
        made = {
            words[3]: {word.split("=")[1] for word in words if word.startswith("--from-file=")}
            for _, words in lines("kubectl")
            if words[:3] == ["create", "secret", "generic"]
        }
        mounted = {
            source["secret"]["name"]: {item["key"] for item in source["secret"]["items"]}
            for _, pod in pods(self.values()[0])
            for volume in pod["volumes"]
            for source in volume.get("projected", {}).get("sources", [])
        }

        assert made == mounted

    def test_no_password_stands_in_an_argument(self) -> None:
        for _, words in lines("kubectl"):
            assert not any("--from-literal" in word for word in words)

    @pytest.mark.parametrize(("line", "words"), list(lines("kubectl")))
    def test_labels_that_it_selects_by_are_those_of_the_chart(self, line: str, words: list[str]) -> None:
        deployments = of_kind(self.values()[0], "Deployment")
        for selector in options(words, "--selector"):
            key, _, value = selector.partition("=")
            assert any(one["metadata"]["labels"].get(key) == value for one in deployments), line


def test_the_override_for_tls_is_understood_by_compose() -> None:
    (override,) = (yaml.safe_load(block) for block in blocks("install-on-one-host", "yaml"))
    assert override["services"].keys() <= compose()["services"].keys()
    (conf,) = blocks("install-on-one-host", "ini")
    mounts = override["services"]["rabbitmq"]["volumes"]
    for folder in re.findall(r"= (/etc/rabbitmq/\w+)/", conf):
        assert any(mount.split(":")[1] == folder for mount in mounts)


def test_settings_of_the_move_are_accepted(tmp_path: Path) -> None:
    (text,) = blocks("move-from-dropbox-or-cron", "toml")
    (tmp_path / "fleet.toml").write_text(text, encoding="utf-8")
    settings = load(tmp_path / "fleet.toml")
    assert settings.watch.rules[0].user == "{who}"


def test_what_size_it_says_of_a_default_server_is_the_default_of_the_settings() -> None:
    default = OmeroSettings()
    assert f"settings bears {default.import_slots} and {default.create_slots}" in text_of("size-it").replace("\n", " ")


def test_every_page_of_operating_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page for page in PAGES if f"docs/how-to/{page}.md" not in readme] == []

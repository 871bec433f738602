"""The Dockerfiles, as far as they can be judged without an engine; each is linted by the real hadolint."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fleet_common.cli import LazyGroup
from fleet_common.health import Health
from fleet_common.settings import MetricsSettings

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
IMAGES = ("worker", "producer")
RUN_SECONDS = 60


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile."""

    word: str
    rest: str
    stage: str

    @property
    def list(self) -> list[str]:
        """The rest in exec form."""
        items: list[str] = json.loads(self.rest)
        return items


def text_of(image: str) -> str:
    return (ROOT / image / "Dockerfile").read_text(encoding="utf-8")


def instructions(image: str) -> Iterator[Instruction]:
    text = re.sub(r"(?m)^\s*#.*\n", "", text_of(image))
    stage = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stage = rest.rpartition(" AS ")[2]
        if word:
            yield Instruction(word, rest.strip(), stage)


def parents(image: str) -> dict[str, str]:
    froms = (one.rest.split(" AS ") for one in instructions(image) if one.word == "FROM")
    return {name: base for base, name in froms}


def lineage(image: str, stage: str) -> list[str]:
    """A stage and what it is built on, itself first."""
    known = parents(image)
    return [stage, *lineage(image, known[stage])] if stage in known else []


def shipped(image: str) -> list[Instruction]:
    """What makes the image itself, bottom first; the stages that it only copies from are not part of it."""
    return [one for stage in reversed(lineage(image, image)) for one in instructions(image) if one.stage == stage]


def last(image: str, word: str) -> Instruction:
    return [one for one in shipped(image) if one.word == word][-1]


def health_check(image: str) -> list[str]:
    text = last(image, "HEALTHCHECK").rest
    command: list[str] = json.loads(text[text.index("CMD ") + 4 :])
    return command


def lines(file: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("image", IMAGES)
class TestBothImages:
    """What holds for workers and producers."""

    def test_hadolint_finds_nothing(self, image: str) -> None:
        command = [str(BIN / "hadolint"), "--no-color", str(ROOT / image / "Dockerfile")]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
        assert (checked.returncode, checked.stdout) == (0, ""), checked.stdout

    def test_what_hadolint_is_to_overlook_has_a_reason(self, image: str) -> None:
        for match in re.finditer(r"(?m)^(.*)\n# hadolint ignore=", text_of(image)):
            assert match[1].startswith("# "), match[0]

    def test_the_image_is_the_last_stage_and_builds_on_the_base_only(self, image: str) -> None:
        """Given several stages, compilers and caches of the others are not in the image."""
        assert list(parents(image))[-1] == image
        assert [stage for stage in lineage(image, image) if stage != "runtime"] == [image, "base"]

    def test_the_base_is_an_official_image_of_one_patch_version(self, image: str) -> None:
        outside = {base for base in parents(image).values() if base not in parents(image)}
        (base,) = (one.rest for one in instructions(image) if one.word == "ARG" and one.rest.startswith("BASE="))

        assert outside == {"${BASE}"}
        assert re.fullmatch(r"BASE=python:3\.12\.\d+-slim-bookworm", base)

    def test_every_copied_file_exists_and_the_builder_is_given_it(self, image: str) -> None:
        given = [line.removeprefix("!") for line in lines(".dockerignore") if line.startswith("!")]
        for one in instructions(image):
            if one.word in {"COPY", "ADD"} and "--from=" not in one.rest:
                *sources, _ = shlex.split(one.rest)
                for source in (one for one in sources if not one.startswith(("--", "https://"))):
                    assert (ROOT / source).exists(), source
                    assert any(Path(source).is_relative_to(path) for path in given), source

    def test_every_copy_between_stages_names_a_stage(self, image: str) -> None:
        named = {found for one in instructions(image) for found in re.findall(r"--from=(\S+)", one.rest)}
        assert named
        assert named <= parents(image).keys()

    def test_tini_starts_a_command_of_the_fleet_in_exec_form(self, image: str) -> None:
        """Given exec form, tini gets SIGTERM and hands it on, and no shell that ignores it stands between."""
        assert last(image, "ENTRYPOINT").list == ["/usr/bin/tini", "--", "omero-fleet"]
        (command,) = last(image, "CMD").list
        assert command == {"worker": "work", "producer": "watch"}[image]

    def test_it_runs_as_a_user_who_is_not_root_by_number(self, image: str) -> None:
        """Given Kubernetes can only judge numbers, the user is one."""
        assert last(image, "USER").rest == "1000:1000"

    def test_no_more_is_installed_than_tini(self, image: str) -> None:
        installs = [one.rest for one in shipped(image) if "install" in one.rest and "apt-get" in one.rest]
        (packages,) = (re.findall(r"--no-install-recommends ([^&]+)&&", text) for text in installs)
        assert [name.strip() for name in packages] == ["tini"]

    def test_its_labels_say_what_it_is(self, image: str) -> None:
        labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', last(image, "LABEL").rest))
        arguments = dict(one.rest.split("=") for one in shipped(image) if one.word == "ARG")
        distribution = project()["project"]

        assert labels.keys() == {"title", "description", "licenses", "version", "revision"}
        assert labels["title"] == f"omero-import-fleet-{image}"
        assert isinstance(distribution, dict)
        assert (labels["licenses"], arguments["VERSION"]) == (distribution["license"], distribution["version"])

    def test_the_health_check_asks_healthz_on_the_port_of_the_settings(self, image: str) -> None:
        command = health_check(image)

        assert command[:2] == ["python", "-c"]
        compile(command[2], "HEALTHCHECK", "exec")
        assert "{load().metrics.port}/healthz" in command[2]

    def test_every_package_is_pinned_with_its_hash(self, image: str) -> None:
        """Given an install, it is from a list with hashes or from a wheel that another stage made."""
        runs = [one.rest.replace('", "', " ") for one in instructions(image) if one.word == "RUN"]
        installs = [text for text in runs if "pip install" in text]

        assert len(installs) >= 4
        for text in installs:
            assert "--no-deps" in text
            assert "--require-hashes" in text or "--no-index" in text

    def test_no_secret_is_built_in(self, image: str) -> None:
        for one in instructions(image):
            assert not re.search(r"(?i)passw|secret|token", one.rest), one

    def test_it_carries_the_list_of_its_parts(self, image: str) -> None:
        listed = [one.rest for one in shipped(image) if one.word == "COPY" and "sbom" in one.rest]
        assert listed == ["--from=sbom /sbom.cdx.json /usr/share/omero-import-fleet/sbom.cdx.json"]
        assert lineage(image, "sbom")[1] == "environment"


def environment_with(folder: Path, name: str, version: str) -> Path:
    """The Python of a new environment that holds one package, as pip would have recorded it."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python3*/site-packages")
    record = site / f"{name}-{version}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    return folder / "bin/python"


def test_the_command_that_lists_parts_lists_every_package(tmp_path: Path) -> None:
    """Given the command of the Dockerfile on an environment, each package is there with its version and address."""
    run = next(one.rest for one in instructions("producer") if "cyclonedx-py" in one.rest)
    exchanged = {
        "/opt/lister/bin/cyclonedx-py": str(BIN / "cyclonedx-py"),
        "/sbom.cdx.json": str(tmp_path / "sbom.json"),
        "/opt/fleet/bin/python": str(environment_with(tmp_path / "fleet", "plates", "1.2.3")),
    }
    words = shlex.split(run[run.index("/opt/lister/bin/cyclonedx-py") :])
    subprocess.run([exchanged.get(word, word) for word in words], check=True, timeout=RUN_SECONDS, capture_output=True)
    made = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    parts = [(one["name"], one["version"], one["purl"]) for one in made["components"]]

    assert made["bomFormat"] == "CycloneDX"
    assert parts == [("plates", "1.2.3", "pkg:pypi/plates@1.2.3")]


@pytest.mark.parametrize("image", IMAGES)
def test_the_default_command_exists(image: str) -> None:
    (command,) = last(image, "CMD").list
    assert command in LazyGroup().list_commands(None)  # type: ignore[arg-type]  # it does not look at it


@pytest.mark.parametrize(("problem", "code"), [(None, 0), ("the taker is silent", 1)])
def test_the_health_check_says_what_healthz_says(problem: str | None, code: int) -> None:
    """Given a process that is alive or not, the image's check, run as it stands, ends with 0 or 1."""
    _, *arguments = health_check("worker")
    health = Health(MetricsSettings(), CollectorRegistry(), live={"taker": lambda: problem}, ready={})
    health.start()
    try:
        environment = {"PATH": os.environ["PATH"], "OMERO_FLEET_METRICS__PORT": str(health.port)}
        checked = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, timeout=RUN_SECONDS, check=False
        )
    finally:
        health.stop()

    assert checked.returncode == code


class TestScan:
    """The stage of workers that ask Bio-Formats."""

    def own(self, word: str) -> list[str]:
        return [one.rest for one in instructions("worker") if (one.word, one.stage) == (word, "scan")]

    def test_it_is_a_worker_with_java_and_nothing_else(self) -> None:
        """Given a JDK of one major version, because the child compiles its own source."""
        (install,) = self.own("RUN")
        assert lineage("worker", "scan") == ["scan", "runtime", "base"]
        assert re.findall(r"--no-install-recommends ([^&]+?) +&&", install) == ["openjdk-17-jdk-headless"]

    def test_it_is_not_built_unless_it_is_asked_for(self) -> None:
        assert "scan" not in lineage("worker", "worker")
        assert not any("--from=scan" in one.rest for one in instructions("worker"))

    def test_no_jar_is_taken_without_a_version_and_a_checksum_that_somebody_chose(self) -> None:
        (jar,) = self.own("ADD")
        flags = [word for word in shlex.split(jar) if word.startswith("--")]
        assert self.own("ARG") == ["BIOFORMATS_VERSION", "BIOFORMATS_SHA256"]
        assert "--checksum=sha256:${BIOFORMATS_SHA256}" in flags
        assert "https://downloads.openmicroscopy.org/bio-formats/${BIOFORMATS_VERSION}/" in jar

    def test_the_jar_lies_where_the_guide_says_and_everybody_may_read_it(self) -> None:
        (jar,) = self.own("ADD")
        guide = (ROOT / "docs/explanation/scan.md").read_text(encoding="utf-8")
        assert f'jar = "{shlex.split(jar)[-1]}"' in guide
        assert "--chmod=444" in jar

    def test_it_runs_as_a_worker_does(self) -> None:
        """Given that root installs, then root does not stay."""
        assert self.own("USER") == ["0:0", "1000:1000"]
        assert self.own("CMD") == self.own("ENTRYPOINT") == []


def test_nothing_is_given_to_the_builder_that_is_not_listed() -> None:
    """Given passwords may lie beside the Dockerfiles, the builder's context is a list of what it may have."""
    assert lines(".dockerignore")[0] == "*"


def test_the_producer_has_nothing_of_omero() -> None:
    copied = " ".join(one.rest for one in instructions("producer"))

    assert "/ice" not in copied
    assert "worker.txt" not in copied
    assert "omero-py" not in (ROOT / "requirements/producer.txt").read_text(encoding="utf-8")


def test_the_spool_of_a_new_volume_belongs_to_the_producers_user() -> None:
    (folder,) = (one.rest.partition("=")[2] for one in shipped("producer") if "PRODUCER__SPOOL" in one.rest)
    assert f"install --directory --mode 0700 --owner 1000 --group 1000 {folder}" in text_of("producer")


def test_ice_is_compiled_from_source_once() -> None:
    assert sum("build_ice.py" in one.rest and one.word == "RUN" for one in instructions("worker")) == 1


def test_both_images_build_the_same_distribution() -> None:
    def stage(image: str) -> list[tuple[str, str]]:
        return [(one.word, one.rest) for one in instructions(image) if one.stage in {"base", "package"}]

    assert stage("worker") == stage("producer")


@pytest.mark.parametrize(("file", "wanted"), [("build.txt", "hatchling"), ("sbom.txt", "cyclonedx-bom")])
def test_what_builds_and_lists_is_pinned_too(file: str, wanted: str) -> None:
    pinned = {line.partition("==")[0] for line in lines(f"requirements/{file}") if "==" in line}
    assert wanted in pinned

"""OMERO's packages: pinned, checked, fetched again when a download was cut, and either whole or not there."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import pytest

from fleet_stack import apt
from fleet_stack.console import StackError
from fleet_stack.omero import jars, java, packages, wheels
from fleet_stack.omero.data import DATA


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with a jar in it."""
    path = tmp_path / "bioformats_jar-6.7.0.post2-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bioformats_jar/bioformats_package.jar", b"the jar")
    return path


class Pip:
    """Stands in for pip: fails as often as it is told to, then delivers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.commands: list[list[str]] = []
        self.wanted: list[str] = []

    def __call__(self, command: list[str], **_: object) -> str:
        self.commands.append(command)
        self.wanted.append(Path(command[command.index("-r") + 1]).read_text())
        folder = Path(command[command.index("-d") + 1])
        if len(self.commands) <= self.failures:
            (folder / "prokaryote-2.4.4-py3-none-any.whl.part").write_bytes(b"cut")
            raise StackError("the connection was cut")
        (folder / "prokaryote-2.4.4-py3-none-any.whl").write_bytes(b"whole")
        return ""


def fetch_with(pip: Pip, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(wheels, "run", pip)
    return wheels.fetch("prokaryote", folder)


class TestWheels:
    def test_every_wheel_is_pinned_with_a_hash(self) -> None:
        lines = wheels.REQUIREMENTS.read_text().splitlines()
        assert len(lines) == len(wheels.pinned()) == 2
        assert all(re.fullmatch(r"[\w-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)

    def test_pip_must_check_the_hash(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pip = Pip(failures=0)
        fetch_with(pip, tmp_path, monkeypatch)
        assert "--require-hashes" in pip.commands[0]
        assert re.fullmatch(r"prokaryote==2\.4\.4 --hash=sha256:[0-9a-f]{64}\n", pip.wanted[0])

    def test_a_cut_download_is_done_again_and_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pip = Pip(failures=2)
        assert fetch_with(pip, tmp_path, monkeypatch).read_bytes() == b"whole"
        assert len(pip.commands) == 3
        assert [path.name for path in tmp_path.iterdir()] == ["prokaryote-2.4.4-py3-none-any.whl"]

    def test_three_failures_are_an_error_and_leave_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(StackError, match="the connection was cut"):
            fetch_with(Pip(failures=3), tmp_path, monkeypatch)
        assert list(tmp_path.iterdir()) == []

    def test_what_is_there_is_not_fetched_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pip = Pip(failures=0)
        first = fetch_with(pip, tmp_path, monkeypatch)
        assert fetch_with(pip, tmp_path, monkeypatch) == first
        assert len(pip.commands) == 1

    def test_a_file_of_a_wheel_is_whole_or_not_there(self, wheel: Path, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "file.jar"
        with pytest.raises(KeyError):
            wheels.extract(wheel, "no/such/file", target)
        assert not target.exists()
        wheels.extract(wheel, "bioformats_jar/bioformats_package.jar", target)
        assert target.read_bytes() == b"the jar"
        assert list(target.parent.iterdir()) == [target]


class TestJars:
    def test_bioformats_is_unpacked_once(self, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[str] = []

        def fetch(name: str, _folder: Path) -> Path:
            calls.append(name)
            return wheel

        monkeypatch.setattr(wheels, "fetch", fetch)
        jar = jars.bioformats(tmp_path)
        assert jars.bioformats(tmp_path) == jar
        assert jar.read_bytes() == b"the jar"
        assert calls == ["bioformats_jar"]

    def test_the_quicker_of_two_makers_wins(self, tmp_path: Path) -> None:
        for name in ("made", "there"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "who").write_text(name)
        jars.place(tmp_path / "made", tmp_path / "there")
        assert (tmp_path / "there" / "who").read_text() == "there"
        assert not (tmp_path / "made").exists()

    def test_a_folder_that_cannot_be_moved_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            jars.place(tmp_path / "nothing", tmp_path / "target")


class TestServerPackages:
    def test_the_folder_changes_with_every_ingredient(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = packages.located(tmp_path)
        assert packages.located(tmp_path) == before
        data = tmp_path / "data"
        for name in packages.INGREDIENTS:
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes((DATA / name).read_bytes())
        monkeypatch.setattr(packages, "DATA", data)
        seen = {before.folder, packages.located(tmp_path).folder}
        assert len(seen) == 1
        for name in packages.INGREDIENTS:
            (data / name).write_bytes(b"changed")
            seen.add(packages.located(tmp_path).folder)
        assert len(seen) == 1 + len(packages.INGREDIENTS)

    def test_a_server_that_is_not_installed_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(StackError, match="not installed"):
            packages.require(tmp_path)

    def test_a_failed_installation_leaves_nothing_that_looks_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def cut(made: packages.Packages, _cache: Path) -> None:
            made.folder.mkdir()
            raise StackError("the connection was cut")

        monkeypatch.setattr(apt, "ensure", lambda _: None)
        monkeypatch.setattr(packages, "_check_java", lambda: None)
        monkeypatch.setattr(packages, "_make", cut)
        with pytest.raises(StackError, match="the connection was cut"):
            packages.install(tmp_path)
        assert not packages.located(tmp_path).folder.exists()
        assert [path.name for path in (tmp_path / "omero").iterdir()] == ["install.lock"]

    def test_an_old_java_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages, "run", lambda *_, **__: 'openjdk version "11.0.2" 2019-01-15')
        with pytest.raises(StackError, match="older than 17"):
            packages._check_java()

    @pytest.mark.parametrize("version", ['"17.0.15" 2025-04-15', '"21" 2023-09-19'])
    def test_a_newer_java_will_do(self, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages, "run", lambda *_, **__: f"openjdk version {version}")
        packages._check_java()

    def test_the_server_asks_nobody_for_upgrades(self) -> None:
        text = b"a=1\nomero.upgrades.url=https://example.org/\nb=2\n"
        assert packages._without_upgrade_check("omero-common.properties", text) == b"a=1\nomero.upgrades.url=\nb=2\n"
        assert packages._without_upgrade_check("other.properties", text) == text

    def test_maven_refuses_files_with_a_wrong_checksum_and_stays_in_the_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commands: list[list[str]] = []
        monkeypatch.setattr(packages, "run", commands.append)
        packages._fetch_maven_jars(tmp_path / "lib", tmp_path / "m2")
        assert "-C" in commands[0]
        assert f"-Dmaven.repo.local={tmp_path}/m2" in commands[0]

    def test_bundled_classes_that_bioformats_has_are_left_out(self, tmp_path: Path) -> None:
        bundle, formats, wheel, made = (tmp_path / name for name in ("b.jar", "f.jar", "w.whl", "made.jar"))
        with zipfile.ZipFile(formats, "w") as archive:
            archive.writestr("loci/Reader.class", b"new")
        with zipfile.ZipFile(bundle, "w") as archive:
            for name in ("loci/", "loci/Reader.class", "ome/Server.class", "logback.xml"):
                archive.writestr(name, b"" if name.endswith("/") else b"old")
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.write(bundle, "prokaryote/prokaryote-2.4.4.jar")
        packages._unpack_bundle(wheel, formats, made)
        with zipfile.ZipFile(made) as archive:
            assert archive.namelist() == ["META-INF/MANIFEST.MF", "loci/", "ome/Server.class"]
            assert b"Implementation-Version: 5.5.8\r\n" in archive.read("META-INF/MANIFEST.MF")


class TestJava:
    def test_manifest_lines_are_folded_at_72_characters(self) -> None:
        text = java.manifest([("Class-Path", " ".join(f"../lib/{n}.jar" for n in range(40)))])
        assert max(map(len, text.split("\r\n"))) == 72
        assert text.replace("\r\n ", "").startswith("Class-Path: ../lib/0.jar ../lib/1.jar")
        assert text.endswith("\r\n\r\n")

    def test_class_paths_are_joined_for_this_system(self) -> None:
        assert java.classpath([Path("/a"), Path("/b.jar")]) == f"/a{os.pathsep}/b.jar"

    def test_file_names_with_an_umlaut_survive(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LC_ALL", "C")
        assert java.environment()["LC_ALL"] == "C.UTF-8"

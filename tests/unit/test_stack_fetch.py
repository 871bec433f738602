"""A RabbitMQ is in the cache as a whole or not at all, and a cut download goes on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet_stack.console import StackError
from fleet_stack.rabbitmq import fetch as fetch_module
from fleet_stack.rabbitmq import packages
from fleet_stack.rabbitmq.fetch import MARKER, fetch
from fleet_stack.rabbitmq.packages import PrivateApt
from fleet_stack.rabbitmq.releases import release


@dataclass
class FakeMirror:
    """Debian as seen through apt-get and dpkg-deb."""

    fetched: list[str] = field(default_factory=list)
    unpacked: list[str] = field(default_factory=list)
    unreachable: set[str] = field(default_factory=set)

    def run(self, command: Sequence[str | Path], *, cwd: Path | None = None) -> str:
        words = [str(word) for word in command]
        if words[0] == "dpkg-deb":
            self.unpacked.append(Path(words[2]).name)
            return ""
        assert cwd is not None
        wanted = [word for word in words[words.index("download") + 1 :] if not word.startswith("-")]
        # As apt-get does it: what is complete in the working folder is neither printed nor fetched.
        absent = [name for name in wanted if not (cwd / f"{name}_1_amd64.deb").exists()]
        if "--print-uris" in words:
            return "".join(f"'http://mirror.example/{name}.deb' {name}_1_amd64.deb 7 SHA256:0\n" for name in absent)
        for name in absent:
            if name not in self.unreachable:
                self.fetched.append(name)
                (cwd / f"{name}_1_amd64.deb").write_text("archive")
        return ""


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeMirror:
    found = FakeMirror()
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setattr(packages, "run", found.run)
    monkeypatch.setattr(packages, "KEYRING", keyring)
    monkeypatch.setattr(packages, "host_mirror", lambda: "http://mirror.example/debian")
    return found


class TestPackages:
    """Downloading into a folder of its own."""

    def test_every_package_is_downloaded_and_unpacked(self, debian: FakeMirror, tmp_path: Path) -> None:
        PrivateApt(tmp_path / "apt", "trixie").unpack(["a", "b"], tmp_path / "root")
        assert debian.fetched == ["a", "b"]
        assert debian.unpacked == ["a_1_amd64.deb", "b_1_amd64.deb"]

    def test_a_cut_download_goes_on_where_it_stopped(self, debian: FakeMirror, tmp_path: Path) -> None:
        """Given a download that ended after the first package, then only the rest is fetched and all are unpacked."""
        debian.unreachable = {"b"}
        with pytest.raises(StackError, match=r"did not download b_1_amd64\.deb"):
            PrivateApt(tmp_path / "apt", "trixie").unpack(["a", "b"], tmp_path / "root")
        assert debian.unpacked == []
        debian.unreachable = set()
        PrivateApt(tmp_path / "apt", "trixie").unpack(["a", "b"], tmp_path / "root")
        assert debian.fetched == ["a", "b"]
        assert debian.unpacked == ["a_1_amd64.deb", "b_1_amd64.deb"]

    def test_packages_are_verified_or_not_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages, "KEYRING", tmp_path / "missing.gpg")
        with pytest.raises(StackError, match="must be verified"):
            PrivateApt(tmp_path / "apt", "trixie")

    @pytest.mark.usefixtures("debian")
    def test_only_the_chosen_release_is_asked(self, tmp_path: Path) -> None:
        PrivateApt(tmp_path / "apt", "trixie")
        text = (tmp_path / "apt/sources.list").read_text()
        assert text == f"deb [signed-by={tmp_path}/keyring.gpg] http://mirror.example/debian trixie main\n"


class FakeApt:
    """A PrivateApt that makes the folders of a broker of the wanted version."""

    found = "4.0.5"
    cut = False
    fills = 0

    def __init__(self, folder: Path, debian: str) -> None:
        self.folder = folder
        self.debian = debian
        folder.mkdir(parents=True, exist_ok=True)

    def update(self) -> None:
        """Nothing to read."""

    def unpack(self, _: Sequence[str], target: Path) -> None:
        """Make the broker's folder, or fail in the middle."""
        type(self).fills += 1
        (target / f"usr/lib/rabbitmq/lib/rabbitmq_server-{self.found}").mkdir(parents=True)
        if self.cut:
            raise StackError("the line was cut")


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> type[FakeApt]:
    class Apt(FakeApt):
        pass

    monkeypatch.setattr(fetch_module, "PrivateApt", Apt)
    monkeypatch.setattr(fetch_module, "host_codename", lambda: "trixie")
    return Apt


class TestFetch:
    """Filling the cache."""

    def test_a_version_is_fetched_once(self, apt: type[FakeApt], tmp_path: Path) -> None:
        assert fetch(release("4.0"), tmp_path) == tmp_path / "4.0"
        assert fetch(release("4.0"), tmp_path) == tmp_path / "4.0"
        assert apt.fills == 1
        assert (tmp_path / "4.0" / MARKER).exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["4.0", "4.0.lock"]

    def test_a_cut_fetch_leaves_no_version_and_is_made_good(self, apt: type[FakeApt], tmp_path: Path) -> None:
        apt.cut = True
        with pytest.raises(StackError, match="the line was cut"):
            fetch(release("4.0"), tmp_path)
        assert not (tmp_path / "4.0").exists()
        apt.cut = False
        assert (fetch(release("4.0"), tmp_path) / MARKER).exists()

    @pytest.mark.usefixtures("apt")
    def test_a_folder_without_its_marker_is_not_trusted(self, tmp_path: Path) -> None:
        (tmp_path / "4.0/usr").mkdir(parents=True)
        (tmp_path / "4.0/half").touch()
        root = fetch(release("4.0"), tmp_path)
        assert (root / MARKER).exists()
        assert not (root / "half").exists()

    def test_another_version_than_the_chosen_one_is_refused(self, apt: type[FakeApt], tmp_path: Path) -> None:
        apt.found = "4.1.0"
        with pytest.raises(StackError, match=r"now carries RabbitMQ 4\.1\.0, not 4\.0"):
            fetch(release("4.0"), tmp_path)
        assert not (tmp_path / "4.0").exists()

"""Bio-Formats asked about files of a share: answers in paths of the share, refusals with reasons."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import pytest

from fleet_common.errors import Permanent, Reason, RequestError, UsageError
from fleet_common.plates import Plate, Sizes, plate_format
from fleet_common.settings import ScanSettings
from fleet_common.storage import Share, ShareReader
from fleet_worker.scan import Launch, Limits, Refused, Scanned, Scanner, launching
from fleet_worker.scan.groups import GROUP
from fleet_worker.scanning import ask_about, read_group, scanner_of, with_images
from support import fake_reader


def go_on() -> None:
    """Nothing stops the attempt."""


@pytest.fixture
def scanner() -> Iterator[Scanner]:
    """With the fake reader, and little patience."""
    made = Scanner(Launch((sys.executable, fake_reader.__file__), Limits(answer_seconds=0.5)))
    yield made
    made.close()


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """A share with files that the fake reader knows by name."""
    (tmp_path / "run").mkdir()
    for name in (
        "a.tif",
        "set-1.x",
        "set-1.y",
        "outside.log",
        "plate.c01",
        "unknown.txt",
        "broken.tif",
        "hang.tif",
        "die.tif",
    ):
        (tmp_path / "run" / name).write_bytes(b"x")
    return Share("hcs", tmp_path)


def refusal(scanner: Scanner | None, share: Share, path: str) -> RequestError:
    """Why there is no group."""
    with pytest.raises(RequestError) as caught:
        read_group(scanner, share, path, go_on)
    return caught.value


def test_a_group_is_told_in_paths_of_the_share(scanner: Scanner, share: Share) -> None:
    """Wherever it is mounted here."""
    said = ask_about(scanner, share, "run/set-1.x", go_on)
    assert isinstance(said, Scanned)
    assert said.files == ("run/set-1.x", "run/set-1.y")
    plate = read_group(scanner, share, "run/set-1.x", go_on)
    assert (plate.format, plate.reader, plate.files) == (GROUP, "loci.formats.in.FakeReader", said.files)
    assert read_group(scanner, share, "run/plate.c01", go_on).is_plate


@pytest.mark.parametrize(
    ("name", "reason", "text"),
    [
        ("unknown.txt", Reason.UNKNOWN_FORMAT, "no reader of Bio-Formats takes it"),
        ("broken.tif", Reason.READER_FAILED, "failed at it: java.io.IOException: bad header"),
        ("hang.tif", Reason.READER_FAILED, "hung at it: no answer within 0.5 s"),
        ("die.tif", Reason.READER_FAILED, "died of it: it ended with exit code 7"),
        ("outside.log", Reason.UNSAFE_PATH, "/etc/passwd"),
        ("gone.tif", Reason.MANIFEST_DIFFERS, "gone.tif"),
    ],
)
def test_what_cannot_be_imported_has_a_reason(
    scanner: Scanner, share: Share, name: str, reason: Reason, text: str
) -> None:
    """The file is named."""
    error = refusal(scanner, share, f"run/{name}")
    assert error.reason is reason
    assert text in str(error)


def test_a_link_is_not_asked_about(scanner: Scanner, share: Share) -> None:
    """The child would follow it."""
    (share.root / "run" / "link.tif").symlink_to("/etc/passwd")
    error = refusal(scanner, share, "run/link.tif")
    assert error.reason is Reason.NOT_A_REGULAR_FILE
    assert scanner.version == ""


def test_a_worker_without_bioformats_refuses(share: Share) -> None:
    """With what it lacks."""
    error = refusal(None, share, "run/a.tif")
    assert (type(error), error.reason) == (Permanent, Reason.UNSUPPORTED)
    assert "scan.jar" in str(error)


def test_a_refusal_is_an_answer_too(scanner: Scanner, share: Share) -> None:
    """A scan goes on after it."""
    assert isinstance(ask_about(scanner, share, "run/unknown.txt", go_on), Refused)


class TestContainers:
    """What only Bio-Formats knows of a file that holds all images."""

    def container(self, share: Share, name: str) -> Plate:
        """A container as its format reads it."""
        (share.root / f"run/{name}.czi").write_bytes(b"ZISRAWFILE")
        with ShareReader(share) as reader:
            return plate_format("container").read(PurePosixPath(f"run/{name}.czi"), reader)

    def test_its_images_are_known_once_bioformats_was_asked(self, scanner: Scanner, share: Share) -> None:
        """They are compared with OMERO's after the import."""
        plate = self.container(share, "cells")
        assert with_images(scanner, share, plate, go_on) == replace(plate, images=(Sizes(8, 6, 1, 2, 1),))

    @pytest.mark.parametrize("name", ["unknown", "broken", "hang", "die"])
    def test_what_nobody_can_tell_is_left_to_the_server(self, scanner: Scanner, share: Share, name: str) -> None:
        """Its Bio-Formats may be another one; a refusal of this one is no verdict."""
        plate = self.container(share, name)
        assert with_images(scanner, share, plate, go_on) is plate

    def test_a_worker_without_bioformats_imports_it_all_the_same(self, share: Share) -> None:
        """Nothing is expected of it then."""
        plate = self.container(share, "cells")
        assert with_images(None, share, plate, go_on) is plate

    def test_a_plate_whose_format_knows_its_sizes_is_not_asked_about(self, scanner: Scanner, share: Share) -> None:
        """The vendor's index is the contract."""
        plate = Plate("harmony", "run/hang.tif", "", ("run/hang.tif",))
        assert with_images(scanner, share, plate, go_on) is plate


class TestSettings:
    """What a worker needs for scans."""

    @pytest.fixture
    def jar(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A file, on a host that has a JDK."""
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
        (tmp_path / "b.jar").write_bytes(b"x")
        return tmp_path / "b.jar"

    def test_no_jar_is_no_scanner(self) -> None:
        """The default."""
        assert scanner_of(ScanSettings()) is None

    def test_a_jar_that_is_not_there_ends_the_worker_at_once(self, tmp_path: Path) -> None:
        """Not the first scan, hours later."""
        with pytest.raises(UsageError, match=r"scan\.jar"):
            scanner_of(ScanSettings(jar=tmp_path / "none.jar"))

    def test_so_does_a_host_without_a_jdk(self, jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A JRE alone cannot compile the child's program."""
        monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/java" if name == "java" else None)
        with pytest.raises(UsageError, match="JDK"):
            scanner_of(ScanSettings(jar=jar))

    @pytest.mark.parametrize(
        ("online", "network", "offline"), [("", "none", True), ("", "any", True), ("no seccomp", "any", False)]
    )
    def test_the_child_has_no_network_where_the_kernel_lets(
        self, jar: Path, monkeypatch: pytest.MonkeyPatch, online: str, network: Literal["none", "any"], *, offline: bool
    ) -> None:
        """Whatever the setting says, and elsewhere it has one only if that was allowed."""
        monkeypatch.setattr(launching, "why_online", lambda: online)
        made = scanner_of(ScanSettings(jar=jar, memory_mb=99, answer_seconds=7, network=network))
        assert made is not None
        assert any(part.endswith("offline.py") for part in made._launch.command) is offline
        assert "-Xmx99m" in made._launch.command
        assert made._launch.limits.answer_seconds == 7

    def test_a_child_that_would_have_the_network_ends_the_worker_at_once(
        self, jar: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Unless somebody allows it; the reason says how."""
        monkeypatch.setattr(launching, "why_online", lambda: "no seccomp")
        with pytest.raises(UsageError, match=r'no seccomp.*scan\.network = "any"'):
            scanner_of(ScanSettings(jar=jar))

    @pytest.mark.parametrize(
        ("starter", "why"),
        [(("/nowhere/python",), "No such file"), (("sh", "-c", "echo no seccomp >&2; exit 1"), "no seccomp")],
    )
    def test_a_host_that_cannot_keep_it_from_the_network_says_why(
        self, monkeypatch: pytest.MonkeyPatch, starter: tuple[str, ...], why: str
    ) -> None:
        """Whether the program that should do so is missing or fails."""
        monkeypatch.setattr(launching, "_OFFLINE", starter)
        assert why in launching.why_online.__wrapped__()

"""Importing the files of one request in place, against a stand-in for OMERO and a real repository folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest

from fleet_common.errors import LeaseLost, Reason, RequestError, failure
from fleet_common.messages import ChecksumAlgorithm
from fleet_common.settings import Settings
from fleet_common.storage import ManifestEntry, OpenFiles, Share
from fleet_worker import linking
from fleet_worker.linking import Links, links_of
from fleet_worker.omero.checksums import size_hash
from fleet_worker.omero.facts import HeldFile

FOLDER = "alice_2/2026-11/plate"
SEEN = PurePosixPath("/data/hcs")
COUNT = 7


@dataclass
class Omero:
    """The files of one registered import; notes what it is told, in calls."""

    algorithm: ChecksumAlgorithm = ChecksumAlgorithm.SHA1_160
    calls: list[Mapping[int, str]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    @property
    def in_place(self) -> Omero:
        """This object stands for both."""
        return self

    def held(self) -> tuple[HeldFile, ...]:
        """One row a file, all in one folder."""
        return tuple(HeldFile(100 + number, f"{FOLDER}/{number:02}.tif") for number in range(COUNT))

    def record(self, held: Sequence[HeldFile], hashes: Mapping[int, str]) -> None:
        """Take sizes and hashes."""
        assert len(held) == COUNT
        self.before()
        self.calls.append(dict(hashes))


@dataclass
class Linking:
    """One import in place, and what it told."""

    links: Links
    share: Share
    omero: Omero
    told_bytes: list[int] = field(default_factory=list)
    told_files: int = 0
    check: Callable[[], None] = lambda: None

    def send(self) -> tuple[str, ...]:
        """Link all files."""
        with OpenFiles(self.share) as files:
            return self.links.send(
                files,
                ENTRIES,
                self.omero,
                limit=None,
                on_bytes=self.told_bytes.append,
                on_begin=lambda: None,
                on_file=self._one_more,
                check=self.check,
            )

    def refused(self) -> RequestError:
        """Link all files, and fail."""
        with pytest.raises(RequestError) as caught:
            self.send()
        return caught.value

    def _one_more(self) -> None:
        self.told_files += 1


def content(number: int) -> bytes:
    """Of one file."""
    return b"x" * (number + 1)


ENTRIES = [ManifestEntry(f"p1/{number:02}.tif", number + 1) for number in range(COUNT)]
HASHES = tuple(hashlib.sha1(content(number), usedforsecurity=False).hexdigest() for number in range(COUNT))


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """Seven files of 1 to 7 bytes."""
    root = tmp_path / "hcs"
    (root / "p1").mkdir(parents=True)
    for number in range(COUNT):
        (root / "p1" / f"{number:02}.tif").write_bytes(content(number))
    return Share("hcs", root)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where OMERO wants the files."""
    made = tmp_path / "repository" / FOLDER
    made.mkdir(parents=True)
    return made


@pytest.fixture
def importing(tmp_path: Path, share: Share, folder: Path) -> Linking:
    """An import that nothing disturbs, by three threads."""
    assert folder.is_dir()
    return Linking(Links(tmp_path / "repository", {"hcs": SEEN}, 3), share, Omero())


def test_every_file_becomes_a_link_to_what_the_server_sees(importing: Linking, folder: Path) -> None:
    """And its hash, as read here, is told to OMERO once."""
    assert importing.send() == HASHES
    assert {link.name: str(link.readlink()) for link in folder.iterdir()} == {
        f"{number:02}.tif": f"/data/hcs/p1/{number:02}.tif" for number in range(COUNT)
    }
    told = {index: digest for call in importing.omero.calls for index, digest in call.items()}
    assert tuple(told[index] for index in range(COUNT)) == HASHES
    assert sum(map(len, importing.omero.calls)) == COUNT
    assert (sum(importing.told_bytes), importing.told_files) == (sum(range(COUNT + 1)), COUNT)


def test_every_thread_has_something_to_do(importing: Linking) -> None:
    """Few files are shared out; many are told in batches of a bounded size."""
    importing.send()
    assert sorted(map(len, importing.omero.calls)) == [1, 3, 3]


def test_a_batch_is_bounded(importing: Linking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of files."""
    monkeypatch.setattr(linking, "BATCH_FILES", 2)
    importing.send()
    assert max(map(len, importing.omero.calls)) == 2


def test_by_size_alone_no_file_is_read(importing: Linking) -> None:
    """Its size is all that OMERO compares then; it is looked at after the links were made."""
    importing.omero.algorithm = ChecksumAlgorithm.FILE_SIZE_64
    assert importing.send() == tuple(size_hash(number + 1) for number in range(COUNT))
    assert len(importing.told_bytes) == COUNT


@pytest.mark.parametrize("algorithm", [ChecksumAlgorithm.SHA1_160, ChecksumAlgorithm.FILE_SIZE_64])
def test_a_file_that_is_another_one_than_in_the_manifest_is_refused(
    importing: Linking, algorithm: ChecksumAlgorithm
) -> None:
    """Given one that grew after it was submitted."""
    importing.omero.algorithm = algorithm
    (importing.share.root / "p1" / "03.tif").write_bytes(b"longer than before")
    assert importing.refused().reason is Reason.MANIFEST_DIFFERS


def test_what_omero_refuses_ends_the_import(importing: Linking) -> None:
    """With its own reason."""

    def refuses() -> None:
        raise failure(Reason.UPLOAD_DIFFERS, "OMERO sees another file")

    importing.omero.before = refuses
    assert importing.refused().reason is Reason.UPLOAD_DIFFERS


def test_an_attempt_that_must_stop_makes_no_link(importing: Linking, folder: Path) -> None:
    """Given a lock that is lost from the start."""

    def lost() -> None:
        raise LeaseLost("the lock of this request was lost")

    importing.check = lost
    with pytest.raises(LeaseLost):
        importing.send()
    assert list(folder.iterdir()) == []


def test_single_files_are_told_again(importing: Linking) -> None:
    """Given indexes that OMERO found different when it was to begin: only these, and their bytes count anew."""
    with OpenFiles(importing.share) as files:
        again = importing.links.send_again(
            files, ENTRIES, importing.omero, [4, 2, 4], on_bytes=importing.told_bytes.append, check=lambda: None
        )
    assert again == {2: HASHES[2], 4: HASHES[4]}
    assert [count for count in importing.told_bytes if count < 0] == [-3, -5]
    assert sum(importing.told_bytes) == 0


class TestTheFolder:
    """Nothing but links is made, and only where OMERO made a folder."""

    def test_own_links_stay(self, importing: Linking) -> None:
        """Given an import that is done twice."""
        assert importing.send() == importing.send()

    @pytest.mark.parametrize("is_link", [True, False])
    def test_what_has_the_name_of_a_link_is_not_replaced(
        self, importing: Linking, folder: Path, *, is_link: bool
    ) -> None:
        """Given a file, or a link to elsewhere."""
        taken = folder / "05.tif"
        taken.symlink_to("/etc/passwd") if is_link else taken.write_text("somebody's")
        error = importing.refused()
        assert error.reason is Reason.REPOSITORY_UNAVAILABLE
        assert "05.tif" in str(error)
        assert taken.is_symlink() is is_link

    def test_a_folder_that_is_a_link_is_refused(self, importing: Linking, folder: Path, tmp_path: Path) -> None:
        """It may lead out of the repository."""
        outside = tmp_path / "outside"
        outside.mkdir()
        folder.rmdir()
        folder.symlink_to(outside)
        assert importing.refused().reason is Reason.REPOSITORY_UNAVAILABLE
        assert list(outside.iterdir()) == []

    def test_a_folder_that_is_not_there_is_not_made(self, importing: Linking, folder: Path) -> None:
        """Given a mount that is not the server's."""
        folder.rmdir()
        assert importing.refused().reason is Reason.REPOSITORY_UNAVAILABLE
        assert not folder.exists()


class TestSettings:
    """Which shares are linked."""

    def test_nothing_is_linked_unless_a_share_is_named(self, tmp_path: Path) -> None:
        """A repository alone is not enough."""
        assert links_of(Settings()) is None
        assert links_of(Settings.model_validate({"in_place": {"repository": tmp_path}})) is None

    def test_only_named_shares_are_linked(self, tmp_path: Path) -> None:
        """All others are uploaded."""
        links = links_of(Settings.model_validate({"in_place": {"repository": tmp_path, "shares": {"hcs": "/data"}}}))
        assert links is not None
        assert (links.takes("hcs"), links.takes("confocal")) == (True, False)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"shares": {"hcs": "/data"}},
            *({"repository": "/OMERO", "shares": {"hcs": path}} for path in ("data", "/a/..", "")),
        ],
    )
    def test_a_mistake_is_refused(self, wrong: dict[str, object]) -> None:
        """No repository to make the links in, or a path that no server would resolve as meant."""
        with pytest.raises(ValueError, match="in_place"):
            Settings.model_validate({"in_place": wrong})

"""One pass over the files of a plate, and where candidates lie: on real folders, with all that can be in one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_common.errors import Permanent, Reason, RequestError, Transient, failure
from fleet_common.storage import OpenFiles, Share
from fleet_common.watching import IGNORED_NAMES, TEMPORARY_NAMES, WatchSettings
from fleet_producer.completeness import History, Mark, State
from fleet_producer.watch import finding, tree
from fleet_producer.watch.finding import Where, find
from fleet_producer.watch.pacing import away_seconds, breath_seconds, pause_seconds
from fleet_producer.watch.records import Record, Rest, from_json, to_json
from fleet_producer.watch.tree import Listing, list_plate, pattern_of

TEMPORARY = pattern_of(TEMPORARY_NAMES)


@pytest.fixture
def share(tmp_path: Path) -> Share:
    (tmp_path / "hcs/P1/Images").mkdir(parents=True)
    for name, size in (("Index.xml", 3), ("Images/a.tiff", 5), ("Images/b.tiff", 7)):
        (tmp_path / "hcs/P1" / name).write_bytes(bytes(size))
    return Share("hcs", tmp_path / "hcs")


def listed(share: Share, folder: str = "P1") -> Listing:
    return list_plate(share, PurePosixPath(folder), TEMPORARY)


class TestListing:
    """A plate in a few numbers."""

    def test_every_file_counts(self, share: Share) -> None:
        found = listed(share)
        assert (found.files, found.bytes, found.temporary) == (3, 15, [])
        assert found.newest_ns == max(path.stat().st_mtime_ns for path in share.root.rglob("*") if path.is_file())

    @pytest.mark.parametrize("change", ["more", "less", "longer", "later", "renamed", "moved", "swapped"])
    def test_whatever_happens_shows(self, share: Share, change: str) -> None:
        """Given one change of any kind, then the listing has another mark."""
        before = listed(share).mark()
        images = share.root / "P1/Images"
        if change == "more":
            (images / "c.tiff").touch()
        elif change == "less":
            (images / "a.tiff").unlink()
        elif change == "longer":
            (images / "a.tiff").write_bytes(bytes(6))
        elif change == "later":
            os.utime(images / "a.tiff", ns=(before.newest_ns + 1, before.newest_ns + 1))
        elif change == "renamed":
            (images / "a.tiff").rename(images / "c.tiff")
        elif change == "moved":
            (images / "a.tiff").rename(share.root / "P1/a.tiff")
        else:
            (share.root / "P1/Images2").mkdir()
            (images / "a.tiff").rename(share.root / "P1/Images2/a.tiff")
        assert listed(share).mark() != before

    def test_rights_do_not_show(self, share: Share) -> None:
        before = listed(share).mark()
        for path in share.root.rglob("*"):
            path.chmod(0o700)
        assert listed(share).mark() == before

    def test_links_and_special_files_are_counted_and_not_followed(self, share: Share) -> None:
        (share.root / "P1/link").symlink_to("/")
        os.mkfifo(share.root / "P1/fifo")
        assert listed(share).files == 5

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a.tiff.part", True),
            ("A.TMP", True),
            ("~WRL0001", True),
            (".r01c01.tiff.Ab12Cd", True),
            ("a.tiff.filepart", True),
            ("a.tiff", False),
            ("template.tiff", False),
            ("Index.idx.xml", False),
        ],
    )
    def test_temporary_names_are_told(self, share: Share, name: str, *, expected: bool) -> None:
        (share.root / "P1/Images" / name).touch()
        assert listed(share).temporary == ([name] if expected else [])

    def test_only_the_first_of_them_are_kept(self, share: Share) -> None:
        for number in range(30):
            (share.root / f"P1/{number}.tmp").touch()
        assert len(listed(share).temporary) == tree.MAX_TOLD

    def test_a_folder_that_is_gone_is_no_empty_plate(self, share: Share) -> None:
        with pytest.raises(Transient) as caught:
            listed(share, "P2")
        assert caught.value.reason is Reason.MANIFEST_DIFFERS

    def test_folders_without_end_are_refused(self, share: Share) -> None:
        (share.root / "P1" / Path(*(["d"] * (tree.MAX_DEPTH + 2)))).mkdir(parents=True)
        with pytest.raises(Permanent, match="deep"):
            listed(share)

    def test_a_share_that_fails_while_it_is_listed_is_away(self, share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given an error of the storage in the middle of a folder, then it is no shorter plate."""
        scan = os.scandir

        class Failing:
            def __init__(self, place: int) -> None:
                self._entries = scan(place)

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                self._entries.close()

            def __iter__(self) -> Self:
                return self

            def __next__(self) -> os.DirEntry[str]:
                raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "scandir", Failing)
        with pytest.raises(RequestError) as caught:
            listed(share)
        assert caught.value.reason is Reason.SHARE_UNAVAILABLE


class TestCandidates:
    """Which folders and files are plates or images."""

    def where(self, share: Share, depth: int = 1, files: tuple[str, ...] = (), *, plates: bool = True) -> Where:
        return Where(share, PurePosixPath(), depth, plates, pattern_of(files), pattern_of(IGNORED_NAMES))

    def keys(self, where: Where) -> list[str]:
        return [found.key for found in find(where).candidates]

    def test_each_folder_is_one(self, share: Share) -> None:
        (share.root / "P2").mkdir()
        (share.root / "notes.txt").touch()
        assert self.keys(self.where(share)) == ["hcs/P1", "hcs/P2"]

    def test_they_may_lie_deeper(self, share: Share) -> None:
        assert self.keys(self.where(share, depth=2)) == ["hcs/P1/Images"]

    def test_files_are_found_down_to_the_depth(self, share: Share) -> None:
        (share.root / "a.czi").touch()
        (share.root / "P1/b.CZI").touch()
        (share.root / "P1/Images/c.czi").touch()
        where = self.where(share, depth=2, files=("*.czi",))
        assert self.keys(where) == ["hcs/P1/Images", "hcs/P1/b.CZI", "hcs/a.czi"]

    def test_folders_are_no_plates_where_only_files_are_imported(self, share: Share) -> None:
        """As beside a .vsi, whose pixels lie in a folder."""
        (share.root / "a.vsi").touch()
        (share.root / "_a_").mkdir()
        assert self.keys(self.where(share, files=("*.vsi",), plates=False)) == ["hcs/a.vsi"]

    def test_links_are_not_followed(self, share: Share) -> None:
        (share.root / "link").symlink_to(share.root / "P1", target_is_directory=True)
        (share.root / "link.czi").symlink_to(share.root / "P1/Index.xml")
        assert self.keys(self.where(share, files=("*.czi",))) == ["hcs/P1"]

    def test_names_that_omero_refuses_are_passed_over(self, share: Share) -> None:
        (share.root / "P1:2").mkdir()
        assert self.keys(self.where(share)) == ["hcs/P1"]

    def test_a_watched_folder_that_is_not_there_is_no_empty_one(self, share: Share) -> None:
        where = Where(share, PurePosixPath("gone"), 1, plates=True, files=pattern_of(()), ignored=pattern_of(()))
        with pytest.raises(RequestError):
            find(where)

    def test_a_folder_that_vanishes_meanwhile_is_passed_over(
        self, share: Share, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refuse(monkeypatch, "gone", failure(Reason.MANIFEST_DIFFERS, "hcs/gone is not there"))
        (share.root / "gone").mkdir()
        found = find(self.where(share, depth=2))
        assert ([one.key for one in found.candidates], found.unseen) == (["hcs/P1/Images"], {})

    def test_a_folder_that_may_not_be_read_is_a_trouble_of_its_own(
        self, share: Share, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refuse(monkeypatch, "alice", PermissionError("permission denied"))
        (share.root / "alice").mkdir()
        found = find(self.where(share, depth=2))
        assert [one.key for one in found.candidates] == ["hcs/P1/Images"]
        assert found.unseen == {"hcs/alice": "share-unavailable: 'hcs/alice' cannot be read: permission denied"}

    @pytest.mark.parametrize("name", ["hcs", "alice"])
    def test_storage_that_fails_is_no_matter_of_one_folder(
        self, share: Share, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Nor is it one when the watched folder itself may not be read."""
        error = PermissionError("denied") if name == "hcs" else OSError("stale file handle")
        refuse(monkeypatch, "" if name == "hcs" else name, error)
        (share.root / "alice").mkdir()
        with pytest.raises(Transient, match=str(error)):
            find(self.where(share, depth=2))


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """Have one folder of the share fail."""
    entries_in = tree.entries_in

    def refusing(files: OpenFiles, components: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
        if "/".join(components) == name:
            if isinstance(error, OSError):
                raise tree.away(files.share, name, error) from error
            raise error
        yield from entries_in(files, components)

    monkeypatch.setattr(finding, "entries_in", refusing)


class TestPacing:
    """When to look again."""

    SETTINGS = WatchSettings()

    def pause(self, quiet_seconds: float, settle_seconds: float = 600.0) -> float:
        record = Record("hcs/P1", history=History(Mark(), 2, quiet_seconds, quiet_seconds))
        return pause_seconds(record, settle_seconds, self.SETTINGS)

    @pytest.mark.parametrize(("quiet", "pause"), [(0, 10), (10, 10), (40, 20), (595, 10), (700, 300), (1e6, 300)])
    def test_the_longer_nothing_changed_the_less_often(self, quiet: float, pause: float) -> None:
        assert self.pause(quiet) == pause

    @settings(deadline=None)
    @given(st.floats(0, 1e6), st.floats(1, 1e6))
    def test_it_looks_soon_after_the_settle_time(self, quiet: float, settle: float) -> None:
        """Whatever the settle time, a look comes no later than it must; and never sooner than the shortest pause."""
        pause = self.pause(quiet, settle)
        assert self.SETTINGS.poll_seconds <= pause <= self.SETTINGS.slowest_seconds
        if quiet < settle:
            assert quiet + pause <= max(settle, quiet + self.SETTINGS.poll_seconds)

    def test_tries_of_a_share_that_is_away_become_rare(self) -> None:
        assert [away_seconds(count, self.SETTINGS) for count in (1, 2, 3, 10, 10_000)] == [10, 20, 40, 300, 300]

    def test_rest_follows_work(self) -> None:
        assert breath_seconds(2.0, self.SETTINGS) == pytest.approx(18.0)
        assert breath_seconds(2.0, self.SETTINGS.model_copy(update={"busy_percent": 100})) == 0.0


class TestRecords:
    """What is remembered."""

    RECORD = Record(
        "hcs/Größe",
        State.PUBLISHED,
        "why",
        "do",
        3,
        4,
        1.5,
        ("a", "b"),
        History(Mark(1, 2, 3, 4, "x"), 2, 60.5, 61.5, 1, 2.0, 3),
        "id",
        Rest("e", 5, 6),
        "told",
    )

    @pytest.mark.parametrize("record", [RECORD, Record("hcs/P1")])
    def test_a_record_is_read_as_it_was_written(self, record: Record) -> None:
        assert from_json(to_json(record)) == record

    @pytest.mark.parametrize("text", ["", "{}", '{"key": 7}', "[]"])
    def test_anything_else_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="validation error"):
            from_json(text)

"""A tree is listed in one pass, and the files of a manifest are measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest

from fleet_common.errors import Permanent, Reason, RequestError, Transient
from fleet_common.plates import Names
from fleet_common.storage import ManifestEntry, Share, ShareReader, list_tree, measure
from support.scripts import module_of

MOST = 3.0


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """A share with a plate of four files in three folders."""
    root = tmp_path / "share"
    for path, content in {
        "plate/Images/a.tiff": "12",
        "plate/Images/b.tiff": "123",
        "plate/notes.txt": "1",
        "plate/.hidden/ü.txt": "1234",
        "other/x.tif": "1",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return Share("hcs", root)


def test_every_file_below_a_folder_is_listed_with_its_size(share: Share) -> None:
    """Paths are relative to the share, hidden files included."""
    listing = list_tree(share, "plate")
    assert sorted(listing.entries) == [
        ManifestEntry("plate/.hidden/ü.txt", 4),
        ManifestEntry("plate/Images/a.tiff", 2),
        ManifestEntry("plate/Images/b.tiff", 3),
        ManifestEntry("plate/notes.txt", 1),
    ]
    assert listing.bytes == 10
    assert (listing.share, listing.folder) == ("hcs", "plate")


def test_a_whole_share_can_be_listed(share: Share) -> None:
    """The empty path is its top."""
    assert len(list_tree(share).entries) == 5


def test_a_tree_deeper_than_any_recursion_is_listed(tmp_path: Path) -> None:
    """Given 1,050 folders inside each other; when listed; then the file at the bottom is found, however deep."""
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1050):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    finally:
        os.close(here)
    try:
        (entry,) = list_tree(Share("deep", tmp_path)).entries
        assert entry.path == "d/" * 1050 + "leaf"
    finally:
        # shutil.rmtree, which pytest uses, does recurse
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


@pytest.mark.parametrize("kind", ["link", "folder link", "dangling link", "fifo"])
def test_a_link_or_special_file_ends_the_listing_by_name(share: Share, kind: str) -> None:
    """It is neither followed nor left out silently."""
    path = share.root / "plate" / "Images" / "odd"
    makers = {
        "link": lambda: path.symlink_to(share.root / "other" / "x.tif"),
        "folder link": lambda: path.symlink_to(share.root / "other", target_is_directory=True),
        "dangling link": lambda: path.symlink_to("nowhere"),
        "fifo": lambda: os.mkfifo(path),
    }
    makers[kind]()
    with pytest.raises(Permanent, match="hcs/plate/Images/odd") as caught:
        list_tree(share, "plate")
    assert caught.value.reason is Reason.NOT_A_REGULAR_FILE


def test_a_name_that_omero_refuses_ends_the_listing(share: Share) -> None:
    """The name and the rule are in the error."""
    (share.root / "plate" / "a:b").touch()
    with pytest.raises(Permanent, match="'a:b'") as caught:
        list_tree(share, "plate")
    assert caught.value.reason is Reason.NAME_REFUSED


def test_a_name_that_is_no_unicode_ends_the_listing(share: Share) -> None:
    """It could not be written into a request."""
    Path(os.fsdecode(os.fsencode(share.root / "plate") + b"/\xff.tif")).touch()
    with pytest.raises(Permanent, match="not valid Unicode") as caught:
        list_tree(share, "plate")
    assert caught.value.reason is Reason.NAME_REFUSED


def test_a_listing_is_bounded(share: Share) -> None:
    """Nobody submits a whole file server by mistake."""
    with pytest.raises(Permanent, match="more than 3 files and folders") as caught:
        list_tree(share, "plate", max_files=3)
    assert caught.value.reason is Reason.UNSUPPORTED
    assert len(list_tree(share, "plate", max_files=4).entries) == 4


def test_a_path_too_long_for_a_request_ends_the_listing(share: Share) -> None:
    """It could be listed, but not opened."""
    here = os.open(share.root, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("x" * 250, dir_fd=here)
        inner = os.open("x" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(Permanent, match="more than 4096 characters") as caught:
        list_tree(share)
    assert caught.value.reason is Reason.UNSAFE_PATH


def test_a_folder_that_is_not_there_is_transient(share: Share) -> None:
    """The mount may be behind."""
    with pytest.raises(Transient) as caught:
        list_tree(share, "plate2")
    assert caught.value.reason is Reason.MANIFEST_DIFFERS


def test_a_link_is_not_listed_through(share: Share) -> None:
    """Also as the folder that was asked for."""
    (share.root / "link").symlink_to(share.root / "plate", target_is_directory=True)
    with pytest.raises(Permanent) as caught:
        list_tree(share, "link")
    assert caught.value.reason is Reason.NOT_A_REGULAR_FILE


def test_given_files_are_measured_and_missing_ones_left_out(share: Share) -> None:
    """One pass over each folder, other files ignored."""
    os.mkfifo(share.root / "plate" / "Images" / "ignored")
    wanted = ["plate/Images/a.tiff", "plate/Images/gone.tiff", "plate/notes.txt", "gone/a.tiff"]
    assert measure(share, wanted) == {"plate/Images/a.tiff": 2, "plate/notes.txt": 1}


def test_a_given_file_that_is_a_link_is_refused(share: Share) -> None:
    """A link is worse than a missing file."""
    (share.root / "plate" / "link").symlink_to("notes.txt")
    with pytest.raises(Permanent, match="hcs/plate/link") as caught:
        measure(share, ["plate/link"])
    assert caught.value.reason is Reason.NOT_A_REGULAR_FILE


def test_measuring_on_a_missing_mount_says_so(tmp_path: Path) -> None:
    """Else every file of every plate would seem to be missing."""
    with pytest.raises(Transient) as caught:
        measure(Share("hcs", tmp_path / "gone"), ["a/b"])
    assert caught.value.reason is Reason.SHARE_UNAVAILABLE


def test_a_reader_lists_opens_and_tells_folders(share: Share) -> None:
    """What plate formats see of a share."""
    with ShareReader(share) as reader:
        names = reader.names(PurePosixPath("plate"))
        assert (sorted(names.files), sorted(names.folders)) == (["notes.txt"], [".hidden", "Images"])
        assert reader.names(PurePosixPath("")) == Names((), names_of(share))
        assert reader.is_folder(PurePosixPath("plate/Images"))
        assert reader.is_folder(PurePosixPath(""))
        assert not reader.is_folder(PurePosixPath("plate/notes.txt"))
        assert not reader.is_folder(PurePosixPath("gone"))
        with reader.open(PurePosixPath("plate/notes.txt")) as file:
            assert file.read() == b"1"


def test_a_reader_refuses_links(share: Share) -> None:
    """Bio-Formats would follow them."""
    (share.root / "plate" / "link").symlink_to(share.root / "other", target_is_directory=True)
    with ShareReader(share) as reader:
        assert not reader.is_folder(PurePosixPath("plate/link"))
        with pytest.raises(RequestError) as caught:
            reader.names(PurePosixPath("plate"))
    assert caught.value.reason is Reason.NOT_A_REGULAR_FILE


@pytest.mark.timeout(110)
def test_100_000_files_are_listed_in_three_times_the_time_of_find(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured in turn on the same tree; the ratio is printed and kept in build/listing.json."""
    benchmark = _benchmark()
    benchmark.make_tree(tmp_path)
    comparison = benchmark.compare(tmp_path, rounds=3)
    sentence = benchmark.record(comparison)
    with capsys.disabled():
        sys.stdout.write(f"\n{sentence}\n")
    assert comparison.files == 100_000
    assert comparison.ratio <= MOST, sentence


def names_of(share: Share) -> tuple[str, ...]:
    """The folders at the top of the share, in the order of the file system."""
    return tuple(entry.name for entry in os.scandir(share.root))


def _benchmark() -> ModuleType:
    return module_of(Path(__file__).parents[2] / "benchmarks" / "listing.py")

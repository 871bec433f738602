"""Files are opened component by component, and what was swapped in is refused.

Every test runs on both ways of opening: by descriptors, and by paths as on systems without ``dir_fd``.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

from fleet_common.errors import Permanent, Reason, RequestError, Transient
from fleet_common.storage import OpenFiles, Share, open_regular, opening
from fleet_common.storage.descriptors import Handle, PathHandle, PosixHandle

CONTENT = b"pixels"


@pytest.fixture(autouse=True, params=[PosixHandle, PathHandle], ids=["descriptors", "paths"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[PosixHandle | PathHandle]:
    """How folders and files are opened."""
    monkeypatch.setattr(opening, "open_root", request.param.of)
    made: type[PosixHandle | PathHandle] = request.param
    return made


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """A share with one plate of three files, and a secret beside it."""
    images = tmp_path / "share" / "plate" / "Images"
    images.mkdir(parents=True)
    for name in ("a.tiff", "b.tiff", "c.tiff"):
        (images / name).write_bytes(CONTENT)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.tiff").write_bytes(b"secret")
    return Share("hcs", tmp_path / "share")


def refusal(share: Share, path: str, **options: int) -> RequestError:
    """The error of opening a path."""
    with pytest.raises(RequestError) as caught:
        open_regular(share, path, **options)
    return caught.value


def test_a_regular_file_is_opened(share: Share) -> None:
    """Its bytes can be read, and the size is that of the manifest."""
    with open_regular(share, "plate/Images/a.tiff", size_bytes=len(CONTENT)) as file:
        assert file.read() == CONTENT
    with open_regular(share, PurePosixPath("plate/Images/b.tiff")) as file:
        assert file.read() == CONTENT


def test_a_link_is_refused(share: Share) -> None:
    """Even one that leads to a file of the same share."""
    (share.root / "plate" / "link.tiff").symlink_to(share.root / "plate" / "Images" / "a.tiff")
    error = refusal(share, "plate/link.tiff", size_bytes=len(CONTENT))
    assert error.reason is Reason.NOT_A_REGULAR_FILE
    assert "hcs/plate/link.tiff" in str(error)


def test_a_link_to_a_folder_is_refused_as_a_component(share: Share, tmp_path: Path) -> None:
    """A path must not leave the share by a detour."""
    (share.root / "way-out").symlink_to(tmp_path / "secret", target_is_directory=True)
    assert refusal(share, "way-out/a.tiff").reason is Reason.NOT_A_REGULAR_FILE


def test_the_root_of_a_share_may_be_a_link(share: Share, tmp_path: Path) -> None:
    """It is the administrator's choice, not the producer's."""
    (tmp_path / "mount").symlink_to(share.root)
    with open_regular(Share("hcs", tmp_path / "mount"), "plate/Images/a.tiff") as file:
        assert file.read() == CONTENT


@pytest.mark.timeout(10)
def test_a_fifo_is_refused_without_waiting_for_its_writer(share: Share) -> None:
    """Opening a FIFO would block for ever."""
    os.mkfifo(share.root / "plate" / "fifo")
    assert refusal(share, "plate/fifo").reason is Reason.NOT_A_REGULAR_FILE


def test_a_folder_a_socket_and_a_device_are_refused(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only regular files hold pixels."""
    monkeypatch.chdir(share.root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert refusal(share, "socket").reason is Reason.NOT_A_REGULAR_FILE
    assert refusal(share, "plate/Images").reason is Reason.NOT_A_REGULAR_FILE
    assert refusal(Share("dev", Path("/dev")), "null").reason is Reason.NOT_A_REGULAR_FILE


def test_a_file_as_a_folder_is_refused(share: Share) -> None:
    """There is nothing below a file."""
    assert refusal(share, "plate/Images/a.tiff/b.tiff").reason is Reason.NOT_A_REGULAR_FILE


def test_a_missing_file_may_not_be_visible_yet(share: Share) -> None:
    """Transient, with the place where it was looked for."""
    error = refusal(share, "plate/Images/z.tiff")
    assert error.reason is Reason.MANIFEST_DIFFERS
    assert isinstance(error, Transient)
    assert f"looked below {share.root}" in str(error)
    assert refusal(share, "plate/other/z.tiff").reason is Reason.MANIFEST_DIFFERS


@pytest.mark.parametrize("root", ["empty", "gone"])
def test_a_missing_mount_is_told_from_a_missing_file(tmp_path: Path, root: str) -> None:
    """An empty mount point costs no attempt of any request."""
    (tmp_path / "empty").mkdir()
    error = refusal(Share("hcs", tmp_path / root), "plate/Images/a.tiff")
    assert error.reason is Reason.SHARE_UNAVAILABLE
    assert "is it mounted?" in str(error)


def test_another_size_than_the_manifest_says_is_transient(share: Share) -> None:
    """Both sizes are named."""
    error = refusal(share, "plate/Images/a.tiff", size_bytes=7)
    assert error.reason is Reason.MANIFEST_DIFFERS
    assert "has 6 bytes here, the manifest says 7" in str(error)


def test_an_empty_file_is_refused_where_no_manifest_says_so(share: Share) -> None:
    """Nothing to import; but a file that is empty here only may still be on its way."""
    (share.root / "empty.tiff").touch()
    assert refusal(share, "empty.tiff").reason is Reason.FILE_EMPTY
    assert refusal(share, "empty.tiff", size_bytes=5).reason is Reason.MANIFEST_DIFFERS
    with open_regular(share, "empty.tiff", size_bytes=0) as file:
        assert file.read() == b""


@pytest.mark.parametrize("path", ["../secret/a.tiff", "/etc/passwd", "plate/./Images/a.tiff", ""])
def test_an_unsafe_path_is_not_even_tried(share: Share, path: str) -> None:
    """The check comes before the operating system."""
    error = refusal(share, path)
    assert error.reason is Reason.UNSAFE_PATH
    assert isinstance(error, Permanent)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "permission denied"), (errno.EIO, "Input/output error"), (errno.ESTALE, "Stale file handle")],
)
def test_trouble_of_the_storage_is_not_the_fault_of_the_request(
    share: Share,
    way: type[PosixHandle | PathHandle],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
) -> None:
    """The share is unavailable, which costs no attempt."""

    def fail(_self: object, _name: str) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(way, "file", fail)
    error = refusal(share, "plate/Images/a.tiff")
    assert error.reason is Reason.SHARE_UNAVAILABLE
    assert words in str(error)


def test_a_link_swapped_in_for_the_file_is_refused(share: Share, tmp_path: Path) -> None:
    """Given a folder that is already open; when a listed file becomes a link; then it is not followed."""
    images = share.root / "plate" / "Images"
    with OpenFiles(share) as files:
        files.open("plate/Images/a.tiff").close()
        (images / "b.tiff").unlink()
        (images / "b.tiff").symlink_to(tmp_path / "secret" / "a.tiff")
        with pytest.raises(Permanent) as caught:
            files.open("plate/Images/b.tiff", size_bytes=len(CONTENT))
    assert caught.value.reason is Reason.NOT_A_REGULAR_FILE


def test_a_link_swapped_in_for_a_folder_leads_nowhere_else(share: Share, tmp_path: Path) -> None:
    """Given a listed plate; when its folder becomes a link to a secret; then no byte of the secret is read."""
    images = share.root / "plate" / "Images"
    with OpenFiles(share) as files:
        files.open("plate/Images/a.tiff").close()
        images.rename(tmp_path / "moved")
        images.symlink_to(tmp_path / "secret", target_is_directory=True)
        try:
            with files.open("plate/Images/a.tiff", size_bytes=len(CONTENT)) as file:
                assert file.read() == CONTENT
        except Permanent as error:
            assert error.reason is Reason.NOT_A_REGULAR_FILE  # noqa: PT017  which of the two depends on the way
    assert refusal(share, "plate/Images/a.tiff").reason is Reason.NOT_A_REGULAR_FILE


def swapping(act: Callable[[], None], method: Callable[..., Handle | int]) -> Callable[..., Handle | int]:
    """Swap in the moment between the opening of one component and that of the next."""

    def opened(handle: object, name: str) -> Handle | int:
        act()
        return method(handle, name)

    return opened


def test_a_link_swapped_in_between_two_components_is_refused(
    share: Share, tmp_path: Path, way: type[PosixHandle | PathHandle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the walk is at the plate; when Images becomes a link just then; then it is refused."""
    images = share.root / "plate" / "Images"

    def swap() -> None:
        if not images.is_symlink() and threading.current_thread() is threading.main_thread() and seen:
            images.rename(tmp_path / "moved")
            images.symlink_to(tmp_path / "secret", target_is_directory=True)
        seen.append("component")

    seen: list[str] = []
    monkeypatch.setattr(way, "child", swapping(swap, way.child))
    assert refusal(share, "plate/Images/a.tiff").reason is Reason.NOT_A_REGULAR_FILE
    assert images.is_symlink()


def test_a_file_exchanged_while_it_is_opened_by_path_is_refused(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a system without O_NOFOLLOW; when the file is exchanged after its check; then its identity shows it."""
    image = share.root / "plate" / "Images" / "a.tiff"
    real_open = os.open

    def exchanging(path: Path, flags: int) -> int:
        descriptor = real_open(path, flags)
        image.unlink()
        image.write_bytes(CONTENT)
        return descriptor

    handle = PathHandle.of(share.root).child("plate").child("Images")
    monkeypatch.setattr("fleet_common.storage.descriptors.os.open", exchanging)
    with pytest.raises(OSError, match="was exchanged"):
        handle.file("a.tiff")


def test_many_threads_open_many_files_of_many_folders(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given fewer kept folders than threads use; when all open files; then each gets its own and nothing leaks."""
    monkeypatch.setattr(opening, "MAX_OPEN_FOLDERS", 2)
    paths = [f"plate/{folder}/{name}" for folder in range(8) for name in range(20)]
    for path in paths:
        (share.root / path).parent.mkdir(exist_ok=True)
        (share.root / path).write_text(path)

    def read(path: str) -> str:
        with files.open(path, size_bytes=len(path)) as file:
            return file.read().decode()

    before = open_descriptors()
    with OpenFiles(share) as files, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(read, paths * 4)) == paths * 4
    assert open_descriptors() == before


def test_nothing_leaks_when_files_are_refused(share: Share) -> None:
    """A worker runs for months."""
    before = open_descriptors()
    for _ in range(5):
        refusal(share, "plate/Images/a.tiff", size_bytes=1)
        refusal(share, "plate/Images/a.tiff/x")
        refusal(share, "plate/nothing/x")
    assert open_descriptors() == before


def test_a_file_stays_open_after_its_folders_were_closed(share: Share) -> None:
    """Who opens a file closes it."""
    with OpenFiles(share) as files:
        file = files.open("plate/Images/a.tiff")
    with file:
        assert file.read() == CONTENT


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(autouse=True)
def _no_descriptor_is_left(way: type[PosixHandle | PathHandle]) -> Iterator[None]:
    """Every test of this module gives back what it took."""
    del way
    before = open_descriptors()
    yield
    assert open_descriptors() == before

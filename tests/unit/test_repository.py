"""Whether a folder is OMERO's managed repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_common.errors import Reason, RequestError
from fleet_worker.repository import Repository

UUID = "66bba724-6568-4299-a9af-1f07b696f785"
ANOTHER = "f5c17b51-f00c-4606-9fdd-86d6b1390b5b"


def a_repository(root: Path, *uuids: str) -> Repository:
    """A folder as OMERO leaves it, used by as many databases."""
    for number, uuid in enumerate(uuids):
        folder = root / ".omero" / "repository" / f"database-{number}"
        folder.mkdir(parents=True)
        # As Java's writeUTF does it: the length first.
        (folder / "repo_uuid").write_bytes(len(uuid).to_bytes(2, "big") + uuid.encode())
    return Repository(root)


def refusal(repository: Repository) -> str:
    """What is said of a folder that is not the server's repository."""
    with pytest.raises(RequestError) as caught:
        repository.check(UUID)
    assert caught.value.reason is Reason.REPOSITORY_UNAVAILABLE
    return str(caught.value)


@pytest.mark.parametrize("uuids", [(UUID,), (ANOTHER, UUID)])
def test_the_servers_own_is_accepted(tmp_path: Path, uuids: tuple[str, ...]) -> None:
    """Also where several databases have used it."""
    a_repository(tmp_path, *uuids).check(UUID)


def test_another_servers_is_refused_with_both_ids(tmp_path: Path) -> None:
    """Links in it would be of no use, or of harm."""
    said = refusal(a_repository(tmp_path, ANOTHER))
    assert ANOTHER in said
    assert UUID in said


def test_an_empty_mount_point_is_refused(tmp_path: Path) -> None:
    """Nothing is mounted."""
    assert "No such file or directory" in refusal(Repository(tmp_path))


def test_a_folder_without_an_id_is_refused(tmp_path: Path) -> None:
    """Given a server that never came up with it."""
    (tmp_path / ".omero" / "repository").mkdir(parents=True)
    assert "is it mounted?" in refusal(Repository(tmp_path))

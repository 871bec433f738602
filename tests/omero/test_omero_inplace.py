"""Imports in place on a real OMERO: links instead of files, what it compares, and that sources outlive a deletion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from fleet_common.errors import Reason, RequestError
from fleet_common.events import Transfer
from fleet_common.messages import ChecksumAlgorithm
from fleet_common.storage import ManifestEntry, OpenFiles, Share
from fleet_stack.description import OmeroDescription
from fleet_stack.plates import MadePlate, PlateSpec, make_plate
from fleet_worker.linking import Links
from fleet_worker.omero.facts import ImportSpec
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.queries import rows
from fleet_worker.omero.session import OwnerSession
from fleet_worker.omero.state import State, classify
from fleet_worker.omero.upload import RegisteredImport
from fleet_worker.repository import Repository
from fleet_worker.verification import file_problems
from omero_imports import (
    DEADLINE_SECONDS,
    HARMONY_READER,
    import_folder,
    never,
    nobody,
    repository_of,
    spec_of,
    state_of,
)

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def plate(share: Path) -> MadePlate:
    """Four wells, two fields, two channels, in folders of their own."""
    return make_plate(share, PlateSpec(name="p1", wells=4, fields=2, channels=2, size=32))


@pytest.fixture
def links(omero_server: OmeroDescription, share: Path) -> Links:
    """The server sees the share where this process does."""
    return Links(repository_of(omero_server), {share.name: PurePosixPath(share)}, parallel=3)


def linked_spec(share: Path, files: Sequence[Path], algorithm: ChecksumAlgorithm) -> ImportSpec:
    """What to import, in place."""
    return spec_of(share, files, reader_class=HARMONY_READER, algorithm=algorithm, transfer=Transfer.LN_S)


def entries_of(share: Path, files: Sequence[Path]) -> tuple[ManifestEntry, ...]:
    """The manifest."""
    return tuple(ManifestEntry(file.relative_to(share).as_posix(), file.stat().st_size) for file in files)


def link_all(links: Links, registered: RegisteredImport, share: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """Import all files in place, as far as an upload would go."""
    with OpenFiles(Share(share.name, share)) as opened:
        return links.send(
            opened,
            entries_of(share, files),
            registered,
            limit=None,
            on_bytes=nobody,
            on_begin=never,
            on_file=never,
            check=never,
        )


def refused(links: Links, registered: RegisteredImport, share: Path, files: Sequence[Path]) -> RequestError:
    """Import in place, and fail."""
    with pytest.raises(RequestError) as caught:
        link_all(links, registered, share, files)
    return caught.value


def files_below(folder: Path) -> list[Path]:
    """Everything in a folder that is no folder."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())


@pytest.mark.parametrize("algorithm", [ChecksumAlgorithm.SHA1_160, ChecksumAlgorithm.FILE_SIZE_64])
def test_a_plate_is_imported_from_links_and_its_sources_outlive_it(  # noqa: PLR0917  fixtures
    alice: OwnerSession,
    omero_server: OmeroDescription,
    links: Links,
    share: Path,
    plate: MadePlate,
    algorithm: ChecksumAlgorithm,
) -> None:
    """Given a plate, when links to its files are imported, then OMERO holds them all; deleted, it takes the links."""
    contents = {file: file.read_bytes() for file in plate.files}
    registered = alice.register(linked_spec(share, plate.files, algorithm))
    folder = import_folder(alice, omero_server, registered.fileset_id)

    hashes = link_all(links, registered, share, plate.files)
    running = registered.start(hashes)
    running.wait(deadline_seconds=DEADLINE_SECONDS, on_step=nobody, stop=never)
    facts = alice.verify(registered.fileset_id)

    assert file_problems(entries_of(share, plate.files), hashes, facts.files) == []
    assert len(facts.plates[0].wells) == len(plate.wells)
    assert sorted(link.readlink() for link in files_below(folder) if link.is_symlink()) == sorted(plate.files)
    assert transfers_of(alice, registered.fileset_id) == ["ome.formats.importer.transfers.SymlinkFileTransfer"]
    alice.delete_fileset(registered.fileset_id)
    assert not folder.exists()
    assert {file: file.read_bytes() for file in plate.files} == contents


def test_a_half_made_fileset_takes_nothing_but_its_links(  # noqa: PLR0917  fixtures
    alice: OwnerSession, gateway: Gateway, omero_server: OmeroDescription, links: Links, share: Path, plate: MadePlate
) -> None:
    """Given links of which one leads nowhere by now, when the debris is removed, then all other sources are there."""
    spec = linked_spec(share, plate.files, ChecksumAlgorithm.SHA1_160)
    registered = alice.register(spec)
    folder = import_folder(alice, omero_server, registered.fileset_id)
    link_all(links, registered, share, plate.files)
    registered.close()
    assert classify(state_of(gateway, spec)) is State.UPLOAD_UNFINISHED
    gone, *others = plate.files
    gone.unlink()

    alice.delete_fileset(registered.fileset_id)

    assert not folder.exists()
    assert all(file.is_file() for file in others)


class TestWhatOmeroSees:
    """The same path may be something else in the eyes of the server."""

    def test_other_content_is_refused(
        self, alice: OwnerSession, omero_server: OmeroDescription, share: Path, plate: MadePlate, tmp_path: Path
    ) -> None:
        """Given a server whose share has a file of the same size with another byte."""
        theirs = copied(share, plate.files, tmp_path / "theirs")
        other = theirs / plate.files[-1].relative_to(share)
        other.write_bytes(other.read_bytes()[:-1] + b"?")
        links = Links(repository_of(omero_server), {share.name: PurePosixPath(theirs)}, parallel=2)
        registered = alice.register(linked_spec(share, plate.files, ChecksumAlgorithm.SHA1_160))

        error = refused(links, registered, share, plate.files)

        assert error.reason is Reason.UPLOAD_DIFFERS
        assert plate.files[-1].name in str(error)

    @pytest.mark.parametrize(
        ("algorithm", "reason"),
        [
            (ChecksumAlgorithm.SHA1_160, Reason.SHARE_UNAVAILABLE),
            (ChecksumAlgorithm.FILE_SIZE_64, Reason.UPLOAD_DIFFERS),
        ],
    )
    def test_a_share_that_the_server_does_not_see_is_refused(  # noqa: PLR0917  fixtures
        self,
        alice: OwnerSession,
        omero_server: OmeroDescription,
        share: Path,
        plate: MadePlate,
        algorithm: ChecksumAlgorithm,
        reason: Reason,
    ) -> None:
        """Given settings that name a path which is nowhere on the server."""
        links = Links(repository_of(omero_server), {share.name: PurePosixPath("/nowhere")}, parallel=2)
        registered = alice.register(linked_spec(share, plate.files, algorithm))

        error = refused(links, registered, share, plate.files)

        assert error.reason is reason
        assert "in_place.shares" in str(error)


class TestTheFolder:
    """What is in the fileset's folder already."""

    def test_own_links_stay(self, alice: OwnerSession, links: Links, share: Path, plate: MadePlate) -> None:
        """Given an import whose files are linked, when it is done again, then the hashes are the same."""
        registered = alice.register(linked_spec(share, plate.files, ChecksumAlgorithm.SHA1_160))
        assert link_all(links, registered, share, plate.files) == link_all(links, registered, share, plate.files)

    def test_what_somebody_put_there_is_not_replaced(
        self, alice: OwnerSession, omero_server: OmeroDescription, links: Links, share: Path, plate: MadePlate
    ) -> None:
        """Given a file that has the name of a link."""
        registered = alice.register(linked_spec(share, plate.files, ChecksumAlgorithm.SHA1_160))
        taken = repository_of(omero_server) / registered.in_place.held()[0].path
        taken.write_text("somebody's")

        error = refused(links, registered, share, plate.files)

        assert error.reason is Reason.REPOSITORY_UNAVAILABLE
        assert taken.read_text() == "somebody's"


def test_the_repository_is_told_from_others_by_its_uuid(
    gateway: Gateway, omero_server: OmeroDescription, tmp_path: Path
) -> None:
    """Given the server's own repository, one of another server, and a folder where nothing is mounted."""
    uuid = gateway.server_info().repository_uuid
    Repository(repository_of(omero_server)).check(uuid)
    for root, wanted in ((repository_of(omero_server), "another"), (tmp_path, uuid)):
        with pytest.raises(RequestError) as caught:
            Repository(root).check(wanted)
        assert caught.value.reason is Reason.REPOSITORY_UNAVAILABLE


def copied(share: Path, files: Sequence[Path], to: Path) -> Path:
    """The files of a share below another folder."""
    for file in files:
        copy = to / file.relative_to(share)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return to


def transfers_of(session: OwnerSession, fileset_id: int) -> list[str]:
    """How OMERO's importer would say that the files came."""
    hql = """
        select a.id, a.textValue from FilesetAnnotationLink l, CommentAnnotation a where l.child.id = a.id
        and l.parent.id = :id and a.ns = 'openmicroscopy.org/omero/import/fileTransfer'
    """
    return [row[1] for row in rows(session._connection, "a test", hql, {"id": fileset_id})]

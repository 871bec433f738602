"""What is sent to ``importFileset``, when it is tried again, and what is refused before."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import omero
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import Permanent, Reason, RequestError, Transient
from fleet_common.messages import ChecksumAlgorithm, Skip
from fleet_common.targets import Kind
from fleet_worker.omero import register as module
from fleet_worker.omero.facts import ImportSpec, ResolvedTarget, SpecFile
from fleet_worker.omero.filesets import NAMESPACE
from fleet_worker.omero.register import TRIES, check_paths, register
from fleet_worker.omero.running import RunningCount


def spec_of(*paths: str, **changes: object) -> ImportSpec:
    """A spec with these files."""
    values: dict[str, Any] = {
        "request_id": "r-1",
        "digest": "d" * 64,
        "attempt": 2,
        "source": paths[0],
        "format": "harmony",
        "files": tuple(SpecFile(path, 1) for path in paths),
    }
    return ImportSpec(**(values | changes))


@dataclass
class Repository:
    """A server that fails as told, then takes what it is given."""

    errors: list[Exception] = field(default_factory=list)
    calls: list[tuple[Any, Any]] = field(default_factory=list)

    def importFileset(self, fileset: Any, settings: Any) -> object:  # noqa: N802  OMERO's name
        """Take an import, or fail."""
        self.calls.append((fileset, settings))
        if self.errors:
            raise self.errors.pop(0)
        return object()


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The server; every registration gets fileset 7."""
    monkeypatch.setattr(module, "_fileset_id", lambda *_: 7)
    return Repository()


def registered(repository: Repository, spec: ImportSpec, pauses: list[float] | None = None) -> int:
    """Register, and give the fileset's id."""
    connection: Any = SimpleNamespace(repository=repository)
    heard: list[float] = [] if pauses is None else pauses
    return register(connection, spec, running=RunningCount(), pause=heard.append, jitter=lambda: 0.5).fileset_id


class TestGraph:
    """What goes over the wire."""

    def test_the_key_annotation_is_part_of_the_fileset(self, repository: Repository) -> None:
        """So that no attempt can leave a fileset without it."""
        assert registered(repository, spec_of("hcs/a.xml", "hcs/b.tif", skip=(Skip.MINMAX, Skip.THUMBNAILS))) == 7
        fileset = repository.calls[0][0]
        assert [entry.clientPath.val for entry in fileset.copyUsedFiles()] == ["hcs/a.xml", "hcs/b.tif"]
        (annotation,) = fileset.linkedAnnotationList()
        pairs = {pair.name: pair.value for pair in annotation.mapValue}
        assert annotation.ns.val == NAMESPACE
        assert pairs.pop("registration")
        assert pairs == {
            "request_id": "r-1",
            "digest": "d" * 64,
            "attempt": "2",
            "fleet_version": "0",
            "source": "hcs/a.xml",
            "format": "harmony",
            "skip": "minmax,thumbnails",
            "transfer": "upload",
        }

    def test_the_reader_class_is_told_where_it_is_known(self, repository: Repository) -> None:
        """The server asks it how many folders to keep; every value is a string, None would break the call."""
        registered(repository, spec_of("hcs/a", reader_class="loci.formats.in.OperettaReader"))
        registered(repository, spec_of("hcs/a"))
        with_reader, without = (self.version_info(call[0]) for call in repository.calls)
        assert with_reader["bioformats.reader"] == "loci.formats.in.OperettaReader"
        assert "bioformats.reader" not in without
        assert all(with_reader.values())

    @staticmethod
    def version_info(fileset: Any) -> dict[str, str]:
        """What the upload job says of its client."""
        (job,) = fileset.linkedJobList()
        return {pair.name: pair.value for pair in job.getVersionInfo()}

    def test_without_wishes_the_server_decides(self, repository: Repository) -> None:
        """A null name is what the official importer sends, too."""
        registered(repository, spec_of("hcs/a"))
        settings = repository.calls[0][1]
        assert settings.checksumAlgorithm.value.val == "SHA1-160"
        assert settings.userSpecifiedName is None
        assert settings.userSpecifiedTarget is None
        assert settings.doThumbnails is None
        assert settings.noStatsInfo is None

    def test_wishes_are_passed_on(self, repository: Repository) -> None:
        """Target, name, description, and all that may be skipped."""
        target = ResolvedTarget(Kind.SCREEN, 51, "S")
        registered(repository, spec_of("hcs/a", target=target, name="n", description="d", skip=tuple(Skip)))
        settings = repository.calls[0][1]
        assert isinstance(settings.userSpecifiedTarget, omero.model.ScreenI)
        assert settings.userSpecifiedTarget.id.val == 51
        assert (settings.userSpecifiedName.val, settings.userSpecifiedDescription.val) == ("n", "d")
        assert settings.doThumbnails.val is False
        assert settings.noStatsInfo.val is True
        assert settings.checksumAlgorithm.value.val == "File-Size-64"

    def test_to_skip_checksums_wins_over_an_algorithm(self) -> None:
        """As ``omero import --skip checksum`` does."""
        spec = spec_of("hcs/a", algorithm=ChecksumAlgorithm.MD5_128)
        assert spec.effective_algorithm is ChecksumAlgorithm.MD5_128
        assert replace(spec, skip=(Skip.CHECKSUM,)).effective_algorithm is ChecksumAlgorithm.FILE_SIZE_64


class TestRaces:
    """Two sessions of one user that make the same folders."""

    @pytest.mark.parametrize("kind", [omero.ValidationException, omero.ResourceError])
    def test_a_half_made_folder_is_waited_for(self, repository: Repository, kind: type[Exception]) -> None:
        """With a pause that grows, and a key of its own each time."""
        repository.errors = [kind(), kind()]
        pauses: list[float] = []
        assert registered(repository, spec_of("hcs/a"), pauses) == 7
        assert pauses == pytest.approx([0.3, 0.6])
        assert len({self.registration(call[0]) for call in repository.calls}) == 3

    @staticmethod
    def registration(fileset: Any) -> str:
        """What tells this call from all others."""
        (annotation,) = fileset.linkedAnnotationList()
        return str(next(pair.value for pair in annotation.mapValue if pair.name == "registration"))

    def test_it_is_given_up(self, repository: Repository) -> None:
        """Then something else is wrong."""
        repository.errors = [omero.ResourceError() for _ in range(TRIES)]
        with pytest.raises(Transient) as caught:
            registered(repository, spec_of("hcs/a"))
        assert caught.value.reason is Reason.IMPORT_FAILED
        assert len(repository.calls) == TRIES

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (omero.FilePathNamingException(), Reason.NAME_REFUSED),
            (omero.SecurityViolation(message="User 3 is not a member of group 3"), Reason.OWNER_NOT_IN_GROUP),
            (omero.DatabaseBusyException(), Reason.OMERO_BUSY),
        ],
    )
    def test_nothing_else_is_tried_again(self, repository: Repository, error: Exception, reason: Reason) -> None:
        """A second fileset could be the result."""
        repository.errors = [error]
        with pytest.raises(RequestError) as caught:
            registered(repository, spec_of("hcs/a"))
        assert caught.value.reason is reason
        assert len(repository.calls) == 1


class TestPaths:
    """What the server would answer with an internal error."""

    def test_two_paths_that_differ_in_case_only(self) -> None:
        """They cannot lie side by side on every file system that OMERO may use."""
        with pytest.raises(Permanent) as caught:
            check_paths(spec_of("hcs/p/a.tif", "hcs/P/A.tif", reader_class="x"))
        assert caught.value.reason is Reason.NAME_REFUSED

    @pytest.mark.parametrize(
        ("paths", "fits"),
        [
            (("s/a.tif",), True),
            (("s/1/2/3/4/5/a.tif",), True),
            (("s/p/Images/i.xml", "s/p/Assay/a.xml"), True),
            (("s/1/2/3/a.tif", "s/x/2/3/b.tif"), True),
            (("s/1/2/3/4/a.tif", "s/x/2/3/4/b.tif"), False),
            (("s/p/a.xml", "s/p/1/2/3/4/5/6/b.tif"), True),
        ],
    )
    def test_files_that_part_early_need_a_reader(self, paths: tuple[str, ...], fits: bool) -> None:  # noqa: FBT001  a column of the table
        """The server cuts paths at three folders above the shallowest file, and fails above their common root."""
        check_paths(spec_of(*paths, reader_class="x"))
        if fits:
            check_paths(spec_of(*paths))
        else:
            with pytest.raises(Permanent) as caught:
                check_paths(spec_of(*paths))
            assert caught.value.reason is Reason.UNSUPPORTED

    @given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=7), st.integers(0, 2))
    def test_files_of_one_folder_always_fit(self, folders: list[str], more: int) -> None:
        """However deep, and whatever lies below it."""
        folder = "/".join(folders)
        below = "x/" * more
        check_paths(spec_of(f"s/{folder}/one.tif", f"s/{folder}/{below}two.tif"))

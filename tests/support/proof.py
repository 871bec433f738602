"""Looks into OMERO and its repository for what became of a request, with root's login and none of the fleet's code.

Threading: every method may be called from any thread; the login is made anew when OMERO was restarted.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import omero
import omero.model
import omero.rtypes
import omero.sys
from omero.gateway import BlitzGateway

from fleet_stack.description import OmeroDescription
from support.waiting import until

_KEY: Final = """
    select distinct link.parent.id from FilesetAnnotationLink link join link.child.mapValue pair
    where link.child.ns = 'omero-import-fleet/request' and pair.name = 'request_id' and pair.value = :request
"""
_IMAGES: Final = "select count(i), count(distinct i.series) from Image i where i.fileset.id = :id"
_PENDING: Final = "select count(p) from Pixels p where p.image.fileset.id = :id and p.sha1 like 'Pending%'"
_FILES: Final = """
    select o.path, o.name, o.size, o.hash from FilesetEntry e join e.originalFile o where e.fileset.id = :id
"""
_PLATES: Final = """
    select count(distinct p.id) from WellSample s join s.well w join w.plate p where s.image.fileset.id = :id
"""
_UPLOADED: Final = "select u.status.value from FilesetJobLink l, UploadJob u where l.parent.id = :id and l.child = u"
_FOLDER: Final = "select f.templatePrefix from Fileset f where f.id = :id"
_UNFINISHED: Final = """
    select distinct f.id from FilesetAnnotationLink link join link.parent f join link.child a
    where a.ns = 'omero-import-fleet/request'
    and f.id not in (select i.fileset.id from Image i where i.fileset is not null)
"""
_LENT: Final = "select s.uuid from Session s where s.closed is null and s.sudoer is not null"
_SESSIONS_END_SECONDS: Final = 240.0
"""A server on a busy machine that has to end imports first takes its time."""


@dataclass(frozen=True, slots=True)
class Held:
    """What OMERO holds of one fileset.

    Attributes:
        images: How many.
        series: How many different series these images have; less than the images where an import ended half way.
        pending: Images whose pixels were never read.
        plates: How many plates show these images.
        uploaded: What the server says of the upload.
        folder: Where the repository has its files.
        files: Size and SHA-1 of each file by its path below that folder, as OMERO's database says.
        on_disk: The same, of what lies in the repository.
    """

    fileset: int
    images: int
    series: int
    pending: int
    plates: int
    uploaded: str
    folder: Path
    files: Mapping[str, tuple[int, str]]
    on_disk: Mapping[str, tuple[int, str]]


class Proof:
    """Root's view of one stack's OMERO.

    Args:
        omero: Where it is.
        repository: The folder of its managed repository.
    """

    def __init__(self, omero: OmeroDescription, repository: Path) -> None:
        self._omero = omero
        self._repository = repository
        self._lock = threading.Lock()
        self._gateway: Any = None

    def query(self, hql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Rows over all groups."""
        try:
            found = self._projection(hql, parameters)
        except Exception:
            # Whatever Ice says of a session that is gone: once more with a new one.
            self.close()
            found = self._projection(hql, parameters)
        return [tuple(None if value is None else value.val for value in row) for row in found]

    def filesets_of(self, request_id: str) -> list[int]:
        """Ids of all filesets that carry this request id, whoever owns them."""
        return sorted(row[0] for row in self.query(_KEY, request=request_id))

    def held(self, fileset: int) -> Held:
        """Everything about one fileset."""
        ((images, series),) = self.query(_IMAGES, id=fileset)
        ((prefix,),) = self.query(_FOLDER, id=fileset)
        rows = self.query(_FILES, id=fileset)
        return Held(
            fileset=fileset,
            images=images,
            series=series,
            pending=self.query(_PENDING, id=fileset)[0][0],
            plates=self.query(_PLATES, id=fileset)[0][0],
            uploaded=str(self.query(_UPLOADED, id=fileset)[0][0]),
            folder=self._repository / prefix,
            files={f"{path}{name}".removeprefix(prefix): (size, sha1) for path, name, size, sha1 in rows},
            on_disk={
                f"{path}{name}".removeprefix(prefix): measured(self._repository / path / name)
                for path, name, _, _ in rows
            },
        )

    def one_complete_fileset(self, request_id: str, share: Path, files: Sequence[Path], images: int) -> Held:
        """The only fileset of a request.

        Args:
            request_id: Of the request.
            share: The folder of its share.
            files: What the request is made of, on that share.
            images: How many images OMERO makes of them.

        Raises:
            AssertionError: There is none, or more than one, or it is not complete, or other bytes than the files'.
        """
        found = self.filesets_of(request_id)
        assert len(found) == 1, f"filesets of request {request_id}: {found}"
        held = self.held(found[0])
        assert (held.images, held.series, held.pending, held.uploaded) == (images, images, 0, "Finished"), held
        # The server keeps the end of each path, and pairs clientPath with the wrong file over several folders.
        kept = {
            file: name for file in files for name in held.files if f"/{file.relative_to(share)}".endswith(f"/{name}")
        }
        expected = {kept.get(file, str(file)): measured(file) for file in files}
        assert held.files == expected, "OMERO's own records differ from the files"
        assert held.on_disk == expected, "what lies in OMERO's repository differs from the files"
        return held

    def folders_with(self, name: str) -> list[Path]:
        """Import folders of the repository that hold a folder or file of this name, at any depth."""
        found = self._repository.rglob(name)
        return sorted({self._import_folder(path) for path in found})

    def folders_without_fileset(self) -> list[Path]:
        """Import folders that no fileset names; those of dates are none."""
        named = {self._repository / row[0] for row in self.query("select f.templatePrefix from Fileset f")}
        return sorted(folder for folder in self._import_folders() if folder not in named)

    def unfinished(self) -> list[int]:
        """Filesets of the fleet without an image."""
        return sorted(row[0] for row in self.query(_UNFINISHED))

    def end_sessions(self) -> None:
        """Do what OMERO does to the sessions of silent clients: end all that were opened for somebody else.

        Raises:
            AssertionError: The database still calls one of them open after four minutes.
        """
        what = "the end of all sessions of owners"
        until(lambda: not self._end_open_sessions(), _SESSIONS_END_SECONDS, what, pause_seconds=1.0)

    def _end_open_sessions(self) -> int:
        """End those that are open; how many the database knew."""
        service = self._root().c.sf.getSessionService()
        found = self.query(_LENT)
        for (uuid,) in found:
            session = omero.model.SessionI()
            session.uuid = omero.rtypes.rstring(uuid)
            # Every call takes one reference away, the last one the session.
            with suppress(omero.RemovedSessionException):
                while service.closeSession(session) > 0:
                    pass
        return len(found)

    def close(self) -> None:
        """Log out."""
        with self._lock:
            gateway, self._gateway = self._gateway, None
        if gateway is not None:
            gateway.close()

    def _import_folders(self) -> Iterable[Path]:
        """``<user>_<id>/<year>-<month>/<day>/<time>``, the server's own template."""
        return (path for path in self._repository.glob("*_*/*/*/*") if path.is_dir())

    def _import_folder(self, path: Path) -> Path:
        return self._repository.joinpath(*path.relative_to(self._repository).parts[:4])

    def _projection(self, hql: str, parameters: Mapping[str, Any]) -> Any:
        return self._root().getQueryService().projection(hql, _parameters(parameters), {"omero.group": "-1"})

    def _root(self) -> Any:
        with self._lock:
            if self._gateway is None:
                password = self._omero.users["root"].read_text(encoding="utf-8").strip()
                gateway = BlitzGateway("root", password, host=self._omero.host, port=self._omero.ssl_port, secure=True)
                assert gateway.connect(), "root cannot log in to OMERO"
                self._gateway = gateway
            return self._gateway


def measured(file: Path) -> tuple[int, str]:
    """Size and SHA-1 of a file; zero and nothing where there is none."""
    if not file.is_file():
        return 0, ""
    content = file.read_bytes()
    return len(content), hashlib.sha1(content).hexdigest()  # noqa: S324  OMERO's own checksum, not a secret's


def _parameters(values: Mapping[str, Any]) -> Any:
    parameters = omero.sys.ParametersI()
    for name, value in values.items():
        if isinstance(value, int):
            parameters.addLong(name, value)
        else:
            parameters.addString(name, value)
    return parameters

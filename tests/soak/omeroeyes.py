"""Looks into OMERO as its root, with omero-py and on the server's disk, with none of the fleet's code.

Threading: one thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import omero.sys

from soak.facts import Held, OpenSession
from soak.material import Content, content_of

_IMPORTER: Final = "importer"
_ALL_GROUPS: Final = {"omero.group": "-1"}
_FILESETS: Final = """
    select f.id, o.omeName, g.name, f.templatePrefix from Fileset f
    join f.details.owner o join f.details.group g order by f.id"""
_REQUESTS: Final = """
    select l.parent.id, mv.value from FilesetAnnotationLink l join l.child a join a.mapValue mv
    where a.ns = 'omero-import-fleet/request' and mv.name = 'request_id'"""
_FILES: Final = """
    select e.fileset.id, o.path, o.name, o.size, o.hash from FilesetEntry e join e.originalFile o"""
_IMAGES: Final = """
    select i.fileset.id, count(i), count(distinct i.series) from Image i where i.fileset is not null
    group by i.fileset.id"""
_PENDING: Final = """
    select i.fileset.id, count(p) from Pixels p join p.image i where p.sha1 like 'Pending%' and i.fileset is not null
    group by i.fileset.id"""
_PLATES: Final = """
    select i.fileset.id, count(distinct w.plate.id) from WellSample s join s.image i join s.well w
    where i.fileset is not null group by i.fileset.id"""
_DIRECTORIES: Final = "select o.id, o.path, o.name from OriginalFile o where o.mimetype = 'Directory'"
_SESSIONS: Final = """
    select s.id, s.started, s.timeToIdle, o.omeName, z.omeName from Session s join s.owner o left outer join s.sudoer z
    where s.closed is null"""


@dataclass(frozen=True, slots=True)
class OmeroEyes:
    """The OMERO of one stack.

    Attributes:
        root: omero-py's gateway for OMERO's root, who sees all groups.
        repository: The folder of the managed repository.
    """

    root: Any
    repository: Path

    def filesets(self) -> tuple[Held, ...]:
        """Everything that was imported, whole or not."""
        requests = _grouped(self._rows(_REQUESTS))
        files = _grouped(self._rows(_FILES))
        images = {row[0]: row for row in self._rows(_IMAGES)}
        pending, plates = (dict(self._rows(hql)) for hql in (_PENDING, _PLATES))
        return tuple(
            Held(
                fileset=fileset,
                request_ids=tuple(sorted({value for (value,) in requests[fileset]})),
                owner=(owner, group),
                prefix=prefix or "",
                told=_sorted(Content(name, size or 0, digest or "") for _, name, size, digest in files[fileset]),
                found=_sorted(self._on_disk(path, name) for path, name, _, _ in files[fileset]),
                images=images.get(fileset, (0, 0, 0))[1],
                series=images.get(fileset, (0, 0, 0))[2],
                pending=pending.get(fileset, 0),
                plates=plates.get(fileset, 0),
            )
            for fileset, owner, group, prefix in self._rows(_FILESETS)
        )

    def folders(self) -> frozenset[str]:
        """Every folder of the repository, that the database knows or that is on the disk, relative to it."""
        return frozenset(one for one in self._known() | self._there() if one and not one.startswith(".omero"))

    def forgotten_folders(self) -> frozenset[str]:
        """Those that are on the disk and that the database does not know."""
        return self.folders() - self._known()

    def _known(self) -> set[str]:
        return {f"{path}{name}".strip("/") for _, path, name in self._rows(_DIRECTORIES)}

    def _there(self) -> set[str]:
        found = (folder for folder in self.repository.rglob("*") if folder.is_dir())
        return {folder.relative_to(self.repository).as_posix() for folder in found}

    def sessions(self) -> tuple[OpenSession, ...]:
        """The open sessions of the fleet: the service account's, and those that it opened for owners."""
        return tuple(
            OpenSession(number, owner, started / 1000, idle / 1000)
            for number, started, idle, owner, sudoer in self._rows(_SESSIONS)
            if _IMPORTER in {owner, sudoer}
        )

    def _on_disk(self, path: str, name: str) -> Content:
        file = self.repository / path.strip("/") / name
        return content_of(file) if file.is_file() else Content(name, -1, "not there")

    def _rows(self, hql: str) -> list[tuple[Any, ...]]:
        found = self.root.getQueryService().projection(hql, omero.sys.ParametersI(), _ALL_GROUPS)
        return [tuple(None if value is None else value.val for value in row) for row in found]


def _grouped(rows: Iterable[tuple[Any, ...]]) -> Mapping[int, list[tuple[Any, ...]]]:
    grouped: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for fileset, *values in rows:
        grouped[fileset].append(tuple(values))
    return grouped


def _sorted(contents: Iterable[Content]) -> tuple[Content, ...]:
    return tuple(sorted(contents, key=lambda one: (one.name, one.sha1)))

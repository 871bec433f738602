"""The files of a registered import that OMERO gets as links: where each belongs, and what it is.

What is sent the server hashes by itself; of what lies behind a link it knows nothing until it is told. So size and
hash, as the worker read them, are written to the rows of the files, and the server compares them with what it sees:
three calls for a hundred files instead of several for each. Neighbours: the transfer makes the links in between, see
:mod:`fleet_worker.linking`. Safe in any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import Ice
import omero.model
import omero.rtypes

from fleet_common.errors import Reason, failure
from fleet_common.messages import ChecksumAlgorithm
from fleet_worker.omero.connection import LONG_CALL_TIMEOUT_MS, Connection
from fleet_worker.omero.facts import HeldFile, ImportSpec
from fleet_worker.omero.foldercut import without_cut_folders
from fleet_worker.omero.queries import pages, parameters
from fleet_worker.omero.translate import translated

_NAMESPACE: Final = "openmicroscopy.org/omero/import/fileTransfer"
_TRANSFER: Final = "ome.formats.importer.transfers.SymlinkFileTransfer"

_NOT_THERE: Final = "FileNotFoundException"
_ADVICE: Final = "compare in_place.shares with what OMERO.server has mounted and may read"

_FILES = """
    select o.id, o.path, o.name, o.hash, f.templatePrefix from FilesetEntry e join e.originalFile o join e.fileset f
    where f.id = :id
"""
_OBJECTS = "select o from OriginalFile o where o.id in (:ids)"


class FilesInPlace:
    """The files of one registered import.

    Args:
        connection: The owner's session.
        spec: What was registered.
        fileset_id: Of the fileset.
    """

    def __init__(self, connection: Connection, spec: ImportSpec, fileset_id: int) -> None:
        self._connection, self._spec, self._fileset_id = connection, spec, fileset_id
        self._what = f"the transfer of {spec.source}"

    def held(self) -> tuple[HeldFile, ...]:
        """The server's rows of all files, in the order of the spec.

        Raises:
            Transient: ``import-interrupted`` where they are not those that were registered: somebody deleted them.
        """
        listed = list(pages(self._connection, self._what, _FILES, {"id": self._fileset_id}, key="o.id"))
        prefix = str(listed[0][4] or "").strip("/") + "/" if listed else ""
        held = [HeldFile(int(row[0]), f"{row[1]}{row[2]}".lstrip("/"), row[3]) for row in listed]
        return paired(self._spec, prefix, held)

    @property
    def algorithm(self) -> ChecksumAlgorithm:
        """By which the server knows the files; File-Size-64 looks at their sizes only."""
        return self._spec.effective_algorithm

    def record(self, held: Sequence[HeldFile], hashes: Mapping[int, str]) -> None:
        """Write sizes and hashes, and have the server compare them with what it sees behind the links.

        Args:
            held: All files, in the order of the spec.
            hashes: By index in the spec's files; only these are written. Some hundreds at most: it is one call.

        Raises:
            Transient: ``upload-differs`` where the server sees another file than the worker, ``share-unavailable``
                where it sees none.
        """
        facts = {held[index].id: (self._spec.files[index].size_bytes, digest) for index, digest in hashes.items()}
        self._save(facts)
        self._compare({held[index].id: self._spec.files[index].client_path for index in hashes})

    def _save(self, facts: Mapping[int, tuple[int, str]]) -> None:
        with translated(self._what):
            files = self._connection.query.findAllByQuery(_OBJECTS, parameters({"ids": list(facts)}))
            for file in files:
                size_bytes, hash_hex = facts[file.id.val]
                file.size, file.hash = omero.rtypes.rlong(size_bytes), omero.rtypes.rstring(hash_hex)
            self._connection.update.saveArray(files)

    def _compare(self, paths: Mapping[int, str]) -> None:
        with translated(self._what):
            differing = self._differing(list(paths))
        if differing:
            raise failure(
                Reason.UPLOAD_DIFFERS,
                f"{self._what}: OMERO sees {len(differing)} of {len(paths)} files otherwise than this worker does, "
                f"the first is {paths[differing[0]]}: {_ADVICE}",
            )

    def _differing(self, ids: Sequence[int]) -> Sequence[int]:
        repository = self._connection.repository.ice_invocationTimeout(LONG_CALL_TIMEOUT_MS)
        try:
            found: Sequence[int] = repository.verifyChecksums(ids)
        except Ice.UnknownException as error:
            # Also where it may not read it. By size alone OMERO does not open a file: one that is not there differs.
            if _NOT_THERE not in error.unknown:
                raise
            raise failure(Reason.SHARE_UNAVAILABLE, f"{self._what}: OMERO cannot read a file: {_ADVICE}") from error
        return found


def paired(spec: ImportSpec, prefix: str, held: Sequence[HeldFile]) -> tuple[HeldFile, ...]:
    """Rows in the order of the spec, by the ends of their paths: before OMERO 5.6.11 the order of entries is wrong.

    Args:
        spec: With the paths that were registered; the server cuts the same number of leading folders off each.
        prefix: The fileset's folder, which every path must lie in, with a slash at its end.
        held: In any order.

    Raises:
        Transient: ``import-interrupted``: they are not the same files.
    """
    inner = {file.path.removeprefix(prefix): file for file in held if file.path.startswith(prefix)}
    wanted = without_cut_folders((file.client_path for file in spec.files), inner)
    if len(held) != len(wanted) or inner.keys() != set(wanted):
        raise failure(Reason.IMPORT_INTERRUPTED, f"the files of {spec.source} are not, in OMERO, what was registered")
    return tuple(inner[path] for path in wanted)


def transfer_annotation() -> Any:
    """What OMERO's importer leaves on a fileset of links; ``omero fs sets --with-transfer ln_s`` looks for it."""
    annotation = omero.model.CommentAnnotationI()
    annotation.ns, annotation.textValue = omero.rtypes.rstring(_NAMESPACE), omero.rtypes.rstring(_TRANSFER)
    return annotation

"""Remove a fileset with all that belongs to it. Never while something may still import it: the caller's to know.

A fileset of a plate cannot be deleted alone ("may not delete Image while WellSample remains"): its plates go in the
same command. The fileset's folder stays behind and is removed afterwards. Threading: safe in any thread.

The server carries a deletion out even when nobody waits for it any more, and may do so when an import that it began
after all is complete. So the intention is written on the fileset first: whoever comes next does not take it for a
result.
"""

from __future__ import annotations

import omero
import omero.cmd

from fleet_common.errors import RequestError
from fleet_worker.omero.annotate import mark
from fleet_worker.omero.commands import finish, submit
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.queries import rows
from fleet_worker.omero.state import DELETING
from fleet_worker.omero.translate import translated

_PREFIX = "select f.id, f.templatePrefix from Fileset f where f.id = :id"
_PLATES = """
    select distinct p.id from WellSample ws join ws.well w join w.plate p where ws.image.fileset.id = :id order by p.id
"""


def delete_fileset(connection: Connection, owner_id: int, fileset_id: int) -> None:
    """Delete plates, fileset, images, files and folder; one that is gone already is no error.

    Args:
        connection: The owner's session.
        owner_id: Of the fileset.
        fileset_id: Of the fileset.

    Raises:
        Transient: The server refused or did not answer: something may be at work on it.
    """
    what = f"the deletion of fileset {fileset_id}"
    found = rows(connection, what, _PREFIX, {"id": fileset_id})
    if not found or not _announced(connection, owner_id, fileset_id):
        return
    plates = [int(row[0]) for row in rows(connection, what, _PLATES, {"id": fileset_id})]
    targets = {"Fileset": [fileset_id]} | ({"Plate": plates} if plates else {})
    submit(connection, what, omero.cmd.Delete2(targetObjects=targets))
    delete_folder(connection, what, found[0][1] or "")


def _announced(connection: Connection, owner_id: int, fileset_id: int) -> bool:
    """Write that it is about to go; False where it has gone meanwhile."""
    try:
        mark(connection, owner_id, fileset_id, DELETING)
    except RequestError:
        if rows(connection, f"the deletion of fileset {fileset_id}", _PREFIX, {"id": fileset_id}):
            raise
        return False
    return True


def delete_container(connection: Connection, kind: str, container_id: int) -> None:
    """Delete a Screen, Dataset or Project but nothing that it holds: somebody may have put something in meanwhile."""
    keep = omero.cmd.graphs.ChildOption(excludeType=["Dataset", "Plate", "Image"])
    request = omero.cmd.Delete2(targetObjects={kind: [container_id]}, childOptions=[keep])
    submit(connection, f"the deletion of {kind} {container_id}", request)


def delete_folder(connection: Connection, what: str, folder: str) -> None:
    """Delete a folder below the managed repository with all that it holds; the repository itself never."""
    if not folder.strip("/"):
        return
    with translated(what):
        handle = connection.repository.deletePaths([folder], True, False)  # noqa: FBT003  Ice knows no keywords
    finish(f"{what} and its folder", handle)

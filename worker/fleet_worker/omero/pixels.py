"""Read planes back. Safe in any thread; each call opens and closes a store of its own."""

from __future__ import annotations

import contextlib

import Ice

from fleet_common.errors import Reason, failure
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import Plane
from fleet_worker.omero.queries import rows
from fleet_worker.omero.translate import translated

_PIXELS = (
    "select p.id, t.value, p.sizeX, p.sizeY from Pixels p join p.pixelsType t where p.image.id = :id order by p.id"
)


def read_plane(connection: Connection, image_id: int, z: int, c: int, t: int) -> Plane:
    """The raw pixels of one plane, at most 64 MB.

    Raises:
        Permanent: There is no such image, or the session may not read it.
    """
    what = f"the reading of plane z={z} c={c} t={t} of image {image_id}"
    found = rows(connection, what, _PIXELS, {"id": image_id}, limit=1)
    if not found:
        raise failure(Reason.OMERO_REFUSED, f"{what} failed: there is no such image, or it may not be read")
    pixels_id, pixel_type, size_x, size_y = found[0]
    with translated(what):
        store = connection.factory.createRawPixelsStore()
        try:
            store.setPixelsId(pixels_id, False)  # noqa: FBT003  Ice knows no keywords
            return Plane(bytes(store.getPlane(z, c, t)), pixel_type, size_x, size_y)
        finally:
            with contextlib.suppress(Ice.Exception):
                store.close()

"""Read planes back. Safe in any thread; each call opens and closes a store of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import Ice

from fleet_common.errors import Reason, failure
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import Plane
from fleet_worker.omero.queries import rows
from fleet_worker.omero.translate import translated

_PIXELS = (
    "select p.id, t.value, p.sizeX, p.sizeY from Pixels p join p.pixelsType t where p.image.id = :id order by p.id"
)


def read_planes(connection: Connection, image_id: int, places: Sequence[tuple[int, int, int]]) -> tuple[Plane, ...]:
    """The raw pixels of planes of one image, each at most 64 MB.

    Args:
        connection: The owner's.
        image_id: Of the image; to open it can take the server seconds, so all planes are read through one store.
        places: z, c and t of each.

    Raises:
        Permanent: There is no such image, or the session may not read it.
    """
    what = f"the reading of planes (z, c, t) {', '.join(map(str, places))} of image {image_id}"
    found = rows(connection, what, _PIXELS, {"id": image_id}, limit=1)
    if not found:
        raise failure(Reason.OMERO_REFUSED, f"{what} failed: there is no such image, or it may not be read")
    pixels_id, pixel_type, size_x, size_y = found[0]
    with translated(what):
        store = connection.factory.createRawPixelsStore()
        try:
            store.setPixelsId(pixels_id, False)  # noqa: FBT003  Ice knows no keywords
            return tuple(Plane(bytes(store.getPlane(*place)), pixel_type, size_x, size_y) for place in places)
        finally:
            with contextlib.suppress(Ice.Exception):
                store.close()

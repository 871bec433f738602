"""Read planes back. Safe in any thread; each call opens and closes a store of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import Ice

from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import ImageFacts, Plane
from fleet_worker.omero.translate import translated


def read_planes(connection: Connection, image: ImageFacts, places: Sequence[tuple[int, int, int]]) -> tuple[Plane, ...]:
    """The raw pixels of planes of one image, each at most 64 MB.

    Args:
        connection: The owner's.
        image: As it was read back; to open it can take the server seconds, so all planes are read through one store.
        places: z, c and t of each.

    Raises:
        RequestError: The server cannot read one of them, or the session may not.
    """
    with translated(f"the reading of planes (z, c, t) {', '.join(map(str, places))} of image {image.id}"):
        store = connection.factory.createRawPixelsStore()
        try:
            store.setPixelsId(image.pixels_id, False)  # noqa: FBT003  Ice knows no keywords
            return tuple(
                Plane(bytes(store.getPlane(*place)), image.pixel_type, image.size_x, image.size_y) for place in places
            )
        finally:
            with contextlib.suppress(Ice.Exception):
                store.close()

"""Reads an imported plate back from OMERO as its owner, and compares every plane with the source, byte for byte.

Role: the proof at the end of the demo and of the end-to-end tests. It uses omero-py's own gateway and none of the
fleet's code, so that the fleet does not vouch for itself. Neighbours: `plates` knows the source of every plane.
Threading: one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import omero
import omero.sys
import tifffile
from omero.gateway import BlitzGateway

from fleet_stack.console import StackError
from fleet_stack.description import OmeroDescription
from fleet_stack.plates import MadePlate, PlaneKey


@dataclass(frozen=True, slots=True)
class Comparison:
    """What OMERO holds of a plate, and how it compares with the source.

    Attributes:
        owner: Login name of the plate's owner.
        group: Name of the plate's group.
        screens: Names of the screens that hold the plate.
        planes: How many planes were compared.
        different: Planes that differ, by well, field, plane, channel and time point; empty when all are equal.
    """

    plate_id: int
    name: str
    owner: str
    group: str
    screens: tuple[str, ...]
    wells: int
    fields: int
    planes: int
    different: tuple[str, ...]


@contextmanager
def logged_in(omero: OmeroDescription, user: str, group: str | None = None) -> Iterator[Any]:
    """A gateway of omero-py for an ordinary user.

    Raises:
        StackError: The login failed.
    """
    password = omero.users[user].read_text(encoding="utf-8").strip()
    gateway = BlitzGateway(user, password, host=omero.host, port=omero.ssl_port, secure=True, group=group)
    if not gateway.connect():
        raise StackError(f"{user} cannot log in to OMERO at {omero.host}:{omero.ssl_port}")
    try:
        yield gateway
    finally:
        gateway.close()


def compare_plate(gateway: Any, plate_id: int, source: MadePlate) -> Comparison:
    """Compare every plane of a plate with its TIFF.

    Raises:
        StackError: The user cannot see the plate.
    """
    plate = gateway.getObject("Plate", plate_id)
    if plate is None:
        raise StackError(f"Plate:{plate_id} is not there for {gateway.getUser().getName()}")
    held = _pixels_by_place(gateway, plate_id)
    with _raw_pixels(gateway) as raw:
        different = [str(key) for key, path in source.tiffs.items() if not _equal(raw, held, key, path)]
    return Comparison(
        plate_id=plate_id,
        name=plate.getName(),
        owner=plate.getOwnerOmeName(),
        group=plate.getDetails().getGroup().getName(),
        screens=tuple(screen.getName() for screen in plate.listParents()),
        wells=len({place[:2] for place in held}),
        fields=len(held),
        planes=len(source.tiffs),
        different=tuple(different),
    )


_PIXELS: Final = """
    select well.row, well.column, pixels.id, image.series from WellSample sample
    join sample.well well join sample.image image join image.pixels pixels
    where well.plate.id = :id order by well.row, well.column, image.series"""


def _pixels_by_place(gateway: Any, plate_id: int) -> dict[tuple[int, int, int], int]:
    """The id of the pixels of every field, by row, column and field from 0, with one query."""
    rows = gateway.getQueryService().projection(_PIXELS, omero.sys.ParametersI().addId(plate_id), gateway.SERVICE_OPTS)
    held: dict[tuple[int, int, int], int] = {}
    for row, column, pixels, _series in rows:
        field = sum(place[:2] == (row.val, column.val) for place in held)
        held[row.val, column.val, field] = pixels.val
    return held


@contextmanager
def _raw_pixels(gateway: Any) -> Iterator[Any]:
    store = gateway.c.sf.createRawPixelsStore(gateway.SERVICE_OPTS)
    try:
        yield store
    finally:
        store.close()


def _equal(raw: Any, held: dict[tuple[int, int, int], int], key: PlaneKey, path: Path) -> bool:
    pixels = held.get((key.row, key.column, key.field))
    if pixels is None:
        return False
    raw.setPixelsId(pixels, False)  # noqa: FBT003  Ice knows positional arguments only
    source = tifffile.imread(path)
    # OMERO answers in big-endian order, whatever the file's is.
    return bool(raw.getPlane(key.z, key.c, key.t) == source.astype(source.dtype.newbyteorder(">")).tobytes())

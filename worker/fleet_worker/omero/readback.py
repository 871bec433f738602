"""Read back what OMERO holds for a fileset: a handful of queries in pages, none per image. Safe in any thread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from fleet_common.errors import Reason, failure
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import FileFacts, ImageFacts, ImportedFacts, PlateFacts, WellFacts
from fleet_worker.omero.queries import Row, pages, rows

_PREFIX = "select f.id, f.templatePrefix from Fileset f where f.id = :id"
_FILES = """
    select o.id, o.path, o.name, o.size, o.hash from FilesetEntry e join e.originalFile o
    where e.fileset.id = :id and o.id > :after order by o.id
"""
_CLIENT_PATHS = "select e.id, e.clientPath from FilesetEntry e where e.fileset.id = :id and e.id > :after order by e.id"
_IMAGES = """
    select i.id, i.name, i.series, p.id, t.value, p.sizeX, p.sizeY, p.sizeZ, p.sizeC, p.sizeT
    from Pixels p join p.image i join p.pixelsType t where i.fileset.id = :id and i.id > :after order by i.id
"""
_FIELDS = """
    select ws.id, i.id, i.series, w.id, w.row, w.column, w.plate.id from WellSample ws join ws.image i join ws.well w
    where i.fileset.id = :id and ws.id > :after order by ws.id
"""
_PLATES = "select p.id, p.name, p.rows, p.columns from Plate p where p.id in (:ids) order by p.id"
_SCREENS = "select l.child.id, l.parent.id from ScreenPlateLink l where l.child.id in (:ids) order by l.id"
_DATASETS = """
    select l.parent.id, count(distinct i.id) from DatasetImageLink l join l.child i where i.fileset.id = :id
    group by l.parent.id
"""


def read_back(connection: Connection, fileset_id: int) -> ImportedFacts:
    """Files, plates, wells and images of a fileset.

    Raises:
        Transient: ``import-interrupted`` if the fileset is gone.
    """
    what = f"the verification of fileset {fileset_id}"
    values = {"id": fileset_id}
    found = rows(connection, what, _PREFIX, values)
    if not found:
        raise failure(Reason.IMPORT_INTERRUPTED, f"fileset {fileset_id} is gone: somebody deleted it")
    prefix = (found[0][1] or "").rstrip("/") + "/"
    files = [_file(row, prefix) for row in pages(connection, what, _FILES, values)]
    clients = [row[1] for row in pages(connection, what, _CLIENT_PATHS, values)]
    images = [ImageFacts(*row) for row in pages(connection, what, _IMAGES, values)]
    return ImportedFacts(
        fileset_id=fileset_id,
        files=tuple(sorted(below_share(files, clients), key=lambda file: file.path)),
        plates=_plates(connection, what, list(pages(connection, what, _FIELDS, values))),
        images=tuple(sorted(images, key=lambda image: (image.series, image.id))),
        dataset_images={row[0]: row[1] for row in rows(connection, what, _DATASETS, values)},
    )


def _file(row: Row, prefix: str) -> FileFacts:
    file_id, folder, name, size_bytes, hash_hex = row
    # By its own path, not by FilesetEntry.clientPath: servers before blitz 5.7.3 pair them wrongly.
    return FileFacts(file_id, f"{folder}{name}".removeprefix(prefix), size_bytes, hash_hex)


def below_share(files: Sequence[FileFacts], client_paths: Sequence[str]) -> list[FileFacts]:
    """Take the share's name off where OMERO cut nothing. Pure.

    Args:
        files: With paths as OMERO keeps them.
        client_paths: ``share/path`` of all files, in any order: the same number of folders is cut off each.
    """
    depths = [min(path.count("/") for path in paths) for paths in ([f.path for f in files], client_paths) if paths]
    if len(set(depths)) != 1:
        return list(files)
    return [replace(file, path=file.path.partition("/")[2]) for file in files]


def _plates(connection: Connection, what: str, fields: Sequence[Row]) -> tuple[PlateFacts, ...]:
    wells = _wells(fields)
    if not wells:
        return ()
    ids = sorted(wells)
    screens: dict[int, list[int]] = defaultdict(list)
    for plate_id, screen_id in rows(connection, what, _SCREENS, {"ids": ids}):
        screens[plate_id].append(screen_id)
    return tuple(
        PlateFacts(plate_id, name, plate_rows, columns, wells[plate_id], tuple(screens[plate_id]))
        for plate_id, name, plate_rows, columns in rows(connection, what, _PLATES, {"ids": ids})
    )


def _wells(fields: Sequence[Row]) -> dict[int, tuple[WellFacts, ...]]:
    images: dict[tuple[int, int, int, int], list[tuple[int, int]]] = defaultdict(list)
    for _sample, image_id, series, well_id, row, column, plate_id in fields:
        images[(plate_id, row, column, well_id)].append((series, image_id))
    wells: dict[int, list[WellFacts]] = defaultdict(list)
    for (plate_id, row, column, well_id), found in sorted(images.items()):
        # Fields are saved in any order, so by series: ids of images and of well samples say nothing about it.
        wells[plate_id].append(WellFacts(well_id, row, column, tuple(image_id for _, image_id in sorted(found))))
    return {plate_id: tuple(of_plate) for plate_id, of_plate in wells.items()}

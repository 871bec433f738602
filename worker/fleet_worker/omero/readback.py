"""Read back what OMERO holds for a fileset: a handful of queries in pages, none per image. Safe in any thread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fleet_common.errors import Reason, failure
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import FileFacts, ImageFacts, ImportedFacts, PlateFacts, WellFacts
from fleet_worker.omero.queries import Row, pages, rows

_FILES = """
    select e.id, f.templatePrefix, o.id, o.path, o.name, o.size, o.hash, e.clientPath
    from FilesetEntry e join e.originalFile o join e.fileset f where f.id = :id
"""
_IMAGES = """
    select i.id, i.name, i.series, p.id, t.value, p.sizeX, p.sizeY, p.sizeZ, p.sizeC, p.sizeT
    from Pixels p join p.image i join p.pixelsType t where i.fileset.id = :id
"""
_FIELDS = """
    select ws.id, i.id, i.series, w.id, w.row, w.column, w.plate.id from WellSample ws join ws.image i join ws.well w
    where i.fileset.id = :id
"""
_PLATES = """
    select p.id, p.name, p.rows, p.columns, l.parent.id from Plate p left join p.screenLinks l where p.id in (:ids)
    order by p.id, l.id
"""
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
    entries = list(pages(connection, what, _FILES, values, key="e.id"))
    if not entries:
        raise failure(Reason.IMPORT_INTERRUPTED, f"fileset {fileset_id} is gone: somebody deleted it")
    images = [ImageFacts(*row) for row in pages(connection, what, _IMAGES, values, key="i.id")]
    return ImportedFacts(
        fileset_id=fileset_id,
        files=_files(entries),
        plates=_plates(connection, what, list(pages(connection, what, _FIELDS, values, key="ws.id"))),
        images=tuple(sorted(images, key=lambda image: (image.series, image.id))),
        dataset_images={row[0]: row[1] for row in rows(connection, what, _DATASETS, values)},
    )


def _files(entries: Sequence[Row]) -> tuple[FileFacts, ...]:
    # Each by its own path, not by FilesetEntry.clientPath: servers before blitz 5.7.3 pair them wrongly.
    files = [_file(*row) for _, *row, _client_path in entries]
    return tuple(sorted(below_share(files, [str(row[-1]) for row in entries]), key=lambda file: file.path))


def _file(prefix: str | None, file_id: int, folder: str, name: str, *content: Any) -> FileFacts:
    return FileFacts(file_id, f"{folder}{name}".removeprefix(f"{(prefix or '').rstrip('/')}/"), *content)


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
    screens: dict[Row, list[int]] = defaultdict(list)
    for *plate, screen_id in rows(connection, what, _PLATES, {"ids": sorted(wells)}):
        screens[tuple(plate)].extend([] if screen_id is None else [screen_id])
    return tuple(
        PlateFacts(plate_id, name, plate_rows, columns, wells[plate_id], tuple(of_plate))
        for (plate_id, name, plate_rows, columns), of_plate in screens.items()
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

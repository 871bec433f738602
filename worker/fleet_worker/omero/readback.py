"""Read back what OMERO holds for a fileset: a handful of queries in pages, none per image. Safe in any thread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fleet_common.errors import Reason, failure
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import FileFacts, ImageFacts, ImportedFacts, PlateFacts, SpecFile, WellFacts
from fleet_worker.omero.queries import Row, pages, rows

_PREFIX = "select f.id, f.templatePrefix from Fileset f where f.id = :id"
_FILES = """
    select o.id, o.path, o.name, o.size, o.hash from FilesetEntry e join e.originalFile o
    where e.fileset.id = :id and o.id > :after order by o.id
"""
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
    images = [ImageFacts(*row) for row in pages(connection, what, _IMAGES, values)]
    return ImportedFacts(
        fileset_id=fileset_id,
        files=tuple(
            sorted((_file(row, prefix) for row in pages(connection, what, _FILES, values)), key=lambda file: file.path)
        ),
        plates=_plates(connection, what, list(pages(connection, what, _FIELDS, values))),
        images=tuple(sorted(images, key=lambda image: (image.series, image.id))),
        dataset_images={row[0]: row[1] for row in rows(connection, what, _DATASETS, values)},
    )


def _file(row: Row, prefix: str) -> FileFacts:
    file_id, folder, name, size_bytes, hash_hex = row
    # By its own path, not by FilesetEntry.clientPath: servers before blitz 5.7.3 pair them wrongly.
    return FileFacts(file_id, f"{folder}{name}".removeprefix(prefix), size_bytes, hash_hex)


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


def file_differences(expected: Sequence[SpecFile], held: Sequence[FileFacts]) -> tuple[str, ...]:
    """What of the files is missing, too much, or of another size; empty if OMERO holds the same. Pure.

    OMERO cuts the same number of leading folders off every path: some depth must make both lists equal.
    """
    sizes = {file.path: file.size_bytes for file in held}
    parts = [(file.client_path.split("/"), file.size_bytes) for file in expected]
    depths = range(min((len(path) for path, _ in parts), default=1))
    cut = [{"/".join(path[depth:]): size for path, size in parts} for depth in depths]
    best = max(cut, key=lambda wanted: len(wanted.keys() & sizes.keys()))
    missing = [f"missing: {path}" for path in sorted(best.keys() - sizes.keys())]
    extra = [f"unexpected: {path}" for path in sorted(sizes.keys() - best.keys())]
    both = sorted(best.keys() & sizes.keys())
    other = [f"{path}: {sizes[path]} bytes instead of {best[path]}" for path in both if sizes[path] != best[path]]
    return (*missing, *extra, *other)

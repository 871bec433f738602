"""From a path on an acquisition host to a request that may be published: detect, read, check the files, build.

Nothing is published here, and nothing but the files is looked at. Used by one thread at a time. Neighbours:
``fleet_common.assembling`` has what workers do as well, for what a scan finds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from fleet_common.assembling import Order, Prepared, build, check_files
from fleet_common.errors import Reason, RequestError, failure
from fleet_common.fitting import check_fits
from fleet_common.plates import Plate, detect
from fleet_common.scanning import as_plate, list_folder
from fleet_common.storage import Share, ShareReader, Shares, summarise
from fleet_common.targets import parse_target


def prepare(path: Path, shares: Shares, order: Order, clock: Callable[[], datetime]) -> Prepared:
    """Make the request for one plate or file, or for the scan of a folder that no format knows.

    Args:
        path: A plate's folder, its entry file, a single file, or a folder of anything that Bio-Formats reads.
        shares: Where shares are mounted on this host.
        order: What is wanted.
        clock: The present time, in UTC.

    Raises:
        RequestError: The files are not fit for import; the reason says why.
    """
    try:
        share, plate = look_at(path, shares)
    except RequestError as error:
        # What is missing of a plate can be decided on only where there is a plate.
        if error.reason is not Reason.UNKNOWN_FORMAT or order.partial_by:
            raise
        return _prepare_scan(path, shares, order, clock())
    check_fits(plate, parse_target(order.target))
    summary = check_files(share, plate, partial=bool(order.partial_by))
    return build(share, plate, summary, order, clock())


def _prepare_scan(path: Path, shares: Shares, order: Order, now: datetime) -> Prepared:
    """A request that a worker expands; it checks the files of each of its requests."""
    name, folder = shares.locate(path)
    if not folder.parts:
        raise failure(Reason.UNSAFE_PATH, f"{path} is a whole share: submit one folder of it at a time")
    entries = list_folder(shares[name], str(folder))
    return build(shares[name], as_plate(str(folder), entries), summarise(entries), order, now)


def look_at(path: Path, shares: Shares) -> tuple[Share, Plate]:
    """Find the format of a path and read the plate.

    Raises:
        RequestError: No share holds it, no format knows it, or its index is broken.
    """
    name, relative = shares.locate(path)
    share = shares[name]
    with ShareReader(share) as reader:
        plate_format, entry = detect(relative, reader)
        return share, plate_format.read(entry, reader)

"""The files of a Yokogawa measurement: those that Bio-Formats takes, and those that its own files name.

Bio-Formats 6.7 (``CV7000Reader.getUsedFiles``) takes the entry and then every file of the folder in the order of names,
whatever it is, but no name that begins with a dot and nothing of a folder below. A file that is named but not there is
left out without a word; here it is in the list, so that it is missed. Pure functions, no threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import check_component, printable
from fleet_common.plates.javaorder import java_order
from fleet_common.plates.yokogawa.records import MeasurementData, MeasurementDetail
from fleet_common.storage.paths import join

DATA: Final = "MeasurementData.mlf"
DETAIL: Final = "MeasurementDetail.mrf"


def file_list(entry: PurePosixPath, present: Iterable[str], named: Iterable[str]) -> tuple[str, ...]:
    """List the files of the fileset, the entry first.

    Args:
        entry: The ``.wpi``.
        present: The names of the files in its folder.
        named: The names of files that must be there.

    Raises:
        Permanent: ``name-refused`` for a file that OMERO cannot keep.
    """
    taken = {name for name in present if not name.startswith(".")} | set(named)
    taken.discard(entry.name)
    for name in taken:
        check_component(name)
    prefix = f"{entry.parent}/" if entry.parent.parts else ""
    return (str(entry), *(f"{prefix}{name}" for name in java_order(taken)))


def named_by_data(path: PurePosixPath, data: MeasurementData) -> Iterator[str]:
    """The names of the images.

    Raises:
        Permanent: ``unsafe-path`` and ``name-refused`` with the line; ``unsupported`` for a file that Bio-Formats would
            not take along.
    """
    for record in data.records:
        if record.name:
            yield _checked(path, record.line, record.name)


def named_by_detail(path: PurePosixPath, detail: MeasurementDetail) -> Iterator[str]:
    """The names of settings, plate product and shading corrections; raises as :func:`named_by_data`."""
    for name in (detail.settings, detail.product):
        if name.strip():
            yield _checked(path, 1, name)
    for channel in detail.channels:
        if channel.shading.strip():
            yield _checked(path, channel.line, channel.shading)


def _checked(path: PurePosixPath, line: int, name: str) -> str:
    where = f"{path}, line {line}"
    try:
        join(path.parent, name)
    except RequestError as error:
        raise failure(error.reason, f"{where}: {error}") from error
    if "/" in name or name.startswith("."):
        raise failure(
            Reason.UNSUPPORTED,
            f"{where}: the file {printable(name)} is in another folder or hidden, and Bio-Formats would not take it "
            "along: export the measurement with all files in one folder",
        )
    return name

"""Whether the server's Bio-Formats is new enough for a plate: a pure comparison.

An older reader seldom fails: it shows black planes, or puts images into other wells
(``docs/explanation/plate-formats.md``).
"""

from __future__ import annotations

from collections.abc import Callable

from fleet_common.errors import Reason, failure
from fleet_common.plates import Plate
from fleet_common.plates.model import NO_READER_YET
from fleet_common.plates.versions import version_name


def check_reader(plate: Plate, version: Callable[[], tuple[int, ...]]) -> None:
    """Refuse a plate that needs a newer reader than the server has.

    Args:
        plate: As its format reads it.
        version: The server's Bio-Formats, such as (6, 7, 0); empty for one that is not known, which refuses only what
            none reads. Called only for a plate that needs one.

    Raises:
        Permanent: ``server-reader-too-old``, naming both versions.
    """
    if not plate.needs_bioformats:
        return
    has = version()
    if plate.needs_bioformats == NO_READER_YET or (has and has < plate.needs_bioformats):
        raise failure(
            Reason.SERVER_READER_TOO_OLD,
            f"{plate.entry}: this {plate.format} plate needs Bio-Formats {version_name(plate.needs_bioformats)}, "
            f"the server has {version_name(has) if has else 'one that it did not tell yet'}",
        )

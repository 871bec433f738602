"""Whether a target fits what is imported, decided before anything is sent.

OMERO.server does not say no: a plate that goes into a Dataset leaves the Plate an orphan, and an image that goes into a
Screen is linked to nothing, both with the answer OK (measured, see ``docs/explanation/omero-import.md``).
"""

from __future__ import annotations

from fleet_common.errors import Reason, failure
from fleet_common.plates import Plate
from fleet_common.scanning import SCAN
from fleet_common.targets import Kind, Target


def check_fits(plate: Plate, target: Target) -> None:
    """Refuse a target that OMERO would not link.

    Raises:
        Permanent: ``target-mismatch``.
    """
    if plate.format == SCAN:
        return  # what is in the folder shows when it is expanded
    if plate.is_plate and target.kind is not Kind.SCREEN:
        raise failure(
            Reason.TARGET_MISMATCH,
            f"{plate.entry} is a plate, and a plate goes into a Screen, not into a {target.kind}",
        )
    if not plate.is_plate and target.kind is Kind.SCREEN:
        raise failure(
            Reason.TARGET_MISMATCH,
            f"{plate.entry} is no plate of a known format, and an image goes into a Dataset, not into a Screen",
        )

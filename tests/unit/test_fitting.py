"""Whether a target fits what is imported."""

from __future__ import annotations

import pytest

from fleet_common.errors import Permanent, Reason
from fleet_common.fitting import check_fits
from fleet_common.plates import Expected, Plate, Sizes
from fleet_common.targets import parse_target

IMAGE = Plate("file", "a.tif", "", ("a.tif",))
WELLS = Plate("bio-formats", "a.c01", "reader", ("a.c01",), has_wells=True)
SCAN = Plate("scan", "run", "", ("run/a.tif",))
PLATE = Plate(
    "harmony",
    "Index.idx.xml",
    "reader",
    ("Index.idx.xml",),
    Expected("P", "", 1, 1, frozenset({(0, 0)}), 1, Sizes(1, 1, 1, 1, 1), ("",)),
)


@pytest.mark.parametrize(
    ("found", "target"),
    [
        (PLATE, "Screen:id:5"),
        (PLATE, "Screen:+name:X"),
        (WELLS, "Screen:id:5"),
        (SCAN, "Screen:id:5"),
        (SCAN, "Dataset:id:5"),
        (IMAGE, "Dataset:id:5"),
        (IMAGE, "Dataset:@name:X"),
        (IMAGE, "Project:name:P/Dataset:name:D"),
    ],
)
def test_plates_go_into_screens_and_images_into_datasets(found: Plate, target: str) -> None:
    """Nothing is raised."""
    check_fits(found, parse_target(target))


@pytest.mark.parametrize(
    ("found", "target", "says"),
    [
        (PLATE, "Dataset:id:5", "is a plate, and a plate goes into a Screen, not into a Dataset"),
        (PLATE, "Project:name:P/Dataset:name:D", "is a plate, and a plate goes into a Screen, not into a Dataset"),
        (WELLS, "Dataset:id:5", "is a plate, and a plate goes into a Screen, not into a Dataset"),
        (IMAGE, "Screen:id:5", "is no plate of a known format, and an image goes into a Dataset, not into a Screen"),
    ],
)
def test_what_omero_would_link_to_nothing_is_refused(found: Plate, target: str, says: str) -> None:
    """OMERO itself says OK and leaves an orphan."""
    with pytest.raises(Permanent, match=says) as caught:
        check_fits(found, parse_target(target))
    assert caught.value.reason is Reason.TARGET_MISMATCH

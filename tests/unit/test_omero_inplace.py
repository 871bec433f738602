"""Which row of OMERO is which file of a request, by the ends of their paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import Reason, RequestError
from fleet_worker.omero.facts import HeldFile, ImportSpec, SpecFile
from fleet_worker.omero.inplace import paired

PREFIX = "alice_2/2026-11/28/10-11-12.013/"
NAMES = st.text("ab", min_size=1, max_size=2)
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12, unique=True)


def spec_of(paths: list[str]) -> ImportSpec:
    """A spec with these files."""
    values: dict[str, Any] = {"request_id": "r-1", "digest": "d", "attempt": 1, "source": paths[0], "format": "file"}
    return ImportSpec(**values, files=tuple(SpecFile(path, 1) for path in paths))


@given(paths=PATHS, cut=st.integers(0, 2), order=st.randoms())
def test_every_file_finds_its_row(paths: list[str], cut: int, order: Any) -> None:
    """Whatever the order of the rows, and however many of the common folders OMERO cuts off."""
    common = ["hcs", "x"]
    spec = spec_of(["/".join([*common, path]) for path in paths])
    rows = [HeldFile(number, PREFIX + "/".join([*common[cut:], path])) for number, path in enumerate(paths)]
    order.shuffle(rows)
    assert [file.id for file in paired(spec, PREFIX, rows)] == list(range(len(paths)))


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [HeldFile(1, f"{PREFIX}p1/a.tif")],
        [HeldFile(1, f"{PREFIX}p1/a.tif"), HeldFile(2, f"{PREFIX}p1/c.tif")],
        [HeldFile(1, f"{PREFIX}p1/a.tif"), HeldFile(2, "bob_3/p1/b.tif")],
    ],
    ids=["none", "too few", "another name", "in another folder"],
)
def test_other_rows_than_were_registered_are_refused(rows: list[HeldFile]) -> None:
    """Nothing is linked outside the fileset's own folder, or under another name."""
    with pytest.raises(RequestError) as caught:
        paired(spec_of(["hcs/p1/a.tif", "hcs/p1/b.tif"]), PREFIX, rows)
    assert caught.value.reason is Reason.IMPORT_INTERRUPTED

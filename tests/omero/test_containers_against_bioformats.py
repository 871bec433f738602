"""Containers: the same files as the Bio-Formats of the server, for those of which there is a sample."""

from __future__ import annotations

from fleet_common.plates import Sizes
from support.bioformats import DATA, compare, real


def test_a_real_lif_is_one_file() -> None:
    """Three images, of which the fleet knows nothing before the import."""
    entry = real("leica-lif/testdata_2channel_xz.lif")
    answer = compare(DATA, {"lif": entry}, "container")["lif"]
    assert list(answer.plate.files) == answer.reader_files == ["leica-lif/testdata_2channel_xz.lif"]
    assert answer.reader_sizes == [Sizes(128, 128, 1, 2, 20), Sizes(128, 128, 23, 2, 1), Sizes(512, 512, 1, 2, 1)]
    assert answer.plate.expected is None
    assert answer.missed == []

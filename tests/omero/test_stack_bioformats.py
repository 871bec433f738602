"""The server's own Bio-Formats, asked about files: the measure that the fleet's plate formats are held to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from fleet_stack.omero import bioformats
from fleet_stack.omero.bioformats import ReaderError, SeriesSize, UsedFiles

pytestmark = pytest.mark.timeout(600)  # the first time, the jar is fetched


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A TIFF of three pages, with an umlaut and a blank in its name."""
    path = tmp_path / "Grüße aus Dundee.tif"
    tifffile.imwrite(path, np.zeros((3, 20, 30), np.uint16), photometric="minisblack")
    return path


def test_a_single_file_uses_itself_and_has_one_series(image: Path) -> None:
    used = bioformats.used_files(image)
    assert used.files == (image,)
    assert used.reader_class == "loci.formats.in.TiffDelegateReader"
    assert (used.series_count, used.sizes) == (1, (SeriesSize(x=30, y=20, z=1, c=1, t=3),))


def test_the_locale_of_the_caller_does_not_matter(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert bioformats.used_files(image).files == (image,)


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "note.dat").write_text("no image")
    with pytest.raises(ReaderError, match=r"note\.dat: .*UnknownFormatException"):
        bioformats.used_files(tmp_path / "note.dat")


def test_a_refusal_does_not_keep_others_from_their_answer(image: Path, tmp_path: Path) -> None:
    refused, used = bioformats.ask([tmp_path / "missing.tif", image])
    assert isinstance(refused, ReaderError)
    assert isinstance(used, UsedFiles)
    assert used.files == (image,)

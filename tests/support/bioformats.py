"""Plates as the fleet reads them, beside what the Bio-Formats of the server makes of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath

import pytest

from fleet_common.plates import Plate, Sizes, detect, problems
from fleet_common.storage import Share, ShareReader, measure
from fleet_stack.omero.bioformats import ReaderError, UsedFiles, ask

DATA = Path(os.environ.get("FLEET_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")).resolve()
"""Real acquisitions, which are no part of the project."""


def real(name: str) -> Path:
    """A file or folder of a real acquisition; skips the test where there is none."""
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not there; FLEET_TEST_DATA names another folder")
    return DATA / name


@dataclass(frozen=True)
class Answer:
    """One plate, as we read it and as Bio-Formats does."""

    share: Share
    plate: Plate
    used: UsedFiles | ReaderError

    @property
    def reader_files(self) -> list[str]:
        """What Bio-Formats lists, relative to the share.

        It may list a folder that holds junk: nothing is uploaded for it, so OMERO has none. One that holds files of the
        plate is there in OMERO, which refuses to import what uses a folder.
        """
        assert isinstance(self.used, UsedFiles), self.used
        files = [path for path in self.used.files if not path.is_dir()]
        folders = set(self.used.files) - set(files)
        assert not folders & {folder for file in files for folder in file.parents}, "a folder is taken for a file"
        return [path.relative_to(self.share.root).as_posix() for path in files]

    @property
    def reader_sizes(self) -> list[Sizes]:
        """The sizes that Bio-Formats reports, in its order."""
        assert isinstance(self.used, UsedFiles), self.used
        return [Sizes(size.x, size.y, size.z, size.c, size.t) for size in self.used.sizes]

    @property
    def expected_sizes(self) -> list[Sizes]:
        """The sizes of every image in the order of Bio-Formats: wells by row and column, then fields."""
        assert self.plate.expected is not None
        expected = self.plate.expected
        positions = product(sorted(expected.wells), range(expected.fields_per_well))
        return [expected.sizes_of((row, column, field)) for (row, column), field in positions]

    @property
    def missed(self) -> list[str]:
        """The files that we miss."""
        return [problem.path for problem in problems(self.plate, measure(self.share, self.plate.files))]


def compare(root: Path, entries: Mapping[str, Path], format_name: str) -> dict[str, Answer]:
    """Ask both about every entry, with one Java process.

    Args:
        root: Stands for the share.
        entries: The file of each plate that is imported, by a name of the test's own.
        format_name: The plate format that must recognise all of them.
    """
    share = Share("hcs", root)
    used = ask(list(entries.values()))
    plates = [read(share, entry, format_name) for entry in entries.values()]
    return {name: Answer(share, plate, said) for name, plate, said in zip(entries, plates, used, strict=True)}


def read(share: Share, entry: Path, format_name: str) -> Plate:
    """Read a plate as producer and worker do, from its entry or its folder."""
    with ShareReader(share) as reader:
        found, path = detect(PurePosixPath(entry.relative_to(share.root).as_posix()), reader)
        assert found.name == format_name
        return found.read(path, reader)

"""The format ``file``: one file that Bio-Formats opens by itself, without any other.

The fleet knows nothing of its content, so it expects nothing but the file itself. No state, no threads.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar

from fleet_common.plates.model import Plate, Reader


class SingleFile:
    """Takes every path that is no folder."""

    name: ClassVar[str] = "file"

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """The path itself, unless it is a folder; whether it can be read is known when it is opened."""
        return None if reader.is_folder(path) else path

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """Open the file, to see that it is one, and list it alone."""
        with reader.open(entry):
            return Plate(format=self.name, entry=str(entry), reader="", files=(str(entry),))

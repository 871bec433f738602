"""What a sweep works with, made of stand-ins: an OMERO with debris, locks, and one journal of what was done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from fleet_common.broker import Locks, Names
from fleet_common.metrics import Metrics
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.serverfacts import LostFolder
from fleet_worker.omero.state import FilesetState
from support.fakes import FakeLocks, FakeOmero, Journal


@dataclass
class Sweepable(FakeOmero):
    """An OMERO with debris: the filesets of `FakeOmero`, and folders.

    Attributes:
        found: What the first look finds, whatever has become of it by the second.
        folders: Lost ones.
        used: Paths of folders that a fileset uses by now.
        asked_age_seconds: How old folders had to be.
    """

    found: list[FilesetState] = field(default_factory=list)
    folders: list[LostFolder] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    asked_age_seconds: float = -1.0

    def unfinished(self) -> tuple[FilesetState, ...]:
        """The first look."""
        self.journal.write("unfinished")
        return tuple(self.found)

    def lost_folders(self, older_than_seconds: float) -> tuple[LostFolder, ...]:
        """All of them, however old."""
        self.journal.write("lost folders")
        self.asked_age_seconds = older_than_seconds
        return tuple(self.folders)

    def in_use(self, folder: LostFolder) -> bool:
        """Whether one was taken meanwhile."""
        return folder.path in self.used

    def delete_folder(self, path: str) -> None:
        """It is gone."""
        self.journal.write(f"delete {path}")


class Bench:
    """What a sweep works with, and what it did."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.omero = Sweepable(self.journal)
        self.locked = FakeLocks(self.journal)
        self.gateway = cast("Gateway", self.omero)
        self.locks = cast("Locks", self.locked)
        self.names = Names()
        self.metrics = Metrics()

    def leave(self, *filesets: FilesetState) -> None:
        """Have debris of the usual request."""
        self.omero.found = list(filesets)
        self.omero.filesets = list(filesets)

    def counted(self, name: str) -> float | None:
        """The value of a counter."""
        return self.metrics.registry.get_sample_value(f"omero_import_{name}_total")

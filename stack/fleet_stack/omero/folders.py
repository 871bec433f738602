"""Where the files of a stack's OMERO.server are; pure data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet_stack.layout import Layout


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders below ``<state>/omero``.

    Attributes:
        root: All of them.
    """

    root: Path

    @classmethod
    def of(cls, layout: Layout) -> Folders:
        """The folders of a stack."""
        return cls(layout.omero)

    @property
    def etc(self) -> Path:
        """Configuration, written anew at every start; it holds the database's password."""
        return self.root / "etc"

    @property
    def log(self) -> Path:
        """One log per process; ``Blitz-0.log`` is the one to read."""
        return self.root / "log"

    @property
    def ice(self) -> Path:
        """IceGrid's own files, made anew at every start."""
        return self.root / "ice"

    @property
    def home(self) -> Path:
        """The working folder of the processes, with what the server looks for below it."""
        return self.root / "home"

    @property
    def data(self) -> Path:
        """OMERO's binary repository (``omero.data.dir``)."""
        return self.root / "OMERO"

    @property
    def managed(self) -> Path:
        """Where imported files land."""
        return self.data / "ManagedRepository"

    @property
    def temporary(self) -> Path:
        """What Java and OMERO would otherwise put into ``/tmp`` and ``~/omero/tmp``."""
        return self.root / "tmp"

    def make(self) -> None:
        """Create what is missing."""
        needed_by_server = (self.home / "etc" / "grid", self.home / "lib" / "scripts" / "omero")
        for folder in (self.etc, self.log, self.ice, self.data, self.temporary, *needed_by_server):
            folder.mkdir(parents=True, exist_ok=True)
        self.etc.chmod(0o700)

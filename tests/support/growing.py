"""Plates of every format that are written file by file, as instruments do: into a folder that somebody watches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fleet_stack.plates import PlateSpec
from support.kits import KITS, Made

SPEC: Final = PlateSpec(wells=2, fields=1, channels=2, size=8)


@dataclass
class Growing:
    """A plate that is written file by file into a watched folder.

    Attributes:
        made: The plate as it will be, elsewhere.
        top: The watched folder.
    """

    made: Made
    top: Path

    @classmethod
    def of(cls, kit: str, top: Path, aside: Path, spec: PlateSpec = SPEC) -> Growing:
        """The plate of a kit, each with a name of its own.

        Args:
            kit: One of :data:`KITS`.
            top: Where it will be written to.
            aside: An empty folder in which it is made.
            spec: What to make; its name and seed do not matter.
        """
        aside.mkdir(parents=True)
        seed = sorted(KITS).index(kit) + 1
        made = KITS[kit].make(aside, replace(spec, name=f"P{seed}", seed=seed))
        return cls(made, top)

    @property
    def others(self) -> list[Path]:
        """All files but those of the index."""
        return [file for file in self.made.files if file not in self.made.index]

    def write(self, file: Path) -> None:
        """Write one file."""
        target = self.there(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())

    def there(self, file: Path) -> Path:
        """Where a file is, or will be."""
        return self.top / file.relative_to(self.made.folder.parent)


def orders(growing: Growing) -> Iterator[Sequence[Path]]:
    """Index first, index last, and two of any order."""
    index, others = [*growing.made.index], growing.others
    yield [*index, *others]
    yield [*others, *index]
    for seed in range(2):
        yield random.Random(seed).sample([*index, *others], len(index) + len(others))  # noqa: S311  any order

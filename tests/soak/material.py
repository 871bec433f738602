"""The files behind the wishes: made when they are submitted, as instruments do, and what OMERO must hold of them.

Threading: any thread may ask; the files of one wish are made once.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fleet_stack.plates import MadePlate, PlateSpec, make_plate, tiff
from soak.wishes import Sort, Wish

_FIELDS: Final = 2
_CHANNELS: Final = 3


@dataclass(frozen=True, slots=True)
class Content:
    """A file as it must be in OMERO, whatever folder the server puts it into."""

    name: str
    size: int
    sha1: str


@dataclass(frozen=True, slots=True)
class Material:
    """What a wish is about.

    Attributes:
        path: What ``omero-fleet submit`` is given.
        entry: The entry file, relative to the share.
        share: Its name.
        sizes: Size in bytes of every file by its path in the share.
        contents: All files.
        images: How many images they become.
        plates: How many plates.
    """

    path: Path
    entry: str
    share: str
    sizes: Mapping[str, int]
    contents: tuple[Content, ...]
    images: int = 1
    plates: int = 0


class Instruments:
    """Makes material on the shares, and remembers it.

    Args:
        shares: Folders of the shares ``hcs`` and ``confocal``.
        seed: For other pixels in every soak.
    """

    def __init__(self, shares: Mapping[str, Path], seed: int) -> None:
        self._shares = shares
        self._seed = seed
        self._lock = threading.Lock()
        self._made: dict[int, Material] = {}

    def material(self, wish: Wish) -> Material:
        """The files of a wish, those of another where it repeats that one's."""
        with self._lock:
            if wish.origin not in self._made:
                self._made[wish.origin] = self._make(wish)
            return self._made[wish.origin]

    def _make(self, wish: Wish) -> Material:
        if wish.sort in {Sort.PLATE, Sort.FILES}:
            return self._plate(wish)
        folder = self._shares["confocal"] / "soak" / f"{wish.origin:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        file = _SPECIAL.get(wish.sort, _image)(folder, wish, (self._seed, wish.origin))
        return _described(self._shares["confocal"], "confocal", (file,), path=file, entry=file)

    def _plate(self, wish: Wish) -> Material:
        place = self._shares["hcs"] / "soak"
        place.mkdir(parents=True, exist_ok=True)
        one = wish.sort is Sort.FILES
        wells, fields = (1, 1) if one else (wish.size, _FIELDS)
        name = f"soak {wish.origin:04d}"
        spec = PlateSpec(
            name=name, wells=wells, fields=fields, channels=_CHANNELS, size=16, seed=self._seed * 10_000 + wish.origin
        )
        made: MadePlate = make_plate(place, spec)
        images = wells * fields
        return _described(
            self._shares["hcs"], "hcs", tuple(made.files), path=made.folder, entry=made.entry, images=images, plates=1
        )


def _image(folder: Path, wish: Wish, seed: tuple[int, ...]) -> Path:
    return tiff(folder / f"image {wish.origin}.tif", size=wish.size, seed=seed)


def _text(folder: Path, wish: Wish, _seed: tuple[int, ...]) -> Path:
    file = folder / f"notes {wish.origin}.txt"
    file.write_text(f"no image, but the notes of wish {wish.origin}\n" * 9, encoding="utf-8")
    return file


def _empty(folder: Path, wish: Wish, _seed: tuple[int, ...]) -> Path:
    file = folder / f"empty {wish.origin}.tif"
    file.write_bytes(b"")
    return file


_SPECIAL: Final[Mapping[Sort, Callable[[Path, Wish, tuple[int, ...]], Path]]] = MappingProxyType(
    {Sort.UNKNOWN_FORMAT: _text, Sort.EMPTY_FILE: _empty}
)


def _described(
    root: Path, share: str, files: tuple[Path, ...], *, path: Path, entry: Path, images: int = 1, plates: int = 0
) -> Material:
    return Material(
        path=path,
        entry=entry.relative_to(root).as_posix(),
        share=share,
        sizes={file.relative_to(root).as_posix(): file.stat().st_size for file in files},
        contents=tuple(sorted((content_of(file) for file in files), key=lambda one: (one.name, one.sha1))),
        images=images,
        plates=plates,
    )


def content_of(file: Path) -> Content:
    """What a file on a disk holds."""
    data = file.read_bytes()
    return Content(file.name, len(data), hashlib.sha1(data, usedforsecurity=False).hexdigest())

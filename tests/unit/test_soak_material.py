"""The files of a soak are what their wishes say, made once, and other ones with every seed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from soak.material import Content, Instruments, content_of
from soak.wishes import Sort, Wish


@pytest.fixture
def shares(tmp_path: Path) -> dict[str, Path]:
    """Two empty shares."""
    folders = {name: tmp_path / name for name in ("hcs", "confocal")}
    for folder in folders.values():
        folder.mkdir()
    return folders


def a_wish(sort: Sort, number: int = 3, size: int = 32) -> Wish:
    """A wish for something of this sort."""
    return Wish(number, 0.0, sort, 0, "demo", "alice", "screening", "Dataset:+name:x", "normal", size=size)


def test_a_file_is_known_by_name_size_and_hash(tmp_path: Path) -> None:
    file = tmp_path / "cells.tif"
    file.write_bytes(b"cells")
    assert content_of(file) == Content("cells.tif", 5, hashlib.sha1(b"cells").hexdigest())  # noqa: S324  OMERO's default


def test_an_image_is_one_file(shares: dict[str, Path]) -> None:
    made = Instruments(shares, 1).material(a_wish(Sort.IMAGE))
    assert made.path == shares["confocal"] / made.entry
    assert made.sizes == {made.entry: made.path.stat().st_size}
    assert made.contents == (content_of(made.path),)
    assert (made.share, made.images, made.plates) == ("confocal", 1, 0)


@pytest.mark.parametrize(("sort", "wells", "images"), [(Sort.PLATE, 4, 8), (Sort.FILES, 4, 1)])
def test_several_files_are_a_measurement(shares: dict[str, Path], sort: Sort, wells: int, images: int) -> None:
    """Index, two companions, and three channels of each field."""
    made = Instruments(shares, 1).material(a_wish(sort, size=wells))
    assert made.path.is_dir()
    assert (made.share, made.images, made.plates) == ("hcs", images, 1)
    assert len(made.sizes) == len(made.contents) == 3 + 3 * images
    assert all((shares["hcs"] / path).stat().st_size == size for path, size in made.sizes.items())
    assert made.entry in made.sizes


def test_an_empty_file_is_empty_and_notes_are_no_image(shares: dict[str, Path]) -> None:
    instruments = Instruments(shares, 1)
    empty, notes = (
        instruments.material(a_wish(sort, number)) for number, sort in enumerate((Sort.EMPTY_FILE, Sort.UNKNOWN_FORMAT))
    )
    assert empty.sizes == {empty.entry: 0}
    assert notes.path.suffix == ".txt"
    assert notes.path.read_text().startswith("no image")


def test_what_is_submitted_again_is_the_same(shares: dict[str, Path]) -> None:
    """It is not even written again: a worker may be reading it."""
    instruments = Instruments(shares, 1)
    wish = a_wish(Sort.IMAGE)
    first = instruments.material(wish)
    written = first.path.stat().st_mtime_ns
    assert instruments.material(replace(wish, number=9, same_as=wish.number)) is first
    assert first.path.stat().st_mtime_ns == written


@pytest.mark.parametrize("sort", [Sort.IMAGE, Sort.PLATE, Sort.FILES])
def test_every_wish_and_every_seed_has_other_bytes(tmp_path: Path, sort: Sort) -> None:
    """Otherwise OMERO would know a file of an earlier soak, and a mistaken one would not show."""
    seen = set()
    for seed in (1, 2):
        shares = {name: tmp_path / str(seed) / name for name in ("hcs", "confocal")}
        for number in (3, 4):
            made = Instruments(shares, seed).material(a_wish(sort, number))
            seen.add(frozenset(one.sha1 for one in made.contents if one.name.endswith(("tif", "tiff"))))
    assert len(seen) == 4
    assert not frozenset.intersection(*seen)

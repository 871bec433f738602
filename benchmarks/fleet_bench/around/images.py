"""Many single images, written once, and submitted as a user does. Threading: one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import tifffile

from fleet_bench.stage import GROUP, LANE, USER
from fleet_stack.console import StackError
from fleet_stack.fleet import Fleet
from fleet_stack.plates import tiff

_PIXELS: Final = 64
_STACK_PIXELS: Final = 500
_STACK_PLANES: Final = 30


def singles(share: Path, count: int) -> list[Path]:
    """So many TIFFs of 8 kB; those that are there already are taken as they are."""
    files = [share / "singles" / f"image {number:04d}.tif" for number in range(count)]
    return _written(files, lambda file, seed: tiff(file, size=_PIXELS, seed=seed))


def stacks(share: Path, count: int) -> list[Path]:
    """So many TIFFs of 30 planes, 15 MB each; as above."""
    files = [share / "stacks" / f"stack {number:03d}.tif" for number in range(count)]
    return _written(files, _write_stack)


def _written(files: list[Path], write: Callable[[Path, int], object]) -> list[Path]:
    """The files, those that are missing made now, each from its number."""
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            write(file, number)
    return files


def _write_stack(file: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 4096, (_STACK_PIXELS, _STACK_PIXELS), dtype=np.uint16)
    planes = np.stack([np.roll(pixels, number) for number in range(_STACK_PLANES)])
    tifffile.imwrite(file, planes, photometric="minisblack", metadata=None)


def words(files: Sequence[Path], dataset: int, *options: str) -> tuple[str, ...]:
    """The command that submits these files, each as a request of its own, also where they were imported before."""
    target = ("--target", f"Dataset:id:{dataset}", "--user", USER, "--group", GROUP)
    return ("submit", *map(str, files), *target, "--again", *options)


def submit(fleet: Fleet, files: Sequence[Path], dataset: int, *options: str) -> None:
    """Submit them, and return when the broker has them all.

    Raises:
        StackError: Something was refused.
    """
    done = fleet.run(LANE, *words(files, dataset, *options))
    if done.returncode:
        raise StackError(f"submit ended with {done.returncode}: {done.stderr[-2000:]}")

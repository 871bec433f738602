r"""Compares one listing of a plate with ``find -printf '%p %s\n'`` on the same tree: ``python benchmarks/listing.py``.

Both are measured in turn on a tree of 100,000 files, several times; the answer is the median of the ratios. It is
printed and written to ``build/listing.json``. What counts is processor time, ours and that of ``find``: the tree is in
memory, and other programs of the machine do not count. One process, no threads.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet_common.storage import Share, list_tree

FILES = 100_000
FILES_PER_FOLDER = 10_000
ROUNDS = 5
RESULT = Path(__file__).parents[1] / "build" / "listing.json"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured.

    Attributes:
        files: How many files both listed.
        listing_seconds: Median of our listing, of a processor.
        find_seconds: Median of ``find``, of a processor.
        ratio: Median of ours by theirs, round by round.
    """

    files: int
    listing_seconds: float
    find_seconds: float
    ratio: float


def make_tree(root: Path, files: int = FILES) -> None:
    """Make files of one byte and more, sparse, with names such as a plate has, in folders of 10,000."""
    for number in range(files):
        folder = root / f"plate-{number // FILES_PER_FOLDER:02d}" / "Images"
        if number % FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        well = divmod(number % FILES_PER_FOLDER // 30, 24)
        with (folder / f"r{well[0]:02d}c{well[1]:02d}f{number % 30:02d}p01-ch{number}sk1fk1fl1.tiff").open(
            "wb"
        ) as file:
            file.truncate(number % 5000 + 1)


def compare(root: Path, rounds: int = ROUNDS) -> Comparison:
    """Measure both in turn; the first round, in which the file system warms up, does not count."""
    share = Share("benchmark", root)
    counts: set[int] = set()
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        ours = _seconds(lambda: counts.add(len(list_tree(share).entries)))
        theirs = _seconds(lambda: counts.add(_find(root)))
        pairs.append((ours, theirs))
    if len(counts) != 1:
        raise SystemExit(f"the two did not list the same number of files: {sorted(counts)}")
    listing, find = zip(*pairs[1:], strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs[1:])
    return Comparison(counts.pop(), statistics.median(listing), statistics.median(find), ratio)


def record(comparison: Comparison) -> str:
    """Write the result to ``build/listing.json`` and return it as a sentence."""
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(asdict(comparison), indent=2) + "\n", encoding="utf-8")
    return (
        f"{comparison.files} files: listed in {comparison.listing_seconds:.3f} s, find takes "
        f"{comparison.find_seconds:.3f} s, ratio {comparison.ratio:.2f}"
    )


def _find(root: Path) -> int:
    command = ["find", str(root), "-printf", "%p %s\n"]
    return subprocess.run(command, capture_output=True, check=True).stdout.count(b".tiff ")


def _seconds(work: Callable[[], object]) -> float:
    # What whoever measures holds in memory is not the listing's to look through.
    gc.collect()
    gc.freeze()
    try:
        began = _processor_seconds()
        work()
        return _processor_seconds() - began
    finally:
        gc.unfreeze()


def _processor_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Make the tree, measure, print."""
    with tempfile.TemporaryDirectory(prefix="listing-") as folder:
        make_tree(Path(folder))
        sys.stdout.write(record(compare(Path(folder))) + "\n")


if __name__ == "__main__":
    main()

"""What the tools that make a file have in common: write it, or with ``--check`` say that it is not current."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def write_or_check(target: Path, wanted: str, about: str | None) -> int:
    """Write a file, or with ``--check`` on the command line only compare it; the exit code is returned.

    Args:
        target: The file.
        wanted: What it should hold.
        about: What the tool says of itself for ``--help``.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when the file differs")
    if not parser.parse_args().check:
        target.write_text(wanted, encoding="utf-8")
    elif not target.exists() or target.read_text(encoding="utf-8") != wanted:
        print(f"{target} is not current: run make reference", file=sys.stderr)
        return 1
    return 0

"""Write the dashboards and the README's list of panels, or check that they are current.

python -m fleet_dashboards             writes what differs
python -m fleet_dashboards --check     writes nothing; ends with 1 and names the files that differ
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from fleet_dashboards.fleet import FLEET
from fleet_dashboards.make import BOARDS, as_json
from fleet_dashboards.readme import with_panels

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDER: Final = ROOT / "charts" / "omero-import-fleet" / "files" / "dashboards"
README: Final = ROOT / "README.md"


def files() -> dict[Path, str]:
    """Every file that is made from here, with what it must hold."""
    boards = {FOLDER / f"{board.name}.json": as_json(board) for board in BOARDS}
    return {**boards, README: with_panels(README.read_text(encoding="utf-8"), FLEET)}


def main() -> int:
    """Write or check; the exit code is returned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a file differs")
    check = parser.parse_args().check
    differing = {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}
    for path, text in differing.items():
        print(f"{path.relative_to(ROOT)} {'differs: run make dashboards' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())

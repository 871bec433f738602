"""Runs a piece of the producer as on a host that lacks what only POSIX has: no fcntl, no pwd, no folders to open.

Run as a program: ``bare_host.py FOLDER``. Imports every module of both packages, then submits, spools and watches a
plate on a share, with the very same code that Windows runs.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

ONLY_POSIX = ("fcntl", "pwd", "grp", "resource", "termios", "syslog")
ONLY_POSIX_OS = (
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "O_CLOEXEC",
    "O_NOCTTY",
    "getuid",
    "geteuid",
    "fork",
    "fchmod",
)


def take_away() -> None:
    """Have this process be a poor one."""
    for name in ONLY_POSIX:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails
    for name in ONLY_POSIX_OS:
        delattr(os, name)
    os.supports_dir_fd = set()


def import_all() -> int:
    """Import every module; how many there are."""
    count = 0
    for package in ("fleet_common", "fleet_producer"):
        top = importlib.import_module(package)
        for found in pkgutil.walk_packages(top.__path__, f"{package}."):
            importlib.import_module(found.name)
            count += 1
    return count


def work(folder: Path) -> None:
    """Watch a plate and publish it, then look at it and at its share with the commands."""
    from fleet_common import cli  # noqa: PLC0415  after the host is bare
    from fleet_common.storage import descriptors  # noqa: PLC0415  as above
    from support.watching import Bench  # noqa: PLC0415  as above

    assert not descriptors.POSIX
    bench = Bench(folder)
    made = bench.plate()
    bench.settle()
    assert len(bench.published) == 1
    assert len(bench.spool.entries()) == 1
    assert cli.run(["plate", "inspect", str(made.folder)]) == 0
    os.environ["OMERO_FLEET_SHARES"] = json.dumps({"hcs": str(bench.root)})
    assert cli.run(["paths", "check", str(made.entry)]) == 0


if __name__ == "__main__":
    take_away()
    assert import_all() > 60
    work(Path(sys.argv[1]))

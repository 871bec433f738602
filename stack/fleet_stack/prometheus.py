"""Prometheus's own tools, unpacked from Debian's package: nothing is installed and no service is started.

Role: `promtool` for tests of metrics. Neighbours: `rabbitmq.packages` downloads. Threading: one process at a time
fetches, by a lock file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fleet_stack.console import StackError, step
from fleet_stack.layout import cache_root, locked
from fleet_stack.rabbitmq.packages import PrivateApt, host_codename

PROGRAM: Final = "usr/bin/promtool"


def promtool(cache: Path | None = None) -> Path:
    """The path of promtool, fetched on first use (about 40 MB).

    Raises:
        StackError: this is no Debian, or the package cannot be downloaded.
    """
    folder = (cache or cache_root()) / "prometheus"
    with locked(folder.with_suffix(".lock")):
        if not (folder / PROGRAM).exists():
            _fetch(folder)
    return folder / PROGRAM


def _fetch(folder: Path) -> None:
    debian = host_codename()
    if debian is None:
        raise StackError(
            "promtool is fetched from Debian's package prometheus: install promtool by hand on this system"
        )
    with step("fetch promtool"):
        apt = PrivateApt(folder.with_suffix(".apt"), debian)
        apt.update()
        apt.unpack(["prometheus"], folder)

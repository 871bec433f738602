"""Debian packages that the stack needs from the machine itself.

Role: look, and install as root what is missing. Neighbours: the parts, which name packages. Threading: one installation
at a time on a machine, by a lock file in the cache.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleet_stack.console import StackError, run, step
from fleet_stack.layout import cache_root, locked

if TYPE_CHECKING:
    from collections.abc import Mapping

GET: Final = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
INSTALL: Final = (*GET, "install", "--no-install-recommends")
CLUSTER_SETTINGS: Final = Path("/etc/postgresql-common/createcluster.conf")
NO_CLUSTER: Final = "create_main_cluster = false"


def ensure(packages: Mapping[str, str]) -> None:
    """Install the Debian packages that are missing.

    Args:
        packages: package name to what proves that it is there: a program on PATH, or an absolute path (with wildcards).
            A name ``a|b`` means the first of these that this Debian release has.

    Raises:
        StackError: packages are missing and we are not root, or apt cannot install them.
    """
    if not missing(packages):
        return
    if os.geteuid():
        words = " ".join(name.partition("|")[0] for name in missing(packages))
        raise StackError(f"Debian packages are missing; have root run: apt-get update && apt-get install -y {words}")
    with locked(cache_root() / "apt.lock"):
        wanted = missing(packages)  # perhaps another process has just installed them
        if wanted:
            _install(wanted)


def missing(packages: Mapping[str, str]) -> list[str]:
    """The packages whose proof is not found, in the given order."""
    return [package for package, proof in packages.items() if not _is_there(proof)]


def without_cluster(settings: str) -> str:
    """Debian's createcluster.conf so that installing PostgreSQL starts no database of its own."""
    if any(line.strip() == NO_CLUSTER for line in settings.splitlines()):
        return settings
    return f"{settings.rstrip()}\n{NO_CLUSTER}\n".lstrip()


def _is_there(proof: str) -> bool:
    if proof.startswith("/"):
        return any(Path("/").glob(proof.lstrip("/")))
    # Debian keeps some servers in sbin, which is not on an ordinary user's PATH.
    return shutil.which(proof, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _install(packages: list[str]) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step("apt-get update"):
        run([*GET, "update"], env=env)
    names = [_available(package) for package in packages]
    with step(f"Debian packages {' '.join(names)}"):
        if any(name.startswith("postgresql") for name in names):
            run([*INSTALL, "postgresql-common"], env=env)
            before = CLUSTER_SETTINGS.read_text() if CLUSTER_SETTINGS.exists() else ""
            CLUSTER_SETTINGS.write_text(without_cluster(before))
        run([*INSTALL, *names], env=env, timeout_seconds=1800)


def _available(package: str) -> str:
    names = package.split("|")
    for name in names:
        try:
            run(["apt-cache", "show", "--no-all-versions", name])
        except StackError:
            continue
        return name
    raise StackError(
        f"this Debian release has none of the packages {', '.join(names)}: see `apt-cache policy {names[0]}`"
    )

"""Fills the cache with a RabbitMQ and its Erlang.

Role: download, unpack and relocate one version, once per machine. A version is there when its folder is: it is made
beside and renamed into place. Downloads that were cut go on where they stopped. Neighbours: `packages`, `relocation`,
`releases`. Threading: one process at a time fetches a version, by a lock file; the others wait and find it there.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleet_stack.console import StackError, step
from fleet_stack.layout import locked
from fleet_stack.rabbitmq.packages import PrivateApt, host_codename
from fleet_stack.rabbitmq.relocation import Move, point_programs, point_scripts

if TYPE_CHECKING:
    from fleet_stack.rabbitmq.releases import Release

APPLICATIONS: Final = [
    "asn1",
    "base",
    "crypto",
    "eldap",
    "eunit",
    "ftp",
    "inets",
    "mnesia",
    "os-mon",
    "parsetools",
    "public-key",
    "runtime-tools",
    "ssl",
    "syntax-tools",
    "tftp",
    "tools",
    "xmerl",
]
ERLANG: Final = tuple(f"erlang-{name}" for name in APPLICATIONS)
# What Erlang's programs load: needed only on another Debian release than theirs.
LIBRARIES: Final = re.compile(
    r"(libc6|libgcc-s1|libstdc\+\+6|libtinfo6|zlib1g|libzstd1|libssl\d\S*|libsystemd\S*|libcap2|libsctp1|liblzma5|"
    r"liblz4-1|libgcrypt20|libgpg-error0)"
)
MARKER: Final = "complete.json"


def fetch(release: Release, cache: Path) -> Path:
    """The folder that holds this version, filled on first use (about 45 MB, 10 to 30 s).

    Raises:
        StackError: it cannot be downloaded, or Debian's version is no longer the expected one.
    """
    root = cache / release.version
    if (root / MARKER).exists():
        return root
    with locked(cache / f"{release.version}.lock"):
        if not (root / MARKER).exists():
            with step(f"RabbitMQ {release.version} (downloads about 45 MB, once per machine, 10 to 30 s)"):
                _fill(release, cache, root)
    return root


def broker_folder(root: Path) -> Path:
    """RabbitMQ itself below a fetched root.

    Raises:
        StackError: it is not there.
    """
    found = sorted((root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
    if not found:
        raise StackError(f"there is no broker below {root}: remove that folder and try again")
    return found[0]


def broker_version(root: Path) -> str:
    """The exact version below a fetched root, such as 4.0.5."""
    return broker_folder(root).name.rpartition("-")[2]


def _fill(release: Release, cache: Path, root: Path) -> None:
    aside = cache / f"{release.version}.new"
    for left_over in (aside, root):
        shutil.rmtree(left_over, ignore_errors=True)
    aside.mkdir(parents=True)
    apt = PrivateApt(cache / f"apt-{release.debian}", release.debian)
    apt.update()
    foreign = release.debian != host_codename()
    apt.unpack(["rabbitmq-server", *ERLANG, *(_libraries(apt) if foreign else ())], aside)
    _check(release, broker_version(aside))
    move = Move(now=aside, later=root)
    point_scripts(move)
    if foreign:
        point_programs(move, _patchelf(cache))
    (aside / MARKER).write_text(json.dumps({"version": broker_version(aside)}) + "\n")
    aside.rename(root)
    shutil.rmtree(apt.folder)


def _check(release: Release, found: str) -> None:
    if not release.expected.match(found):
        raise StackError(
            f"Debian {release.debian} now carries RabbitMQ {found}, not {release.version}: choose another version with "
            "--rabbitmq, or correct the table in fleet_stack/rabbitmq/releases.py"
        )


def _libraries(apt: PrivateApt) -> list[str]:
    return [name for name in apt.closure(ERLANG) if LIBRARIES.fullmatch(name)]


def _patchelf(cache: Path) -> Path:
    installed = shutil.which("patchelf")
    if installed:
        return Path(installed)
    program = cache / "tools/usr/bin/patchelf"
    host = host_codename()
    if host is None:
        raise StackError("patchelf is missing: install it with your package manager and try again")
    with locked(cache / "tools.lock"):
        if not program.exists():
            apt = PrivateApt(cache / f"apt-tools-{host}", host)
            apt.update()
            apt.unpack(["patchelf"], cache / "tools")
            shutil.rmtree(apt.folder)
    return program

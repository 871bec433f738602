"""Debian packages of any release, downloaded and unpacked without installing anything.

Role: apt-get with lists, status and archives of its own, so that it neither needs root nor touches the machine's state.
Neighbours: `fetch`. Threading: one user at a time (the caller holds the lock of the release).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleet_stack.console import StackError, run

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR: Final = re.compile(r"(https?://\S+/debian)/?(?:\s|$)")
PRINTED: Final = re.compile(r"^'\S+' (\S+) ", re.MULTILINE)


def codename(os_release: str) -> str | None:
    """The Debian release of a machine, from the text of its /etc/os-release."""
    found = re.search(r"^VERSION_CODENAME=(\S+)", os_release, re.MULTILINE)
    return found.group(1) if found else None


def host_codename() -> str | None:
    """The Debian release of this machine; None when it is something else."""
    path = Path("/etc/os-release")
    return codename(path.read_text()) if path.exists() else None


def mirror(sources: Iterable[str]) -> str:
    """The first Debian mirror named in apt's source files, so that the stack uses the one that works here.

    Raises:
        StackError: there is none.
    """
    for text in sources:
        for line in text.splitlines():
            found = MIRROR.search(line)
            if found and not line.lstrip().startswith("#"):
                return found.group(1)
    raise StackError("apt names no Debian mirror: RabbitMQ is fetched from one, see /etc/apt/sources.list.d")


def host_mirror() -> str:
    """The Debian mirror that this machine uses."""
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.sources")), *sorted(folder.glob("*.list"))]
    return mirror(path.read_text(errors="replace") for path in files if path.is_file())


class PrivateApt:
    """apt-get for one Debian release below one folder."""

    def __init__(self, folder: Path, debian: str) -> None:
        if not KEYRING.exists():
            raise StackError(f"{KEYRING} is missing: RabbitMQ comes from Debian packages, and they must be verified")
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial", "archives"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {host_mirror()} {debian} main\n")

    def update(self) -> None:
        """Read the release's list of packages."""
        self._get("update")

    def closure(self, packages: Sequence[str]) -> list[str]:
        """The packages with everything they depend on, by name."""
        printed = self._get("install", "-y", "--no-install-recommends", "--print-uris", *packages)
        return [name.partition("_")[0] for name in PRINTED.findall(printed)]

    def unpack(self, packages: Sequence[str], target: Path) -> None:
        """Download packages (those that a cut download left behind are not fetched again) and unpack them."""
        archives = self.folder / "archives"
        # Asked elsewhere: apt-get prints only what is not yet in its working folder.
        names = PRINTED.findall(self._get("download", "--print-uris", *packages, cwd=self.folder))
        self._get("download", *packages, cwd=archives)
        missing = [name for name in names if not (archives / name).exists()]
        if missing or len(names) < len(packages):
            raise StackError(f"apt-get did not download {', '.join(missing) or 'every package'} into {archives}")
        for name in names:
            run(["dpkg-deb", "-x", archives / name, target])

    def _get(self, *arguments: str, cwd: Path | None = None) -> str:
        options = (
            f"Dir::Etc::sourcelist={self.folder}/sources.list",
            "Dir::Etc::sourceparts=-",
            f"Dir::State::Lists={self.folder}/lists",
            f"Dir::State::status={self.folder}/status",
            f"Dir::Cache={self.folder}/cache",
            "Acquire::Languages=none",
            "Acquire::Retries=3",
            "APT::Sandbox::User=root",  # apt's own user may not write below our cache
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "APT::Update::Post-Invoke-Success::=",
        )
        return run(["apt-get", "-q", *(f"-o{option}" for option in options), *arguments], cwd=cwd)

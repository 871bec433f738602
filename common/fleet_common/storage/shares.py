"""Shares: the named shared storage that requests point into.

A request names a share and a relative path; each side says in its own settings where a share is mounted. Data without
threads; :class:`Shares` is built once from settings and only read afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Final

from fleet_common.errors import Reason, failure
from fleet_common.names import printable
from fleet_common.storage.paths import check_relative

_DEVICE: Final = "\\\\?\\"


@dataclass(frozen=True, slots=True)
class Share:
    """One shared storage as this host sees it.

    Attributes:
        name: The name that all hosts use for it.
        root: Where it is mounted here; may itself be a link, everything below may not.
    """

    name: str
    root: Path


class Shares(Mapping[str, Share]):
    """The shares of this host by name."""

    def __init__(self, shares: Iterable[Share]) -> None:
        self._shares = {share.name: share for share in shares}

    def __iter__(self) -> Iterator[str]:
        return iter(self._shares)

    def __len__(self) -> int:
        return len(self._shares)

    def __getitem__(self, name: str) -> Share:
        """The share of a name, mounted.

        Raises:
            Permanent: ``unknown-share``.
            Transient: ``share-unavailable`` when its root is not there.
        """
        share = self._shares.get(name)
        if share is None:
            known = ", ".join(sorted(self._shares)) or "none"
            raise failure(
                Reason.UNKNOWN_SHARE, f"the share {printable(name)} is not in this host's settings (known: {known})"
            )
        return _mounted(share)

    def __contains__(self, name: object) -> bool:
        return name in self._shares

    def locate(self, path: Path) -> tuple[str, PurePosixPath]:
        """Find the share that a local path lies in, and the path inside it.

        The longest root wins. Links inside a share are not followed: they are refused when the path is opened.

        Returns:
            The share's name and the relative path; ``PurePosixPath()`` is the top of the share.

        Raises:
            Permanent: ``unsafe-path`` when the path lies in no share, or as :func:`check_relative`.
        """
        absolute = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow links inside the share
        found = self._by_spelling(absolute) or self._by_identity(absolute)
        if found is None:
            roots = ", ".join(f"{share.name}={share.root}" for share in self._shares.values()) or "none"
            raise failure(Reason.UNSAFE_PATH, f"{printable(str(absolute))} lies in no share of this host ({roots})")
        share, root = found
        relative = without_device(absolute).relative_to(without_device(root)).as_posix()
        return share.name, PurePosixPath() if relative == "." else check_relative(relative)

    def _by_spelling(self, absolute: Path) -> tuple[Share, Path] | None:
        roots = {share: Path(os.path.abspath(share.root)) for share in self._shares.values()}  # noqa: PTH100  as above
        found = longest_root(absolute, roots)
        return None if found is None else (found, roots[found])

    def _by_identity(self, absolute: Path) -> tuple[Share, Path] | None:
        """Find a root that the path spells differently, through a link above the share or another letter case."""
        for ancestor in (absolute, *absolute.parents):
            for share in self._shares.values():
                if _same_folder(ancestor, share.root):
                    return share, ancestor
        return None


def longest_root(absolute: PurePath, roots: Mapping[Share, Path] | Mapping[Share, PurePath]) -> Share | None:
    r"""The share whose root holds a path, by spelling alone; of several the one with the longest root.

    Windows compares drive letters, servers and folders in any letter case, and ``\\?\`` in front of a path that is
    longer than 260 characters does not make it another one.

    Args:
        absolute: A path, of the flavour of the roots.
        roots: By share.
    """
    plain = without_device(absolute)
    fitting = [(share, root) for share, root in roots.items() if plain.is_relative_to(without_device(root))]
    return max(fitting, key=lambda found: len(found[1].parts), default=(None, None))[0]


def without_device(path: PurePath) -> PurePath:
    r"""A path of Windows without ``\\?\`` or ``\\?\UNC\`` in front of it; any other path as it is."""
    text = str(path)
    if not isinstance(path, PureWindowsPath) or not text.startswith(_DEVICE):
        return path
    rest = text.removeprefix(_DEVICE)
    return type(path)(f"\\\\{rest[4:]}" if rest[:4].upper() == "UNC\\" else rest)


def _mounted(share: Share) -> Share:
    if not share.root.is_dir():
        raise failure(
            Reason.SHARE_UNAVAILABLE, f"the share {share.name} is not mounted here: {share.root} is no folder; mount it"
        )
    return share


def _same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False

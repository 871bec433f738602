"""Paths inside a share: the one check and the one join.

Every path of the fleet is relative to a share and in POSIX spelling, whether it comes from a command line, a message or
the XML of a vendor. Pure functions, no threads. :mod:`fleet_common.storage.opening` opens what passed here.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, failure
from fleet_common.names import check_component, printable

MAX_PATH_CHARACTERS: Final = 4096

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def check_relative(path: str) -> PurePosixPath:
    """Accept a relative POSIX path whose every component OMERO can keep.

    Raises:
        Permanent: ``unsafe-path`` for an absolute path, a drive letter, a backslash, ``..``, ``.``, an empty component
            or more than 4,096 characters; ``name-refused`` where OMERO's path rules refuse a component.
    """
    check_text(path)
    return PurePosixPath(path)


def check_text(path: str) -> None:
    """Do what :func:`check_relative` does, without making an object of the path."""
    if problem := _unsafe(path):
        raise failure(Reason.UNSAFE_PATH, f"the path {printable(path)} cannot be used: {problem}")
    for component in path.split("/"):
        check_component(component)


def join(base: PurePosixPath, reference: str) -> PurePosixPath:
    """Join a folder of a share and a reference found inside a file, such as the URL of an image in a vendor's index.

    Args:
        base: The folder that the reference is relative to; ``PurePosixPath()`` is the top of the share.
        reference: Must stay below ``base``.

    Raises:
        Permanent: As :func:`check_relative`; a URL (``http:``) is ``unsafe-path``: nothing is fetched over a network.
    """
    if _SCHEME.match(reference):
        raise failure(
            Reason.UNSAFE_PATH,
            f"the reference {printable(reference)} is a URL or a drive; only files beside it are read",
        )
    return base / check_relative(reference)


def _unsafe(path: str) -> str:
    if not path:
        return "it is empty"
    if len(path) > MAX_PATH_CHARACTERS:
        return f"it is longer than {MAX_PATH_CHARACTERS} characters"
    if path.startswith(("/", "\\")):
        return "it is absolute; write it relative to its share"
    if len(path) > 1 and path[1] == ":" and path[0].isalpha():
        return "it begins with a drive letter; write it relative to its share"
    if "\\" in path:
        return "it holds a backslash; write / between folders"
    return _unsafe_components(path)


def _unsafe_components(path: str) -> str:
    if "/../" in f"/{path}/":
        return "it holds .., which could leave the share"
    if "/./" in f"/{path}/" or "//" in path or path.endswith("/"):
        return "it holds an empty component or a lone dot"
    return ""

"""OMERO's managed repository, mounted on the worker: whether it is the server's, and links in it.

Folders are opened component by component without following links, as those of shares are, so that nothing outside the
repository is ever written to. Data only; safe in any thread.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from fleet_common.errors import Reason, failure
from fleet_common.names import printable
from fleet_common.storage.descriptors import PosixHandle

_MARKS: Final = ".omero/repository"
"""Below it OMERO keeps a folder for each database that uses the repository, with the repository's uuid in a file."""
_UUID_FILE: Final = "repo_uuid"
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Java writes the length of the text before it, in two bytes."""


class Repository:
    """The mount of a managed repository.

    Attributes:
        root: Where it is mounted; may itself be a link.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self, uuid: str) -> None:
        """Whether this is the repository of the server.

        Args:
            uuid: Of the server's repository, as the server says.

        Raises:
            Transient: ``repository-unavailable``: nothing is mounted here, it cannot be read, or it is another's.
        """
        with self._translated(_MARKS):
            found = {uuid for file in self._uuid_files() for uuid in _UUID.findall(file.read_text(errors="replace"))}
        if not found:
            raise failure(
                Reason.REPOSITORY_UNAVAILABLE,
                f"{self.root} is no managed repository of OMERO: {_MARKS} holds no {_UUID_FILE}; is it mounted?",
            )
        if uuid not in found:
            raise failure(
                Reason.REPOSITORY_UNAVAILABLE,
                f"{self.root} is the managed repository {', '.join(sorted(found))}, and the server's is {uuid}",
            )

    def link(self, targets: Mapping[str, PurePosixPath], stop: Callable[[], None]) -> None:
        """Make links in folders that are there; one that is there already, with the same target, stays.

        Args:
            targets: By path of the link below the repository, what it names: a path in the eyes of the server.
            stop: Called before each folder; raises to end the work.

        Raises:
            Transient: ``repository-unavailable``: a folder is not there or may not be written to, or something else
                has the name of a link.
        """
        folders: dict[PurePosixPath, dict[str, PurePosixPath]] = defaultdict(dict)
        for path, target in targets.items():
            link = PurePosixPath(path)
            folders[link.parent][link.name] = target
        for folder, links in folders.items():
            stop()
            self._link_in(folder, links)

    def _link_in(self, folder: PurePosixPath, links: Mapping[str, PurePosixPath]) -> None:
        with self._translated(str(folder)), closing(self._folder(folder)) as handle:
            for name, target in links.items():
                if not handle.link(name, str(target)):
                    raise failure(
                        Reason.REPOSITORY_UNAVAILABLE,
                        f"{printable(str(folder / name))} is there already below {self.root}, and is no link to "
                        f"{printable(str(target))}: nothing is replaced",
                    )

    def _folder(self, folder: PurePosixPath) -> PosixHandle:
        handle = PosixHandle.of(self.root)
        for component in folder.parts:
            with closing(handle):
                handle = handle.child(component)
        return handle

    def _uuid_files(self) -> Iterator[Path]:
        marks = self.root / _MARKS
        return (folder / _UUID_FILE for folder in marks.iterdir() if (folder / _UUID_FILE).exists())

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise failure(
                Reason.REPOSITORY_UNAVAILABLE,
                f"{printable(path)} of OMERO's managed repository, mounted at {self.root}: "
                f"{error.strerror or type(error).__name__}",
            ) from error

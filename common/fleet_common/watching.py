"""Settings of a producer that watches folders: which folders, how patiently, and what becomes of what it finds there.

Part of :mod:`fleet_common.settings`. Data only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from fleet_common.heartbeats import EVERY_SECONDS
from fleet_common.messages import Name, Priority
from fleet_common.settinggroup import Group

TEMPORARY_NAMES: Final = (
    "*.tmp",
    "*.temp",
    "~*",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    ".*.??????",
)
"""Names that editors, browsers, WinSCP and rsync give to files that they are still writing."""

IGNORED_NAMES: Final = (".*", "@eaDir", "$*", "System Volume Information", "lost+found", "Thumbs.db", "desktop.ini")
"""Names that storage and desktops put beside plates."""


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression that must match the whole text; its named groups can be used in the rule."""


class WatchedFolder(Group):
    """A folder in which an instrument, or a copy from it, leaves plates and images."""

    path: Path
    """The folder on this host; it must lie in one of the ``shares``."""
    instrument: str | None = None
    """Name of the instrument, for rules and provenance; by default ``producer.instrument``."""
    depth: Annotated[int, Field(ge=1, le=8)] = 1
    """How many folders below ``path`` the plates lie: 1 when each folder in it is a plate, 2 for ``user/plate``."""
    plates: bool = True
    """Whether each folder at ``depth`` is a plate; false where only ``files`` are imported."""
    scan: bool = False
    """Whether a worker looks with Bio-Formats what a folder holds that no plate format knows, once it is quiet. Not
    where plates may get their index last, after a pause."""
    files: tuple[str, ...] = ()
    """Names, with ``*`` and ``?``, of single files to import by themselves, down to ``depth``: ``*.czi``."""
    ignored: tuple[str, ...] = IGNORED_NAMES
    """Names, with ``*`` and ``?``, of files and folders to pass over."""
    temporary: tuple[str, ...] = TEMPORARY_NAMES
    """Names, with ``*`` and ``?``, of files that are still being written: as long as one is there, a plate waits."""
    settle_seconds: Annotated[float, Field(gt=0)] = 60.0
    """So long nothing of a plate may change before it is complete: longer than the longest pause of an acquisition."""
    deadline_seconds: Annotated[float, Field(gt=0)] = 86_400.0
    """After so long without a change a plate that is not complete is reported to people, with what is missing."""
    sentinel: str = ""
    """Name of a file that must be in a plate's folder before it is published, such as ``IMPORT_READY``; with
    ``{folder}`` in it, as in ``{folder}.ready``, the file lies beside that folder. One in the folder must not be empty
    where the reader takes all files along."""
    check_tiffs: bool = True
    """Whether to see that every TIFF is whole before a plate is published; two small reads a file."""
    same_sizes: bool = False
    """Whether all files of a channel must have the same size: for uncompressed images."""


class PlateRule(Group):
    """What becomes of plates for which all given patterns match.

    ``{name}`` in ``user``, ``group``, ``target`` and ``lane`` stands for a named group of a pattern, or for ``plate``,
    ``barcode``, ``operator``, ``instrument`` or ``user``, the OMERO user of the operator.
    """

    folder: Pattern | None = None
    """Matches ``share/path`` of the plate's folder: ``hcs/phenix1/(?P<project>[^/]+)/.*``."""
    barcode: Pattern | None = None
    """Matches the barcode: ``(?P<project>[A-Z]+)-[0-9]+``."""
    operator: Pattern | None = None
    """Matches who measured, as the instrument knows the person."""
    instrument: Pattern | None = None
    """Matches the instrument: of the folder's settings, otherwise of the plate's index."""
    ignore: bool = False
    """Whether such plates are not imported at all, and nobody is told when they stay incomplete."""
    user: str = "{user}"
    """OMERO user who shall own the data."""
    group: str = ""
    """OMERO group of the data."""
    target: str = ""
    """OMERO's grammar: ``Screen:+name:{project}``."""
    lane: str = ""
    """The lane; by default ``producer.lane``, else the broker user."""
    priority: Priority = Priority.NORMAL
    """The class of the lane."""
    name: Name | None = None
    """Shown in logs and by ``watch --json``; by default its number."""


class WatchSettings(Group):
    """How ``omero-fleet watch`` works."""

    state: Path | None = None
    """Folder that remembers what was seen and published, on a local disk; by default ``watch`` beside the spool."""
    poll_seconds: Annotated[float, Field(gt=0)] = 10.0
    """The shortest time between two looks at a folder or plate."""
    slowest_seconds: Annotated[float, Field(gt=0)] = 300.0
    """The longest time between two looks at what is not published yet."""
    rest_seconds: Annotated[float, Field(gt=0)] = 3_600.0
    """How often the entry file of a published plate is looked at."""
    busy_percent: Annotated[int, Field(ge=1, le=100)] = 10
    """At most this part of the time is spent looking, so that instruments and storage keep the rest."""
    heartbeat_seconds: Annotated[float, Field(gt=0)] = EVERY_SECONDS
    """How often this host tells the event log that it is alive."""
    folders: tuple[WatchedFolder, ...] = ()
    """What is watched."""
    rules: tuple[PlateRule, ...] = ()
    """What becomes of plates: the first rule that matches decides. It is asked when a plate is complete, and, whether
    one ignores it, before people are told that it stays incomplete."""
    people: dict[str, str] = Field(default_factory=dict)
    """OMERO users by login on the instruments, for ``{user}`` in rules."""

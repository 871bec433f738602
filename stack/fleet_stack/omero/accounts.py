"""The people of a small screening facility, as plain data. Used by ``users``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

READ_ANNOTATE: Final = "rwra--"
PRIVATE: Final = "rw----"


@dataclass(frozen=True, slots=True)
class Group:
    """A group and its permissions, in OMERO's notation of six characters."""

    name: str
    permissions: str


@dataclass(frozen=True, slots=True)
class User:
    """An ordinary user; the first of the groups is the default one."""

    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facility:
    """Everybody who may log in, besides OMERO's own ``root`` and ``guest``.

    Attributes:
        groups: What exists before any user.
        users: Ordinary users.
        importer: The restricted administrator that the fleet's workers are; its only privilege is Sudo.
    """

    groups: tuple[Group, ...]
    users: tuple[User, ...]
    importer: str


FACILITY: Final = Facility(
    groups=(Group("screening", READ_ANNOTATE), Group("private-lab", PRIVATE), Group("other", PRIVATE)),
    users=(
        User("alice", ("screening", "private-lab")),
        User("bob", ("screening",)),
        User("carol", ("private-lab",)),
        User("dave", ("other",)),
    ),
    importer="importer",
)


def secret_name(user: str) -> str:
    """The name of the secret that holds a user's password."""
    return f"omero-{user}"

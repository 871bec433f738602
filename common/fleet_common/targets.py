"""OMERO's own grammar for import targets, parsed without OMERO.

The grammar is that of ``omero import -T``: ``Dataset:id:5``, ``Screen:+name:X``, ``Project:name:P/Dataset:name:D``
(https://docs.openmicroscopy.org/omero/5.6/users/cli/import-target.html), without template targets (``regex:``).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What images or plates can be put into."""

    DATASET = "Dataset"
    SCREEN = "Screen"
    PROJECT = "Project"


class Choice(enum.StrEnum):
    """How a container is chosen among those of one name, as the official importer defines it."""

    ID = "id"
    NEWEST = "+name"
    OLDEST = "-name"
    UNIQUE = "%name"
    NEW = "@name"


@dataclass(frozen=True, slots=True)
class Container:
    """One container: its kind, how it is chosen, and its id or name."""

    kind: Kind
    choice: Choice
    value: str

    @property
    def id(self) -> int:
        """The OMERO id; only for ``Choice.ID``."""
        return int(self.value)


@dataclass(frozen=True, slots=True)
class Target:
    """Where an import goes: a Screen, a Dataset, or a Dataset inside a Project."""

    container: Container
    project: Container | None = None

    @property
    def kind(self) -> Kind:
        """The kind of the container that receives the images or plates."""
        return self.container.kind


_STEP = re.compile(r"(?P<kind>Dataset|Screen|Project):(?:(?P<choice>id|name|[-+%@]name):)?(?P<value>.+)", re.DOTALL)
_MAX_NAME_LENGTH = 255


def parse_target(text: str) -> Target:
    """Read a target.

    Raises:
        ValueError: With a sentence that says what is wrong and shows the accepted forms.
    """
    outer, separator, inner = text.partition("/Dataset:") if text.startswith("Project:") else (text, "", "")
    if separator:
        return Target(_container(f"Dataset:{inner}"), project=_container(outer))
    container = _container(outer)
    if container.kind is Kind.PROJECT:
        raise ValueError(f"a Project cannot hold images: write {text}/Dataset:name:NAME")
    return Target(container)


def _container(text: str) -> Container:
    found = _STEP.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no target: write Dataset:id:5, Screen:+name:NAME or Project:name:NAME/Dataset:name:NAME"
        )
    choice = found["choice"] or "id"
    choice = "+name" if choice == "name" else choice
    return _checked(Container(Kind(found["kind"]), Choice(choice), found["value"]))


def _checked(container: Container) -> Container:
    if container.choice is Choice.ID and not re.fullmatch(r"[1-9][0-9]{0,17}", container.value):
        raise ValueError(f"{container.value!r} is no id of a {container.kind}: an id is a positive number")
    if len(container.value) > _MAX_NAME_LENGTH or not container.value.isprintable() or not container.value.strip():
        raise ValueError(f"the name of a {container.kind} must be 1 to {_MAX_NAME_LENGTH} printable characters")
    return container

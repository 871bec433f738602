"""Settings of imports in place. Data only."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from fleet_common.messages import Name
from fleet_common.settinggroup import Group


def _absolute(path: PurePosixPath) -> PurePosixPath:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("must be an absolute path without ..")
    return path


ServerPath = Annotated[PurePosixPath, AfterValidator(_absolute)]
"""A path in the eyes of OMERO.server, which may be another host or container."""


class InPlaceSettings(Group):
    """Imports in place: OMERO gets links to the files (``ln_s``) instead of copies; see ``docs/how-to``."""

    repository: Path | None = None
    """Where OMERO's managed repository (``omero.managed.dir``) is mounted here, writable; required with ``shares``."""
    shares: dict[Name, ServerPath] = Field(default_factory=dict)
    """The shares whose files are linked, each with its path as OMERO.server sees it: ``{archive = "/data/archive"}``.
    Files of every other share are uploaded."""

    @model_validator(mode="after")
    def _names_the_repository(self) -> Self:
        if self.shares and self.repository is None:
            raise ValueError("shares are to be imported in place, and no repository is named to make the links in")
        return self

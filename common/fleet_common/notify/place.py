"""What was told, kept on disk: where to read on, and which batches were announced.

The file is small, and written beside itself first, so that a cut leaves the old one. Threading: one thread.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from fleet_common.errors import UsageError

MOST_ANNOUNCED: Final = 2_000


class Place(BaseModel):
    """A place in the event log.

    Attributes:
        read_from: The first event of the oldest batch that is still open, or the one after the last.
        told_to: Everything up to here was told; nothing of it is told again.
        announced: Batches that were announced, the last ones, by lane and id, with the counts that they had then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    read_from: Annotated[int, Field(ge=0)]
    told_to: Annotated[int, Field(ge=-1)]
    announced: dict[str, str] = Field(default_factory=dict, max_length=MOST_ANNOUNCED)

    @classmethod
    def load(cls, file: Path) -> Self | None:
        """The place in a file; None when there is no file yet.

        Raises:
            UsageError: The file cannot be read, or is none of ours.
        """
        try:
            return cls.model_validate_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, pydantic.ValidationError) as error:
            raise UsageError(
                f"{file} cannot be read: {error}; move it away to begin anew with what is told from now on"
            ) from error

    def save(self, file: Path) -> None:
        """Write the place.

        Raises:
            OSError: It could not be written; the old one is still there.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.part")
        with partial.open("w", encoding="utf-8") as output:
            output.write(self.model_dump_json())
            output.flush()
            os.fsync(output.fileno())
        partial.replace(file)

"""What the child says, line by line: data, and pure functions that believe nothing that does not fit."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Annotated, Final

import pydantic
from pydantic import Field

from fleet_common.errors import FleetError
from fleet_common.plates import Sizes

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""The longest answer: the names of 500,000 files."""
_MAX_TEXT: Final = 500


class Nonsense(FleetError):
    """The child said something that is no answer to what it was asked."""


class Refusal(enum.StrEnum):
    """Why there is nothing to import.

    ``UNKNOWN``: no reader takes the file. ``FAILED``: its reader failed. ``HUNG``: no answer by the deadline.
    ``DIED``: the child ended, or said nonsense.
    """

    UNKNOWN = "unknown"
    FAILED = "failed"
    HUNG = "hung"
    DIED = "died"

    @property
    def sentence(self) -> str:
        """For people, about a file that they know."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Refusal.UNKNOWN: "no reader of Bio-Formats takes it",
    Refusal.FAILED: "Bio-Formats failed at it",
    Refusal.HUNG: "Bio-Formats hung at it",
    Refusal.DIED: "Bio-Formats died of it",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that cannot be imported by itself.

    Attributes:
        why: The kind of refusal.
        text: For people; empty where there is no more to say.
    """

    why: Refusal
    text: str = ""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What Bio-Formats makes of a file.

    Attributes:
        reader: The full Java name of its reader, such as ``loci.formats.in.LIFReader``.
        files: Every file of the group, absolute, as the child sees them, in the reader's order.
        sizes: One per series, which is one image in OMERO.
        is_plate: Whether the reader speaks of wells.
    """

    reader: str
    files: tuple[str, ...]
    sizes: tuple[Sizes, ...]
    is_plate: bool


Answer = Scanned | Refused


class _Line(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")


class _Ready(_Line):
    version: Annotated[str, Field(min_length=1, max_length=100)]


class _Series(_Line):
    x: Annotated[int, Field(ge=1)]
    y: Annotated[int, Field(ge=1)]
    z: Annotated[int, Field(ge=1)]
    c: Annotated[int, Field(ge=1)]
    t: Annotated[int, Field(ge=1)]


class _Unknown(_Line):
    id: int
    unknown: bool


class _Error(_Line):
    id: int
    error: str


class _Found(_Line):
    id: int
    reader: Annotated[str, Field(max_length=255, pattern=r"^[A-Za-z_$][A-Za-z0-9_.$]*$")]
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    series: Annotated[tuple[_Series, ...], Field(min_length=1)]
    plate: bool


_LINES: Final[pydantic.TypeAdapter[_Unknown | _Error | _Found]] = pydantic.TypeAdapter(_Unknown | _Error | _Found)


def question(number: int, path: str) -> bytes:
    """The line that asks about a file."""
    return json.dumps({"id": number, "path": path}).encode() + b"\n"


def ready(line: bytes) -> str:
    """The version of Bio-Formats, as the first line says it.

    Raises:
        Nonsense: It is another line.
    """
    try:
        return _Ready.model_validate_json(line).version
    except pydantic.ValidationError as error:
        raise Nonsense("its first line names no version") from error


def answer(line: bytes, number: int) -> Answer:
    """The answer to a question.

    Raises:
        Nonsense: It is none, or one to another question.
    """
    try:
        said = _LINES.validate_json(line)
    except pydantic.ValidationError as error:
        raise Nonsense("its line is no answer") from error
    if said.id != number:
        raise Nonsense(f"it answers question {said.id} instead of {number}")
    if isinstance(said, _Found):
        sizes = tuple(Sizes(one.x, one.y, one.z, one.c, one.t) for one in said.series)
        return Scanned(said.reader, said.files, sizes, said.plate)
    return Refused(Refusal.FAILED, _text(said.error)) if isinstance(said, _Error) else Refused(Refusal.UNKNOWN)


def _text(error: str) -> str:
    """A reader's error on one line, of a length that logs and events bear."""
    line = " ".join("".join(one if one.isprintable() else " " for one in error).split())
    return line if len(line) <= _MAX_TEXT else f"{line[:_MAX_TEXT]}..."

"""What an attempt is about, and how it ends well. Data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet_common.events import Kind, Result
from fleet_common.messages import ImportRequest


@dataclass(frozen=True, slots=True)
class Job:
    """What an attempt is about: the request, the lane it came from, and the number of the attempt."""

    request: ImportRequest
    lane: str
    number: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a successful attempt ended: ``imported`` or ``already-imported``, and with what."""

    kind: Kind
    result: Result

    @property
    def facts(self) -> Mapping[str, object]:
        """What its event says."""
        return {"result": self.result}


@dataclass(frozen=True, slots=True)
class Expanded:
    """How a successful scan ended.

    Attributes:
        message: Into how many requests, and what was left out.
    """

    message: str

    @property
    def kind(self) -> Kind:
        """Of its event."""
        return Kind.EXPANDED

    @property
    def facts(self) -> Mapping[str, object]:
        """What its event says."""
        return {"message": self.message}

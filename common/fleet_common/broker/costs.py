"""What taking a request costs its lane: the bytes of its manifest, within bounds.

Role: reads one number out of a body that anybody may have written. It is read with the parser that later decides what
the request means, so the two cannot be told different numbers, and a request whose files are not as large as it says is
not imported. What cannot be read is refused within milliseconds, so it costs no more than the smallest. Neighbours:
``fairness`` books it. Threading: pure.
"""

from __future__ import annotations

from typing import Annotated, Final

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from fleet_common.messages import MAX_BODY_BYTES

FLOOR_BYTES: Final = 64 * 1024**2
"""The least that a request costs: about a second of work, which the smallest image needs, too."""

CAP_BYTES: Final = 16 * 1024**3
"""The most: a plate of terabytes, or a lie, must not keep its lane waiting for days afterwards."""


class _Manifest(BaseModel):
    model_config = ConfigDict(strict=True)
    bytes: Annotated[int, Field(ge=0)]


class _Source(BaseModel):
    manifest: _Manifest


class _Body(BaseModel):
    source: _Source


def cost_of(body: bytes) -> int:
    """The cost of a request in bytes, from :data:`FLOOR_BYTES` to :data:`CAP_BYTES`; never raises."""
    if len(body) > MAX_BODY_BYTES:
        return FLOOR_BYTES
    try:
        said = _Body.model_validate_json(body).source.manifest.bytes
    except pydantic.ValidationError:
        return FLOOR_BYTES
    return min(max(said, FLOOR_BYTES), CAP_BYTES)

"""What is written beside a fileset in OMERO, and what is told of it: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from fleet_common.events import Result
from fleet_common.messages import ImportRequest
from fleet_common.metrics import fleet_version
from fleet_worker.omero.facts import ImportedFacts, ResolvedTarget

RESULT: Final = "result"
"""The pair of the key annotation that says how the verification ended: one of the next two."""
VERIFIED: Final = "verified"
FAILED: Final = "verification-failed"
DIFFERENCE: Final = "difference"
_MAX_IDS: Final = 1000


def result_of(
    request: ImportRequest, facts: ImportedFacts, target: ResolvedTarget | None, seconds: Mapping[str, float]
) -> Result:
    """What OMERO holds, for the outcome event."""
    plates = tuple(plate.id for plate in facts.plates)
    return Result(
        fileset_id=facts.fileset_id,
        plate_ids=plates[:_MAX_IDS],
        image_ids=tuple(image.id for image in facts.images)[:_MAX_IDS],
        target=str(target) if target else None,
        files=request.source.manifest.files,
        bytes=request.source.manifest.bytes,
        images=len(facts.images),
        wells=facts.wells,
        planes=facts.planes,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def provenance(request: ImportRequest, attempt: int, result: Result, now: datetime) -> dict[str, str]:
    """What stays with the fileset for as long as it exists: where it came from, who asked, and that it was verified."""
    source = request.source
    told = {
        RESULT: VERIFIED,
        "verified_at": now.isoformat(timespec="seconds"),
        "fleet_version": fleet_version(),
        "attempt": str(attempt),
        "source": f"{source.share}/{source.path}",
        "format": source.format,
        "batch": request.batch.name,
        "lane": request.lane,
        "submitted_at": request.submitted_at.isoformat(timespec="seconds"),
        "submitted_by_host": request.submitted_by.host,
        "instrument": request.submitted_by.instrument or "",
        "files": str(result.files),
        "bytes": str(result.bytes),
        "images": str(result.images),
        "planes": str(result.planes),
    }
    return {name: value for name, value in told.items() if value}

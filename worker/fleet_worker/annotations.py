"""What is written beside a fileset in OMERO, and what is told of it: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from fleet_common.events import Result, Transfer
from fleet_common.instruments import fleet_version
from fleet_common.messages import ImportRequest
from fleet_common.plates import Plate
from fleet_worker.omero.facts import ImportedFacts, ResolvedTarget

RESULT: Final = "result"
"""The pair of the key annotation that says how the verification ended: one of the next two."""
VERIFIED: Final = "verified"
FAILED: Final = "verification-failed"
DIFFERENCE: Final = "difference"
LANE: Final = "lane"
BATCH: Final = "batch"
BATCH_ID: Final = "batch_id"
TARGET: Final = "target"
WARNINGS: Final = "warnings"
TRANSFER: Final = "transfer"
_MAX_IDS: Final = 1000
_MAX_DIFFERENCE: Final = 1000
_MAX_PLATE_WARNINGS: Final = 10


def result_of(  # noqa: PLR0913  what is known of an import comes from as many places
    request: ImportRequest,
    facts: ImportedFacts,
    target: ResolvedTarget | None,
    seconds: Mapping[str, float],
    warnings: Sequence[str] = (),
    *,
    transfer: Transfer | None = None,
) -> Result:
    """What OMERO holds, for the outcome event.

    Args:
        request: What was asked for.
        facts: What is there.
        target: Where it is; None for what another worker imported.
        seconds: By phase.
        warnings: What its format says of it, and what was seen of its pixels; that it is partial is added.
        transfer: How this attempt got the files into OMERO; told where it was not the usual way.
    """
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
        warnings=(*_warnings(request), *warnings),
        # Only what is not the usual way: an older reader of events refuses a field that it does not know.
        transfer=transfer if transfer is Transfer.LN_S else None,
    )


def plate_warnings(plate: Plate) -> tuple[str, ...]:
    """What its format and its instrument say of a plate, although it is whole; the first few of it."""
    said = plate.warnings[:_MAX_PLATE_WARNINGS]
    more = len(plate.warnings) - len(said)
    return (*said, *((f"and {more} more warnings of this kind",) if more else ()), *_failed_planes(plate))


def _failed_planes(plate: Plate) -> Iterator[str]:
    if plate.errors:
        first = plate.errors[0]
        yield f"the instrument recorded {len(plate.errors)} planes as failed, the first at {first.where}: {first.state}"


def result_from(told: Mapping[str, str], facts: ImportedFacts) -> Result:
    """What OMERO holds, for an outcome that is rebuilt: from a verified fileset and what was written on it."""
    return Result(
        fileset_id=facts.fileset_id,
        plate_ids=tuple(plate.id for plate in facts.plates)[:_MAX_IDS],
        image_ids=tuple(image.id for image in facts.images)[:_MAX_IDS],
        target=told.get(TARGET) or None,
        files=len(facts.files),
        bytes=sum(file.size_bytes or 0 for file in facts.files),
        images=len(facts.images),
        wells=facts.wells,
        planes=facts.planes,
        warnings=(told[WARNINGS],) if told.get(WARNINGS) else (),
        transfer=Transfer.LN_S if told.get(TRANSFER) == Transfer.LN_S else None,
    )


def provenance(request: ImportRequest, attempt: int, result: Result, now: datetime) -> dict[str, str]:
    """What stays with the fileset for as long as it exists: where it came from, who asked, and that it was verified."""
    counts = {"files": result.files, "bytes": result.bytes, "images": result.images, "planes": result.planes}
    told = {
        RESULT: VERIFIED,
        "verified_at": now.isoformat(timespec="seconds"),
        **_origin(request, attempt),
        TARGET: result.target or "",
        WARNINGS: "; ".join(result.warnings)[:_MAX_DIFFERENCE],
        **{name: str(count) for name, count in counts.items()},
    }
    return {name: value for name, value in told.items() if value}


def refusal(request: ImportRequest, attempt: int, difference: str, now: datetime) -> dict[str, str]:
    """The same for a fileset whose verification failed: every later attempt gives the same answer."""
    told = {
        RESULT: FAILED,
        DIFFERENCE: difference[:_MAX_DIFFERENCE],
        "verified_at": now.isoformat(timespec="seconds"),
        **_origin(request, attempt),
    }
    return {name: value for name, value in told.items() if value}


def _warnings(request: ImportRequest) -> tuple[str, ...]:
    partial = request.source.partial
    if partial is None:
        return ()
    return (f"imported without {partial.missing} of its files, as {partial.decided_by} decided",)


def _origin(request: ImportRequest, attempt: int) -> dict[str, str]:
    source, partial = request.source, request.source.partial
    return {
        "fleet_version": fleet_version(),
        "attempt": str(attempt),
        "source": f"{source.share}/{source.path}",
        "format": source.format,
        BATCH: request.batch.name,
        BATCH_ID: str(request.batch.id),
        LANE: request.lane,
        "submitted_at": request.submitted_at.isoformat(timespec="seconds"),
        "submitted_by_host": request.submitted_by.host,
        "instrument": request.submitted_by.instrument or "",
        "missing_files": str(partial.missing) if partial else "",
        "partial_decided_by": partial.decided_by if partial else "",
    }

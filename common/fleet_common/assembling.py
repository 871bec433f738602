"""From a plate whose format was read to a request that may be published: check the files, build, identify.

Nothing is published here, and nothing but the files is looked at. Producers do it for what they are given, workers for
what a scan finds: the same files get the same request whoever asks. Used by one thread at a time.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, failure
from fleet_common.fitting import check_fits
from fleet_common.messages import (
    Batch,
    ImportRequest,
    Manifest,
    Options,
    Owner,
    Partial,
    Priority,
    Source,
    SubmittedBy,
    encode,
    request_id_for,
)
from fleet_common.plates import End, FileProblem, Plate, Problem, damages, describe, present, problems
from fleet_common.storage import ManifestSummary, Share, entries_of, measure, open_regular, summarise
from fleet_common.targets import parse_target
from fleet_common.wholeness import judge_all

_SAMPLE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Order:
    """What the person or machine that submits wants for every path of one call."""

    owner: Owner
    target: str
    lane: str
    priority: Priority
    batch: Batch
    submitted_by: SubmittedBy
    options: Options
    nonce: str = ""
    partial_by: str = ""
    """Who decided to import a plate without what is missing of it; empty refuses such a plate."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is fit to be published, and the plate that it is about."""

    request: ImportRequest
    plate: Plate


def build(share: Share, plate: Plate, summary: ManifestSummary, order: Order, now: datetime) -> Prepared:
    """Make the request for a plate whose files were checked.

    Raises:
        Permanent: ``target-mismatch``, or the request would be too large.
        Transient: ``share-unavailable``, ``manifest-differs`` when the entry file has gone meanwhile.
    """
    check_fits(plate, parse_target(order.target))
    request = _request(share, plate, summary, order, now)
    encode(request)
    return Prepared(request, plate)


def check_files(share: Share, plate: Plate, *, partial: bool = False) -> ManifestSummary:
    """Check that the acquisition is over and every file of the plate there and whole, and summarise them.

    Args:
        share: Where the files are.
        plate: What its format read.
        partial: Whether missing and empty files are left out; those that are there must be whole all the same.

    Raises:
        Permanent: ``file-empty`` for an empty file, ``file-cut`` for a TIFF that is not whole, ``pixels-differ`` for a
            plane of another type than the others.
        Transient: ``manifest-differs`` for a missing one, with well and field, and while the instrument still runs.
    """
    sizes = measure(share, plate.files)
    found = problems(plate, sizes)
    if partial and sizes.get(plate.entry):
        found = ()
    elif plate.end is End.RUNNING:
        raise failure(Reason.MANIFEST_DIFFERS, f"{plate.entry}: the instrument has not said that it is done")
    if found:
        any_missing = any(problem.problem is Problem.MISSING for problem in found)
        raise failure(Reason.MANIFEST_DIFFERS if any_missing else Reason.FILE_EMPTY, describe(found))
    _refuse_damaged(damages(plate, judge_all(share, sizes)))
    return summarise(entries_of(present(plate, sizes), sizes))


def _refuse_damaged(found: Sequence[FileProblem]) -> None:
    if found:
        only_types = all(problem.problem is Problem.OTHER_TYPE for problem in found)
        raise failure(Reason.PIXELS_DIFFER if only_types else Reason.FILE_CUT, describe(found))


def _request(share: Share, plate: Plate, summary: ManifestSummary, order: Order, now: datetime) -> ImportRequest:
    return ImportRequest(
        request_id=_identify(share, plate, summary, order),
        batch=order.batch,
        lane=order.lane,
        priority=order.priority,
        submitted_at=now,
        submitted_by=order.submitted_by,
        source=Source(
            share=share.name,
            path=plate.entry,
            format=plate.format,
            manifest=Manifest(files=summary.files, bytes=summary.bytes, digest=summary.digest),
            partial=_partial(plate, summary, order),
        ),
        owner=order.owner,
        target=order.target,
        options=order.options,
    )


def _partial(plate: Plate, summary: ManifestSummary, order: Order) -> Partial | None:
    """What is recorded of the decision; nothing for a plate that lacks nothing."""
    missing = len(plate.files) - summary.files
    if not order.partial_by or not (missing or plate.end is End.RUNNING):
        return None
    return Partial(missing=missing, decided_by=order.partial_by)


def _identify(share: Share, plate: Plate, summary: ManifestSummary, order: Order) -> uuid.UUID:
    return request_id_for(order.owner, share.name, identity_of(share, plate), summary.digest, nonce=order.nonce)


def identity_of(share: Share, plate: Plate) -> str:
    """What request ids are made of besides owner and files: the measurement's own id, else the entry file.

    Raises:
        Transient: ``share-unavailable``, ``manifest-differs`` when the entry file has gone meanwhile.
    """
    return plate.identity or f"{plate.entry} {sample_digest(share, plate.entry)}"


def sample_digest(share: Share, path: str | PurePosixPath) -> str:
    """The SHA-256 of the first and last 64 kB: tells files of one name and size apart without reading them whole."""
    with open_regular(share, path) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(file.read(_SAMPLE_BYTES) or b"")
        file.seek(max(0, size - _SAMPLE_BYTES))
        digest.update(file.read(_SAMPLE_BYTES) or b"")
    return digest.hexdigest()

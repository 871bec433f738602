"""Derives the files of a request again on the worker's own mount, and compares them with the manifest.

The producer's word is not taken for it: a share may be mounted elsewhere, may lag behind, or may have lost a file. On a
mount that lags a new file is empty for a moment. The manifest holds no single sizes, but its digest does: where that is
the digest of what is seen here, empty files are empty at the producer's too, and waiting will not fill them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.fitting import check_fits
from fleet_common.messages import ImportRequest
from fleet_common.plates import FileProblem, Plate, Problem, describe, plate_format, present, problems
from fleet_common.storage import (
    ManifestEntry,
    Share,
    ShareReader,
    Shares,
    check_relative,
    entries_of,
    measure,
    summarise,
)
from fleet_worker.scan.groups import GROUP

ReadGroup = Callable[[Share, str], Plate]


@dataclass(frozen=True, slots=True)
class FilesHere:
    """A plate whose files are all here, as the manifest says."""

    share: Share
    plate: Plate
    entries: tuple[ManifestEntry, ...]


def find_files(request: ImportRequest, shares: Shares, read_group: ReadGroup) -> FilesHere:
    """List the files of a request on this host.

    Args:
        request: What is asked for.
        shares: Where they are mounted.
        read_group: Asks Bio-Formats for a group of files that no plate format knows.

    Raises:
        Permanent: The path is unsafe, the format broken or unknown here, the target does not fit, or ``file-empty`` for
            a file that is empty in the manifest too.
        Transient: ``manifest-differs`` while the files are not, or not yet, as the manifest says.
    """
    share = shares[request.source.share]
    plate = _read(request, share, read_group)
    check_fits(plate, request.parsed_target)
    sizes = measure(share, plate.files)
    if request.source.partial is not None:
        # What a person decided to import is what the digest says; more or less of it is another plate by now.
        entries = entries_of(present(plate, sizes), sizes)
        compare_manifest(request, entries)
        return FilesHere(share, plate, entries)
    found = problems(plate, sizes)
    if any(one.problem is Problem.MISSING for one in found):
        raise failure(Reason.MANIFEST_DIFFERS, describe(found))
    entries = entries_of(plate.files, sizes)
    compare_manifest(request, entries, found)
    if found:
        raise failure(Reason.FILE_EMPTY, describe(found))
    return FilesHere(share, plate, entries)


def _read(request: ImportRequest, share: Share, read_group: ReadGroup) -> Plate:
    entry = check_relative(request.source.path)
    if request.source.format == GROUP:
        return read_group(share, str(entry))
    try:
        with ShareReader(share) as reader:
            return plate_format(request.source.format).read(entry, reader)
    except RequestError as error:
        if error.reason is Reason.FILE_EMPTY:
            # The entry file: nothing else can be listed. Only of a single file this can be all that the manifest has.
            compare_manifest(request, (ManifestEntry(str(entry), 0),))
        raise


def compare_manifest(
    request: ImportRequest, entries: tuple[ManifestEntry, ...], found: tuple[FileProblem, ...] = ()
) -> None:
    """Compare what is seen here with what was submitted.

    Args:
        request: With the manifest.
        entries: The files that are here.
        found: What is wrong with some of them, for the error.

    Raises:
        Transient: ``manifest-differs``.
    """
    manifest, here = request.source.manifest, summarise(entries)
    if here.digest != manifest.digest:
        raise failure(
            Reason.MANIFEST_DIFFERS,
            f"the worker sees {here.files} files with {here.bytes} bytes, the manifest says "
            f"{manifest.files} files with {manifest.bytes} bytes: not yet visible here, or changed since"
            f"{'; ' + describe(found) if found else ''}",
        )

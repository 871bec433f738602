"""Requests for a folder of unknown formats, which a worker expands into import requests.

Producer and worker list the folder alike, so that the worker sees whether it has the same files. See
``docs/explanation/scan.md``.
"""

from __future__ import annotations

from typing import Final

from fleet_common.errors import Reason, failure
from fleet_common.messages import ImportRequest, request_id_for
from fleet_common.plates import Plate
from fleet_common.storage import ManifestEntry, Share, list_tree

SCAN: Final = "scan"
"""The format of a request that a worker expands."""
MAX_FILES: Final = 10_000
"""In one scan: each file that no plate format knows is a question to Bio-Formats."""


def list_folder(share: Share, folder: str) -> tuple[ManifestEntry, ...]:
    """Every file below the folder, sorted by path.

    Raises:
        Permanent: As :func:`fleet_common.storage.list_tree`; ``unsupported`` for more than `MAX_FILES`, and
            ``unknown-format`` for a folder without any file.
        Transient: ``manifest-differs`` when the folder is missing; ``share-unavailable``.
    """
    listed = list_tree(share, folder, max_files=MAX_FILES).entries
    if not listed:
        raise failure(Reason.UNKNOWN_FORMAT, f"the folder {share.name}/{folder} holds no file")
    return tuple(sorted(listed))


def as_plate(folder: str, entries: tuple[ManifestEntry, ...]) -> Plate:
    """The folder as something that a request can be assembled of.

    Its identity is the folder: the same files in it are the same request.
    """
    files = tuple(entry.path for entry in entries)
    return Plate(format=SCAN, entry=folder, reader="", files=files, identity=_identity(folder))


def nonce_of(request: ImportRequest) -> str:
    """What makes the expanded requests new ones; empty unless the scan was submitted ``--again``.

    The request does not say it, but its id does.
    """
    source = request.source
    usual = request_id_for(request.owner, source.share, _identity(source.path), source.manifest.digest)
    return "" if request.request_id == usual else str(request.request_id)


def _identity(folder: str) -> str:
    return f"{SCAN} {folder}"

"""Opens the TIFFs of a plate to see whether they are whole: one after the other, a few small reads each.

Neighbours: ``fleet_common.storage.tiffs`` judges, ``assembling`` and the watch ask. Used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fleet_common.errors import Reason, RequestError
from fleet_common.storage import Judgement, OpenFiles, Share, Wholeness, judge, looks_like_tiff


def nothing() -> None:
    """Do nothing."""


def judge_all(share: Share, sizes: Mapping[str, int], each: Callable[[], None] = nothing) -> Mapping[str, Judgement]:
    """Judge every file whose name is that of a TIFF.

    Args:
        share: Where the paths begin.
        sizes: Size in bytes by path; a file that has another size by now is judged as cut.
        each: Called before each file; what it raises ends the work.

    Raises:
        Permanent: ``not-a-regular-file`` for what was exchanged by a link meanwhile.
        Transient: ``share-unavailable``.
    """
    with OpenFiles(share) as files:
        wanted = ((path, size) for path, size in sizes.items() if size and looks_like_tiff(path))
        return {path: _judge_one(files, path, size, each) for path, size in wanted}


def _judge_one(files: OpenFiles, path: str, size_bytes: int, each: Callable[[], None]) -> Judgement:
    each()
    try:
        with files.open(path, size_bytes=size_bytes) as file:
            return judge(file, size_bytes)
    except RequestError as error:
        if error.reason is not Reason.MANIFEST_DIFFERS:
            raise
        return Judgement(Wholeness.CUT, "it changed while it was looked at")

"""The measured process of :mod:`hugeplate`: ``python -m fleet_bench.around.hugeworker REQUEST SHARE`` tells JSON.

Threading: one thread, and those of the pool.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from fleet_bench.stage import SHARE
from fleet_common import logs
from fleet_common.events import Event, Phase
from fleet_common.messages import ChecksumAlgorithm, ImportRequest, decode
from fleet_common.metrics import Metrics
from fleet_common.settings import LogSettings, WorkerSettings
from fleet_common.storage import OpenFiles, Share, Shares
from fleet_stack.processes import most_memory_bytes
from fleet_worker.files import FilesHere, find_files
from fleet_worker.omero.checksums import hasher
from fleet_worker.omero.facts import UploadedFile
from fleet_worker.omero.upload import CHUNK_BYTES
from fleet_worker.reporting import Reporter
from fleet_worker.scanning import read_group
from fleet_worker.uploads import UploadPool
from fleet_worker.worker import Worker

LOADED: Final = Worker
"""What a worker loads is loaded here, too, and counts as memory."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """Takes files as a registered import does, and keeps nothing."""

    algorithm: ChecksumAlgorithm = ChecksumAlgorithm.SHA1_160

    def upload(
        self,
        index: int,
        stream: io.FileIO,
        *,
        on_bytes: Callable[[int], None],
        stop: Callable[[], None],
        ahead: int,  # noqa: ARG002  opens and closes nothing
    ) -> UploadedFile:
        """Read and hash one file."""
        digest, size_bytes = hasher(self.algorithm), 0
        while chunk := stream.read(CHUNK_BYTES):
            stop()
            digest.update(chunk)
            size_bytes += len(chunk)
            on_bytes(len(chunk))
        return UploadedFile(index, digest.hexdigest(), size_bytes)

    def differing(self, hashes: Sequence[str]) -> Collection[int]:  # noqa: ARG002  it has kept nothing to compare with
        """None of them."""
        return ()


def main(request_file: str, share: str) -> None:
    """Find the files of a request, and transfer them."""
    logs.configure(LogSettings())
    began = time.perf_counter()
    request = decode(Path(request_file).read_bytes())
    files = find_files(request, Shares([Share(SHARE, Path(share))]), partial(read_group, None, stop=_go_on))
    found_at = time.perf_counter()
    hashes = transfer(request, files)
    told = {
        "files": len(hashes),
        "listing_seconds": found_at - began,
        "transfer_seconds": time.perf_counter() - found_at,
        "memory_bytes": most_memory_bytes(),
    }
    sys.stdout.write(json.dumps(told))


def transfer(request: ImportRequest, files: FilesHere) -> tuple[str, ...]:
    """Upload all files with a pool of the default size, and count them as a worker does."""
    pool = UploadPool(WorkerSettings().parallel_upload)
    reporter = Reporter(
        request,
        1,
        "benchmark",
        tell=_told,
        metrics=Metrics(),
        clock=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
    )
    try:
        with reporter.phase_in_turn(Phase.UPLOAD) as begin, OpenFiles(files.share) as opened:
            return pool.send(
                opened,
                files.entries,
                StandIn(),
                limit=None,
                on_begin=begin,
                on_bytes=reporter.add_bytes,
                on_file=reporter.add_file,
                check=_go_on,
            )
    finally:
        pool.close()


def _told(_event: Event) -> None:
    """Nobody listens."""


def _go_on() -> None:
    """Nobody stops it."""


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A client that sends the beginning of several files, says so, and then waits to be killed.

Run as a program: it reads one line of JSON with ``address``, ``share``, ``files`` and ``request_id`` from its standard
input, and writes ``half``, the id of its fileset and the uuid of its session, as soon as the server holds unsaved bytes
of every file.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from fleet_worker.omero.address import OmeroAddress
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.upload import RegisteredImport
from omero_imports import never, spec_of

_CHUNK_BYTES = 65536


class Stuck(io.RawIOBase):
    """A file that gives two pieces and never a third."""

    def __init__(self) -> None:
        self._left = 2

    def read(self, _size: int = -1) -> bytes:
        """The next piece."""
        if self._left == 0:
            threading.Event().wait()
        self._left -= 1
        return bytes(_CHUNK_BYTES)


def send_half(registered: RegisteredImport, files: Sequence[Path]) -> None:
    """Send the beginning of every file, each in a thread of its own that never ends."""
    arrived = threading.Semaphore(0)

    def send(index: int) -> None:
        registered.upload(index, Stuck(), on_bytes=lambda _: arrived.release(), stop=never)  # type: ignore[arg-type]

    for index in range(len(files)):
        threading.Thread(target=send, args=(index,), daemon=True).start()
    for _ in files:
        arrived.acquire()


def main() -> None:
    """See the module."""
    told = json.loads(sys.stdin.readline())
    address = OmeroAddress.model_validate(told["address"] | {"password": SecretStr(told["address"]["password"])})
    share, files = Path(told["share"]), [Path(file) for file in told["files"]]
    session = Gateway(address, clock=time.monotonic).sudo("alice", "screening")
    registered = session.register(spec_of(share, files, request_id=told["request_id"]))
    send_half(registered, files)
    sys.stdout.write(f"half {registered.fileset_id} {session._connection.session_uuid}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()

"""A TCP proxy on loopback that delivers everything later, as a network between two sites does; the rate stays.

Threading: one thread accepts, and two threads for each direction of a connection read and write; all end with
:meth:`DelayingProxy.close`. What is under way is bounded by the readers of both ends, as in a network.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, Self

_PIECE_BYTES: Final = 256 * 1024
_MOST_PIECES: Final = 1024


class DelayingProxy:
    """Forwards to a port of this machine.

    Args:
        target_port: Of 127.0.0.1.
        one_way_seconds: How much later each direction delivers; half of what a round trip takes longer.

    Attributes:
        port: Where to connect instead.
    """

    def __init__(self, target_port: int, one_way_seconds: float) -> None:
        self._target = ("127.0.0.1", target_port)
        self._delay = one_way_seconds
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._sockets: list[socket.socket] = [self._server]
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    def close(self) -> None:
        """Break every connection and end all threads."""
        for one in self._sockets:
            _break(one)
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(self._target, timeout=5)
                server.settimeout(None)
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._sockets.append(one)
                self._join(client, server)
                self._join(server, client)

    def _join(self, source: socket.socket, sink: socket.socket) -> None:
        under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(_MOST_PIECES)
        self._spawn(lambda: self._read(source, under_way))
        self._spawn(lambda: _write(sink, under_way))

    def _read(self, source: socket.socket, under_way: queue.Queue[tuple[float, bytes]]) -> None:
        data = b"."
        while data:
            try:
                data = source.recv(_PIECE_BYTES)
            except OSError:
                data = b""
            under_way.put((time.monotonic() + self._delay, data))


def _write(sink: socket.socket, under_way: queue.Queue[tuple[float, bytes]]) -> None:
    # Empty data are the end of a connection, which is delayed like all else.
    with contextlib.suppress(OSError):
        while (piece := under_way.get())[1]:
            time.sleep(max(0.0, piece[0] - time.monotonic()))
            sink.sendall(piece[1])
        # The other direction may go on.
        sink.shutdown(socket.SHUT_WR)


def _break(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

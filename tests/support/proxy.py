"""A TCP proxy on loopback that can hold traffic back, cut it, or half of it, between a program and its server.

Threading: one thread accepts, two pump per connection; all end with :meth:`Proxy.close`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self


class Proxy:
    """Forwards to a port of 127.0.0.1.

    Attributes:
        port: Where to connect instead.
        heard: Set when a program has sent what :meth:`hold_answers_to` waits for.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._abandoned: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._flows = threading.Event()
        self._flows.set()
        self._answers = threading.Event()
        self._answers.set()
        self._awaited = b""
        self.heard = threading.Event()
        self._accepts = True
        self._closed = False
        self._spawn(self._accept)

    def hold(self) -> None:
        """Let nothing pass in either direction; what is sent waits, as in a network that lost a route."""
        self._flows.clear()

    def hold_answers_to(self, words: bytes) -> None:
        """Once a program sends these bytes, let them pass, but nothing come back until :meth:`release`."""
        self.heard.clear()
        self._awaited = words

    def release(self) -> None:
        """Let everything pass again, also what waited."""
        self._flows.set()
        self._answers.set()

    def cut(self) -> None:
        """Break every connection that is open now; new ones are accepted."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            _break(one)

    def half_open(self) -> None:
        """Let the server see every connection end that is open now, while the program sees nothing at all."""
        with self._lock:
            pairs, self._pairs = self._pairs, {}
            self._sockets -= {*pairs, *pairs.values()}
            self._abandoned |= pairs.keys()
        for server in pairs.values():
            _break(server)

    def end_half_open(self) -> None:
        """Break what :meth:`half_open` left to the program."""
        with self._lock:
            clients, self._abandoned = self._abandoned, set()
        for client in clients:
            _break(client)

    def refuse(self, *, refuse: bool = True) -> None:
        """Break new connections at once, as a server that is down."""
        self._accepts = not refuse

    def close(self) -> None:
        """End all threads."""
        self._closed = True
        self.release()
        _break(self._server)
        self.cut()
        self.end_half_open()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closed:
                client, _ = self._server.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            if not self._accepts:
                raise ConnectionRefusedError
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        with self._lock:
            self._sockets |= {client, server}
            self._pairs[client] = server
        self._spawn(self._pump, client, server, self._hear)
        self._spawn(self._pump, server, client, lambda _: self._answers.wait())

    def _hear(self, data: bytes) -> None:
        if self._awaited and self._awaited in data:
            self._awaited = b""
            self._answers.clear()
            self.heard.set()

    def _pump(self, source: socket.socket, sink: socket.socket, before: Callable[[bytes], object]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                before(data)
                sink.sendall(data)
        with self._lock:
            self._sockets -= {source, sink}
            for one in (source, sink):
                self._pairs.pop(one, None)
            ends = {source, sink} - self._abandoned
        for one in ends:
            _break(one)


def _break(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

"""The proxy leaves a connection half open: the server's end is gone, and the program knows nothing of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from support.proxy import Proxy
from support.waiting import until


@dataclass
class Echo:
    """A server that says what it hears, and counts the connections that ended."""

    server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    ended: int = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.getsockname()[1])

    def serve(self) -> None:
        """Accept until the socket is closed."""
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(client,), daemon=True).start()

    def _echo(self, client: socket.socket) -> None:
        with closing(client):
            while data := client.recv(16):
                client.sendall(data)
        self.ended += 1


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A running server."""
    server = Echo()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.server.shutdown(socket.SHUT_RDWR)
    server.server.close()
    thread.join(5)


def connect(proxy: Proxy) -> socket.socket:
    """A connection that works."""
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    assert says(client) == b"x"
    return client


def says(client: socket.socket) -> bytes:
    """What comes back."""
    client.sendall(b"x")
    return client.recv(16)


def test_the_server_sees_an_end_and_the_program_sees_nothing(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, closing(connect(proxy)) as client:
        proxy.half_open()
        until(lambda: echo.ended == 1, what="the end at the server")
        client.settimeout(0.2)
        client.sendall(b"x")
        with pytest.raises(TimeoutError):
            client.recv(16)


def test_new_connections_work_meanwhile(echo: Echo) -> None:
    with Proxy(echo.port) as proxy, closing(connect(proxy)):
        proxy.half_open()
        with closing(connect(proxy)) as second:
            assert says(second) == b"x"


def test_the_program_sees_the_end_when_it_is_over(echo: Echo) -> None:
    """And new connections do not."""
    with Proxy(echo.port) as proxy, closing(connect(proxy)) as client:
        proxy.half_open()
        with closing(connect(proxy)) as second:
            proxy.end_half_open()
            assert client.recv(16) == b""
            assert says(second) == b"x"

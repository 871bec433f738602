"""The proxy that delays, and what stays as it is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fleet_bench.delay import DelayingProxy

ONE_WAY_SECONDS = 0.02


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that answers with what it hears, to one client."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                while data := client.recv(65536):
                    client.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)
        assert not thread.is_alive()


def test_an_answer_takes_the_round_trip_longer_and_is_whole(echo_port: int) -> None:
    with (
        DelayingProxy(echo_port, ONE_WAY_SECONDS) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), 5) as client,
    ):
        began = time.monotonic()
        client.sendall(b"ping")
        assert client.recv(100) == b"ping"
        assert time.monotonic() - began >= 2 * ONE_WAY_SECONDS


def test_what_is_under_way_at_once_is_delayed_once_and_stays_in_order(echo_port: int) -> None:
    """Twenty messages one after the other take one round trip, not twenty."""
    with (
        DelayingProxy(echo_port, ONE_WAY_SECONDS) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), 5) as client,
    ):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = [f"{number:04d}".encode() for number in range(20)]
        for piece in sent:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            assert answers.read() == b"".join(sent)


def test_the_end_of_a_connection_reaches_the_other_side(echo_port: int) -> None:
    with (
        DelayingProxy(echo_port, ONE_WAY_SECONDS) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), 5) as client,
    ):
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""

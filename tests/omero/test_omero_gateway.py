"""The service account on a real OMERO: who may log in, how a server is verified, who may own an import."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from fleet_common.errors import NeedsOperator, Permanent, Reason, RequestError, Transient
from fleet_stack.description import OmeroDescription
from fleet_worker.omero.address import OmeroAddress
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.queries import rows
from omero_imports import open_sessions

pytestmark = pytest.mark.timeout(900)


def gateway_to(address: OmeroAddress, **changes: object) -> Gateway:
    """A gateway that is not logged in yet."""
    return Gateway(address.model_copy(update=changes), clock=time.monotonic)


def refusal(gateway: Gateway) -> RequestError:
    """Why it cannot log in."""
    with pytest.raises(RequestError) as caught:
        gateway.open()
    gateway.close()
    return caught.value


@contextlib.contextmanager
def door(host: str, port: int) -> Iterator[int]:
    """The same server behind another address of this machine, which its certificate does not name."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, outer = listener.accept()[0], socket.create_connection((host, port))
                ends.extend((inner, outer))
                for pair in ((inner, outer), (outer, inner)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    ends: list[socket.socket] = []
    with socket.create_server(("127.0.0.2", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for end in ends:
        end.close()


def test_the_server_says_what_it_is(gateway: Gateway) -> None:
    """The account has one privilege only, and the first algorithm is the one that imports use."""
    info = gateway.server_info()
    assert info.version.startswith("5.6.")
    assert info.checksum_algorithms[0] == "SHA1-160"
    assert info.privileges == ("Sudo",)
    gateway.check()


class TestTls:
    """Nobody between worker and server, unless somebody asked for it."""

    def test_another_authority_is_refused(self, address: OmeroAddress, tmp_path: Path) -> None:
        """A certificate that the given authority did not sign."""
        other = tmp_path / "other.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        subprocess.run([*command, "-keyout", tmp_path / "key.pem", "-out", other], check=True, capture_output=True)
        error = refusal(gateway_to(address, ca_file=other))
        assert error.reason is Reason.OMERO_LOGIN_REFUSED
        assert "certificate verification failed" in str(error)

    def test_the_systems_authorities_do_not_vouch_for_a_private_one(self, address: OmeroAddress) -> None:
        """Verification is the default, without any file named."""
        assert refusal(gateway_to(address, ca_file=None)).reason is Reason.OMERO_LOGIN_REFUSED

    def test_another_host_with_a_good_certificate_is_refused(self, address: OmeroAddress) -> None:
        """The authority is right, the name is not."""
        with door(address.host, address.port) as port:
            error = refusal(gateway_to(address, host="127.0.0.2", port=port))
        assert error.reason is Reason.OMERO_LOGIN_REFUSED
        assert "127.0.0.2" in str(error)

    @pytest.mark.parametrize(("tls", "door_port"), [(True, "ssl_port"), (False, "tcp_port")])
    def test_without_tls_only_the_login_goes_over_it(
        self, address: OmeroAddress, omero_server: OmeroDescription, *, tls: bool, door_port: str
    ) -> None:
        """The session is one and the same, at another door of the server."""
        connection = Connection.log_in(address.model_copy(update={"tls": tls}))
        try:
            connection.probe()
            wire = connection.factory.ice_getCachedConnection().getInfo()
            assert (getattr(wire, "remotePort", 0), type(wire).__name__ == "TCPConnectionInfo") == (
                getattr(omero_server, door_port),
                not tls,
            )
        finally:
            connection.factory.closeOnDestroy()
            connection.disconnect()

    def test_a_missing_file_of_authorities_is_named(self, address: OmeroAddress, tmp_path: Path) -> None:
        """Not taken for "trust nobody" nor for "trust everybody"."""
        error = refusal(gateway_to(address, ca_file=tmp_path / "missing.pem"))
        assert error.reason is Reason.OMERO_LOGIN_REFUSED
        assert "missing.pem" in str(error)

    def test_without_verification_any_certificate_will_do(self, address: OmeroAddress) -> None:
        """The demo's explicit choice."""
        gateway = gateway_to(address, ca_file=None, verify_tls=False)
        gateway.open()
        gateway.close()


class TestLogin:
    """Who the fleet may be."""

    def test_a_wrong_password_needs_an_operator_and_is_not_told(self, address: OmeroAddress) -> None:
        """No retry mends it, and no text may show it."""
        error = refusal(gateway_to(address, password=SecretStr("geheim")))
        assert isinstance(error, NeedsOperator)
        assert error.reason is Reason.OMERO_LOGIN_REFUSED
        assert "geheim" not in str(error)

    def test_root_is_refused(self, omero_server: OmeroDescription, address: OmeroAddress) -> None:
        """Also with the right password."""
        password = SecretStr(omero_server.users["root"].read_text().strip())
        error = refusal(gateway_to(address, user="root", password=password))
        assert error.reason is Reason.OMERO_LOGIN_REFUSED
        assert "root" in str(error)

    def test_an_account_without_sudo_is_refused(self, omero_server: OmeroDescription, address: OmeroAddress) -> None:
        """It would fail at the first request only."""
        password = SecretStr(omero_server.users["bob"].read_text().strip())
        error = refusal(gateway_to(address, user="bob", password=password))
        assert error.reason is Reason.OMERO_LOGIN_REFUSED
        assert "Sudo" in str(error)

    def test_a_server_that_is_not_there_is_waited_for(self, address: OmeroAddress) -> None:
        """Nobody listens on port 1; the same gateway may be opened again later."""
        gateway = gateway_to(address, port=1)
        for _ in range(2):
            with pytest.raises(Transient) as caught:
                gateway.open()
            assert caught.value.reason is Reason.OMERO_UNAVAILABLE
        gateway.close()

    def test_a_refused_login_is_not_tried_again_at_once(self, address: OmeroAddress) -> None:
        """Many threads that all find OMERO down must not hammer it."""
        now = [0.0]
        gateway = Gateway(address.model_copy(update={"password": SecretStr("wrong")}), clock=lambda: now[0])
        with pytest.raises(NeedsOperator) as first:
            gateway.check()
        with pytest.raises(NeedsOperator) as second:
            gateway.check()
        assert second.value.__cause__ is first.value
        now[0] = 2.0
        with pytest.raises(NeedsOperator) as third:
            gateway.check()
        assert third.value.__cause__ is not first.value
        gateway.close()


OWNERS = [
    ("root", "system", Reason.OWNER_REFUSED),
    ("root", "screening", Reason.OWNER_REFUSED),
    ("guest", "guest", Reason.OWNER_REFUSED),
    ("importer", "screening", Reason.OWNER_REFUSED),
    ("alice", "user", Reason.OWNER_REFUSED),
    ("alice", "system", Reason.OWNER_REFUSED),
    ("nobody-of-that-name", "screening", Reason.OWNER_UNKNOWN),
    ("alice' or '1'='1", "screening", Reason.OWNER_UNKNOWN),
    ("alice", "no-such-group", Reason.GROUP_UNKNOWN),
    ("carol", "screening", Reason.OWNER_NOT_IN_GROUP),
]


class TestOwners:
    """Who may own an import."""

    @pytest.mark.parametrize(("user", "group", "reason"), OWNERS)
    def test_who_is_refused(self, gateway: Gateway, user: str, group: str, reason: Reason) -> None:
        """Nobody gets a session who could do more than an ordinary user, or who cannot be told apart."""
        with pytest.raises(Permanent) as caught:
            gateway.check_owner(user, group)
        assert caught.value.reason is reason

    def test_an_ordinary_user_in_each_of_their_groups(self, gateway: Gateway) -> None:
        """One user, two groups."""
        screening, private = (gateway.check_owner("alice", group) for group in ("screening", "private-lab"))
        assert screening.user_id == private.user_id
        assert screening.group_id != private.group_id

    @pytest.mark.parametrize(
        ("user", "group", "reason"),
        [
            ("nobody-of-that-name", "screening", Reason.OWNER_UNKNOWN),
            ("carol", "screening", Reason.OWNER_NOT_IN_GROUP),
            ("root", "system", Reason.OWNER_REFUSED),
            ("alice", "user", Reason.OWNER_NOT_IN_GROUP),
        ],
    )
    def test_no_session_for_them_either(self, gateway: Gateway, user: str, group: str, reason: Reason) -> None:
        """A session is refused on its own account, and none is left behind."""
        before = open_sessions(gateway, user)
        with pytest.raises(RequestError) as caught:
            gateway.sudo(user, group)
        assert caught.value.reason is reason
        assert open_sessions(gateway, user) == before


class TestSessions:
    """One session per attempt, and none too many."""

    def test_a_session_is_gone_when_it_was_used(self, gateway: Gateway) -> None:
        """A service made it, so leaving it is not enough: it must be closed."""
        before = open_sessions(gateway, "alice")
        with gateway.sudo("alice", "screening") as session:
            assert session.owner.user == "alice"
            assert len(open_sessions(gateway, "alice") - before) == 1
        assert open_sessions(gateway, "alice") == before

    def test_a_session_is_gone_after_an_error(self, gateway: Gateway) -> None:
        """Whatever happened inside."""
        before = open_sessions(gateway, "alice")
        with pytest.raises(ZeroDivisionError), gateway.sudo("alice", "screening"):
            raise ZeroDivisionError
        assert open_sessions(gateway, "alice") == before

    def test_a_session_lives_long_enough_without_a_sign_of_life(self, gateway: Gateway) -> None:
        """Ten minutes idle, no end by age: at 20 s the server was seen to end a running import."""
        with gateway.sudo("alice", "screening") as session:
            hql = "select s.id, s.timeToIdle, s.timeToLive from Session s where s.uuid = :uuid"
            values = {"uuid": session._connection.session_uuid}
            assert rows(gateway._connected(), "a test", hql, values)[0][1:] == (600_000, 0)

    def test_a_closed_gateway_leaves_nothing(self, gateway: Gateway, address: OmeroAddress) -> None:
        """Its own session ends, too; later calls say why they fail."""
        before = open_sessions(gateway, "importer")
        other = gateway_to(address)
        other.open()
        assert open_sessions(gateway, "importer") > before
        other.close()
        assert open_sessions(gateway, "importer") == before
        with pytest.raises(Transient) as caught:
            other.check()
        assert caught.value.reason is Reason.SESSION_LOST

    def test_a_gateway_whose_session_was_ended_by_others_logs_in_again(
        self, gateway: Gateway, address: OmeroAddress
    ) -> None:
        """As after a restart of OMERO, which forgets all sessions."""
        other = gateway_to(address)
        other.open()
        from fleet_worker.omero.account import close_session  # noqa: PLC0415  only here

        close_session(gateway._connected(), other._connected().session_uuid)
        other.check()
        other.close()

"""A real OMERO stack of its own: accounts, certificates, settings, outages, OMERO.web, and nothing left after a wipe.

The tests run in the order written: the last ones take parts down and remove the stack.
"""

from __future__ import annotations

import http.cookiejar
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import Ice
import omero
import psutil
import pytest
from omero.rtypes import rstring

from fleet_stack import certificates, processes, stack
from fleet_stack.console import StackError, run
from fleet_stack.layout import Layout
from fleet_stack.omero import database, login
from fleet_stack.omero.accounts import FACILITY, secret_name
from fleet_stack.omero.part import OmeroPart
from fleet_stack.omero.web import WebPart
from fleet_stack.parts import Options
from fleet_stack.secrets import secret, secret_file

# A first run on a fresh machine fetches 400 MB of packages.
pytestmark = pytest.mark.timeout(900)

NAME = "stack-omero"
SETTINGS = {"omero.client.ui.tree.orphans.name": "Lost & found"}
ORDINARY = [user.name for user in FACILITY.users]
T = TypeVar("T")


@pytest.fixture(scope="module", autouse=True)
def state() -> Iterator[Path]:
    """A state folder that the database's user can enter; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_STATE", str(folder))
        yield folder
        stack.wipe(NAME)  # in case the last test was not reached
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def layout(state: Path) -> Layout:
    """The running stack."""
    assert state.is_dir()
    stack.up(NAME, ("omero", "web"), Options(omero_settings=SETTINGS))
    return Layout.for_name(NAME)


@pytest.fixture
def part(layout: Layout) -> OmeroPart:
    """OMERO of the running stack."""
    return OmeroPart(layout, SETTINGS)


def processes_of(layout: Layout) -> list[psutil.Process]:
    """Every process that names the stack's folder in its command, stands in it, or is a child of such a one."""
    found = [one for one in psutil.process_iter() if _belongs(one, str(layout.state))]
    children = _of_living(found, lambda one: one.children(recursive=True))
    return list({*found, *(child for some in children for child in some)})


def _of_living(found: Iterable[psutil.Process], ask: Callable[[psutil.Process], T]) -> list[T]:
    """What all answer but those that have ended meanwhile: PostgreSQL's come and go."""
    answers = []
    for process in found:
        with suppress(psutil.NoSuchProcess):
            answers.append(ask(process))
    return answers


def _belongs(process: psutil.Process, folder: str) -> bool:
    try:
        return process.pid != os.getpid() and folder in " ".join((*process.cmdline(), process.cwd()))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


class TestAccounts:
    @pytest.mark.parametrize("user", FACILITY.users, ids=lambda user: user.name)
    def test_users_log_in_to_their_default_group_and_are_in_their_groups(self, layout: Layout, user: Any) -> None:
        with login.session(layout, user.name) as factory:
            context = factory.getAdminService().getEventContext()
            names = {group.name.val for group in factory.getAdminService().containedGroups(context.userId)}
        assert context.groupName == user.groups[0]
        assert names - {"user"} == set(user.groups)
        assert not context.isAdmin

    @pytest.mark.parametrize("group", FACILITY.groups, ids=lambda group: group.name)
    def test_groups_have_the_permissions_of_a_facility(self, layout: Layout, group: Any) -> None:
        with login.session(layout, "root") as factory:
            found = factory.getAdminService().lookupGroup(group.name)
        assert str(found.details.permissions) == group.permissions

    def test_the_importer_has_the_privilege_sudo_and_no_other(self, layout: Layout) -> None:
        with login.session(layout, FACILITY.importer) as factory:
            context = factory.getAdminService().getEventContext()
        assert context.isAdmin
        assert list(context.adminPrivileges) == ["Sudo"]

    def test_the_importer_can_open_a_session_for_an_ordinary_user(self, layout: Layout) -> None:
        principal = omero.sys.Principal()
        principal.name, principal.group, principal.eventType = "carol", "private-lab", "User"
        with login.session(layout, FACILITY.importer) as factory:
            service = factory.getSessionService()
            opened = service.createSessionWithTimeouts(principal, 0, 60_000)
            assert (opened.owner.id.val, opened.sudoer.id.val) == self._ids(factory, "carol", FACILITY.importer)
            service.closeSession(opened)

    @staticmethod
    def _ids(factory: Any, *names: str) -> tuple[int, ...]:
        return tuple(factory.getAdminService().lookupExperimenter(name).id.val for name in names)

    def test_an_ordinary_user_cannot_open_sessions_for_others(self, layout: Layout) -> None:
        principal = omero.sys.Principal()
        principal.name, principal.group, principal.eventType = "bob", "screening", "User"
        with login.session(layout, "alice") as factory, pytest.raises(omero.SecurityViolation):
            factory.getSessionService().createSessionWithTimeouts(principal, 0, 60_000)

    def test_a_wrong_password_is_refused(self, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(login, "secret", lambda *_: "not her password")
        with pytest.raises(StackError, match="as alice: PermissionDeniedException"), login.session(layout, "alice"):
            pass

    @pytest.mark.parametrize("user", [*ORDINARY, "importer", "root"])
    def test_passwords_are_in_files_that_only_their_owner_can_read(self, layout: Layout, user: str) -> None:
        assert secret_file(layout, secret_name(user)).stat().st_mode & 0o777 == 0o600


class TestCertificate:
    def handshake(self, layout: Layout, context: ssl.SSLContext, name: str = "127.0.0.1") -> Any:
        with (
            socket.create_connection(("127.0.0.1", layout.ports.omero_ssl), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=name) as wrapped,
        ):
            return wrapped.cipher()

    def test_it_holds_for_this_host_with_the_authority_of_the_stack(self, layout: Layout) -> None:
        context = ssl.create_default_context(cafile=certificates.ensure(layout).authority)
        assert self.handshake(layout, context, "localhost")
        assert self.handshake(layout, context, "127.0.0.1")

    def test_it_does_not_hold_for_another_host(self, layout: Layout) -> None:
        context = ssl.create_default_context(cafile=certificates.ensure(layout).authority)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"omero\.example\.org"):
            self.handshake(layout, context, "omero.example.org")

    def test_a_client_that_trusts_another_authority_refuses_the_server(self, layout: Layout, tmp_path: Path) -> None:
        files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "ca.pem")]
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=somebody else", *files])
        client = omero.client(pmap=login.properties(layout.ports.omero_ssl, tmp_path / "ca.pem"))
        try:
            with pytest.raises(Ice.SecurityException, match="certificate verification failed"):
                client.createSession("alice", secret(layout, "omero-alice"))
        finally:
            with pytest.raises(Ice.SecurityException):
                client.closeSession()

    def test_clients_of_old_that_know_anonymous_ciphers_only_still_come_in(self, layout: Layout) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ADH:@SECLEVEL=0")
        assert self.handshake(layout, context)[0].startswith("ADH-")


class TestServer:
    def test_any_setting_of_omero_reaches_the_server(self, layout: Layout) -> None:
        with login.session(layout, "alice") as factory:
            values = factory.getConfigService().getClientConfigValues()
        assert values["omero.client.ui.tree.orphans.name"] == "Lost & found"

    def test_a_second_start_changes_nothing(self, layout: Layout, part: OmeroPart) -> None:
        before = (part.server.node(), part.server.children(), part.database.process())
        stack.up(NAME, ("omero", "web"), Options(omero_settings=SETTINGS))
        assert (part.server.node(), part.server.children(), part.database.process()) == before
        with login.session(layout, "root") as factory:
            names = [user.omeName.val for user in factory.getAdminService().lookupExperimenters()]
        assert sorted(names) == sorted(["root", "guest", FACILITY.importer, *ORDINARY])

    def test_files_that_are_written_land_below_the_state(self, layout: Layout) -> None:
        with login.session(layout, "alice") as factory:
            file = omero.model.OriginalFileI()
            file.name, file.path, file.mimetype = rstring("hällo.txt"), rstring("/a/"), rstring("text/plain")
            store = factory.createRawFileStore()
            store.setFileId(factory.getUpdateService().saveAndReturnObject(file).id.val)
            store.write(b"hello", 0, 5)
            store.close()
        found = [path for path in (layout.omero / "OMERO" / "Files").rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in found] == [b"hello"]

    def test_everything_listens_on_this_machine_only(self, layout: Layout) -> None:
        listening = [
            connection.laddr
            for connections in _of_living(processes_of(layout), lambda process: process.net_connections(kind="tcp"))
            for connection in connections
            if connection.status == psutil.CONN_LISTEN
        ]
        wanted = {layout.ports.omero_ssl, layout.ports.omero_tcp, layout.ports.postgres, layout.ports.web}
        assert wanted <= {address.port for address in listening}
        # Java opens IPv6 sockets for IPv4 addresses.
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}

    def test_no_password_is_an_argument_of_a_process(self, layout: Layout) -> None:
        passwords = [file.read_text() for file in layout.secrets.iterdir()]
        commands = _of_living(processes_of(layout), lambda process: " ".join(process.cmdline()))
        assert len(commands) >= 5
        assert not [command for command in commands for password in passwords if password in command]

    @pytest.mark.parametrize("password", ["", "wrong"])
    def test_the_database_lets_nobody_in_without_its_password(self, layout: Layout, password: str) -> None:
        command = [str(database._program("psql")), "-h", "127.0.0.1", "-p", str(layout.ports.postgres), "-w"]
        done = subprocess.run(
            [*command, "-U", "omero", "-c", "select 1"],
            env={**os.environ, "PGPASSWORD": password},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "password" in done.stderr


class TestWeb:
    @pytest.fixture
    def browser(self) -> urllib.request.OpenerDirector:
        """A browser with cookies and without a proxy."""
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        return urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def get(self, browser: urllib.request.OpenerDirector, url: str, data: dict[str, str] | None = None) -> str:
        body = urllib.parse.urlencode(data).encode() if data else None
        with browser.open(urllib.request.Request(url, body, {"Referer": url}), timeout=30) as page:  # noqa: S310  ours
            return str(page.read().decode())

    def log_in(self, layout: Layout, browser: urllib.request.OpenerDirector) -> str:
        url = f"{WebPart(layout).url}webclient/login/"
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(browser, url))
        assert token is not None
        form = {"username": "alice", "password": secret(layout, "omero-alice"), "server": "1"}
        return self.get(browser, url, {**form, "csrfmiddlewaretoken": token.group(1), "url": "/webclient/"})

    def test_it_says_that_it_is_ready_and_where(self, layout: Layout) -> None:
        status = WebPart(layout).status()
        assert (status.ready, status.detail) == (True, f"http://127.0.0.1:{layout.ports.web}/")

    def test_an_ordinary_user_logs_in_and_sees_an_empty_tree(
        self, layout: Layout, browser: urllib.request.OpenerDirector
    ) -> None:
        assert "Alice Example" in self.log_in(layout, browser)
        tree = self.get(browser, f"{WebPart(layout).url}webclient/api/containers/?id=-1")
        assert '"screens": []' in tree

    def test_scripts_and_styles_of_the_page_are_served(
        self, layout: Layout, browser: urllib.request.OpenerDirector
    ) -> None:
        page = self.log_in(layout, browser)
        files = set(re.findall(r'(?:src|href)="/(static/[^"]+\.(?:js|css)[^"]*)"', page))
        assert len(files) > 20
        for file in files:
            assert self.get(browser, f"{WebPart(layout).url}{file}")


class TestOutages:
    def test_omero_alone_goes_down_and_comes_up_again(self, layout: Layout, part: OmeroPart) -> None:
        running = part.database.process()
        part.server.stop()
        assert part.status().detail == "not running"
        assert part.server.children() == {}
        with pytest.raises(StackError, match="cannot log in to OMERO as alice"), login.session(layout, "alice"):
            pass
        assert part.database.process() == running
        part.server.start()
        with login.session(layout, "alice") as factory:
            assert factory.getAdminService().getEventContext().userName == "alice"

    def test_a_killed_blitz_is_started_again_by_icegrid(self, layout: Layout, part: OmeroPart) -> None:
        killed = part.server.children()["Blitz-0"]
        part.server.kill_blitz()
        assert not part.server.ready()
        part.server.wait_until_ready()
        assert part.server.children()["Blitz-0"] != killed
        with login.session(layout, "alice") as factory:
            assert factory.getAdminService().getEventContext().userName == "alice"

    def test_after_a_wipe_no_process_and_no_file_is_left(self, layout: Layout) -> None:
        before = [processes.identity(process.pid) for process in processes_of(layout)]
        assert len(before) >= 5
        assert stack.wipe(NAME)
        assert processes_of(layout) == []
        assert not [process for process in before if processes.is_running(process)]
        assert not layout.state.exists()

"""OMERO's processes, accounts and web server, as far as they can be tested without an OMERO."""

from __future__ import annotations

import http.server
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_stack import processes
from fleet_stack.console import StackError
from fleet_stack.layout import Layout
from fleet_stack.omero import accounts, bioformats, packages, users, web
from fleet_stack.omero.part import OmeroPart
from fleet_stack.omero.server import OmeroServer
from fleet_stack.omero.settings import OmeroSettings

WAITS = "import sys; print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A stack that nothing was made of yet; nothing listens on its ports."""
    return Layout("unit", tmp_path / "state", tmp_path / "cache", 31_000)


@pytest.fixture
def blitz(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """A process with the command line of a Blitz that IceGrid started for this stack."""
    mark = f"--Ice.Config={layout.omero}/ice/node/servers/Blitz-0/config/config"
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        yield child
        child.kill()


@pytest.fixture
def server(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> OmeroServer:
    """A server whose icegridnode is this very test, with both doors open."""
    layout.omero.mkdir(parents=True)
    (layout.omero / "log").mkdir()
    (layout.omero / "icegridnode.process").write_text(processes.identity(os.getpid()) or "")
    monkeypatch.setattr(processes, "accepts", lambda _port: True)
    return OmeroServer(layout, OmeroSettings())


def say(layout: Layout, text: str, age_seconds: float = 0.0) -> None:
    file = layout.omero / "log" / "Blitz-0.log.state"
    file.write_text(text)
    then = time.time() - age_seconds
    os.utime(file, (then, then))


class TestServer:
    ACCEPTS = "2026-01-01 OMERO.blitz now accepting connections.\n"

    def test_processes_of_this_stack_are_found_by_their_command(
        self, server: OmeroServer, blitz: subprocess.Popen[str]
    ) -> None:
        assert server.children() == {"Blitz-0": processes.identity(blitz.pid)}

    def test_processes_of_another_stack_are_left_alone(self, tmp_path: Path, blitz: subprocess.Popen[str]) -> None:
        assert blitz.poll() is None
        other = Layout("other", tmp_path / "other", tmp_path / "cache", 31_040)
        assert OmeroServer(other, OmeroSettings()).children() == {}

    @pytest.mark.usefixtures("blitz")
    def test_ready_once_blitz_has_said_so(self, server: OmeroServer, layout: Layout) -> None:
        assert not server.ready()
        say(layout, self.ACCEPTS)
        assert server.ready()

    @pytest.mark.usefixtures("blitz")
    def test_not_ready_while_a_door_is_shut(
        self, server: OmeroServer, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        say(layout, self.ACCEPTS)
        monkeypatch.setattr(processes, "accepts", lambda port: port != layout.ports.omero_tcp)
        assert not server.ready()

    @pytest.mark.usefixtures("blitz")
    def test_what_a_killed_blitz_said_does_not_count_for_its_successor(
        self, server: OmeroServer, layout: Layout
    ) -> None:
        say(layout, self.ACCEPTS, age_seconds=60)
        assert not server.ready()

    @pytest.mark.usefixtures("blitz")
    def test_not_ready_while_it_closes(self, server: OmeroServer, layout: Layout) -> None:
        say(layout, self.ACCEPTS + "Calling close on context OMERO.blitz\n")
        assert not server.ready()

    def test_not_ready_without_a_blitz(self, server: OmeroServer, layout: Layout) -> None:
        say(layout, self.ACCEPTS)
        assert not server.ready()

    def test_not_ready_without_icegrid(self, layout: Layout) -> None:
        server = OmeroServer(layout, OmeroSettings())
        assert server.node() is None
        assert not server.ready()

    def test_an_icegrid_that_is_gone_is_not_mistaken_for_its_number(self, server: OmeroServer, layout: Layout) -> None:
        (layout.omero / "icegridnode.process").write_text(f"{os.getpid()}/1")
        assert server.node() is None

    @pytest.mark.usefixtures("blitz")
    def test_a_blitz_that_gave_up_ends_the_wait_and_names_the_log(
        self, server: OmeroServer, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stops: list[str] = []
        monkeypatch.setattr(server, "stop", lambda: stops.append("stop"))
        say(layout, "Error on startup.")
        with pytest.raises(StackError, match=r"could not start; .*Blitz-0\.log says why"):
            server.wait_until_ready(5)
        assert stops == ["stop"]

    def test_killing_blitz_kills_it_and_forgets_what_it_said(
        self, server: OmeroServer, layout: Layout, blitz: subprocess.Popen[str]
    ) -> None:
        say(layout, self.ACCEPTS)
        reaper = threading.Thread(target=blitz.wait)
        reaper.start()
        server.kill_blitz()
        reaper.join(10)
        assert blitz.returncode == -9
        assert not (layout.omero / "log" / "Blitz-0.log.state").exists()

    def test_there_must_be_a_blitz_to_kill(self, server: OmeroServer) -> None:
        with pytest.raises(StackError, match="no Blitz runs"):
            server.kill_blitz()

    def test_a_taken_port_is_named_before_anything_is_started(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(processes, "accepts", lambda port: port == layout.ports.omero_tcp)
        with pytest.raises(StackError, match=f"port {layout.ports.omero_tcp} is taken"):
            OmeroServer(layout, OmeroSettings()).start()


class Admin:
    """Stands in for OMERO's administration: remembers what was created."""

    def __init__(self) -> None:
        self.groups: dict[str, Any] = {}
        self.users: dict[str, Any] = {}
        self.memberships: dict[int, set[int]] = {}
        self.privileges: dict[str, list[str]] = {}
        self.passwords: dict[str, str] = {}
        self._ids = itertools.count(10)

    def lookupGroups(self) -> list[Any]:  # noqa: N802  OMERO's name
        return list(self.groups.values())

    def lookupExperimenters(self) -> list[Any]:  # noqa: N802  OMERO's name
        return list(self.users.values())

    def getSecurityRoles(self) -> Any:  # noqa: N802  OMERO's name
        return SimpleNamespace(userGroupId=1)

    def createGroup(self, group: Any) -> int:  # noqa: N802  OMERO's name
        return self._created(self.groups, group.name.val, {"name": group.name, "details": group.details})

    def createExperimenterWithPassword(self, user: Any, password: Any, default: Any, others: list[Any]) -> None:  # noqa: N802  OMERO's name
        made = self._created(self.users, user.omeName.val, {"omeName": user.omeName})
        self.passwords[user.omeName.val] = password.val
        self.memberships[made] = {default.id.val, *(group.id.val for group in others)}

    def addGroups(self, user: Any, groups: list[Any]) -> None:  # noqa: N802  OMERO's name
        self.memberships[user.id.val] |= {group.id.val for group in groups}

    def createRestrictedSystemUserWithPassword(self, user: Any, privileges: list[Any], password: Any) -> None:  # noqa: N802  OMERO's name
        self._created(self.users, user.omeName.val, {"omeName": user.omeName})
        self.passwords[user.omeName.val] = password.val
        self.privileges[user.omeName.val] = [privilege.value.val for privilege in privileges]

    def setAdminPrivileges(self, user: Any, privileges: list[Any]) -> None:  # noqa: N802  OMERO's name
        (name,) = [name for name, known in self.users.items() if known.id.val == user.id.val]
        self.privileges[name] = [privilege.value.val for privilege in privileges]

    def _created(self, where: dict[str, Any], name: str, attributes: dict[str, Any]) -> int:
        assert name not in where, f"{name} created twice"
        number = next(self._ids)
        where[name] = SimpleNamespace(id=SimpleNamespace(val=number), **attributes)
        return number

    def groups_of(self, user: str) -> set[str]:
        """Names of the groups of a user."""
        ids = self.memberships[self.users[user].id.val]
        return {name for name, group in self.groups.items() if group.id.val in ids}


def make_users(admin: Admin, facility: accounts.Facility = accounts.FACILITY) -> None:
    privileges = [SimpleNamespace(value=SimpleNamespace(val=name)) for name in ("Chown", "Sudo", "WriteFile")]
    types = SimpleNamespace(allEnumerations=lambda _: privileges)
    factory = SimpleNamespace(getAdminService=lambda: admin, getTypesService=lambda: types)
    users._Maker(factory, lambda user: f"password of {user}").make(facility)


class TestUsers:
    def test_everybody_of_the_facility_is_created_with_an_own_password(self) -> None:
        admin = Admin()
        make_users(admin)
        assert admin.passwords == {
            name: f"password of {name}" for name in ("alice", "bob", "carol", "dave", "importer")
        }
        assert admin.groups_of("alice") == {"screening", "private-lab"}
        assert admin.groups_of("dave") == {"other"}

    def test_the_importer_may_sudo_and_nothing_else(self) -> None:
        admin = Admin()
        make_users(admin)
        assert admin.privileges == {"importer": ["Sudo"]}

    def test_a_second_time_nothing_is_created(self) -> None:
        admin = Admin()
        make_users(admin)
        make_users(admin)  # Admin refuses to create a name twice
        assert len(admin.users) == 5

    def test_a_lost_membership_and_a_gained_privilege_are_put_right(self) -> None:
        admin = Admin()
        make_users(admin)
        admin.memberships[admin.users["alice"].id.val].clear()
        admin.privileges["importer"] = ["Sudo", "Chown"]
        make_users(admin)
        assert admin.groups_of("alice") == {"screening", "private-lab"}
        assert admin.privileges["importer"] == ["Sudo"]

    def test_permissions_are_those_of_the_description(self) -> None:
        admin = Admin()
        make_users(admin)
        found = {name: str(group.details.permissions) for name, group in admin.groups.items()}
        assert found == {"screening": "rwra--", "private-lab": "rw----", "other": "rw----"}

    def test_users_are_only_in_groups_that_exist(self) -> None:
        names = {group.name for group in accounts.FACILITY.groups}
        assert all(set(user.groups) <= names for user in accounts.FACILITY.users)


class TestWeb:
    def test_it_speaks_to_the_omero_of_its_stack_only(self, layout: Layout) -> None:
        settings = web.web_settings(layout, "key")
        assert json.loads(settings["omero.web.server_list"]) == [["127.0.0.1", layout.ports.omero_ssl, "unit"]]

    def test_static_files_are_served_before_anything_else_looks_at_a_request(self, layout: Layout) -> None:
        middleware = json.loads(web.web_settings(layout, "key")["omero.web.middleware"])
        first = min(middleware, key=lambda entry: entry["index"])
        assert first["class"] == "whitenoise.middleware.WhiteNoiseMiddleware"
        assert len({entry["index"] for entry in middleware}) == len(middleware) == 7

    def test_gunicorn_listens_on_this_machine_and_writes_below_the_state(self, layout: Layout, tmp_path: Path) -> None:
        text = web.gunicorn_settings(layout, tmp_path)
        values: dict[str, Any] = {}
        exec(text, values)  # noqa: S102  the file is Python, and gunicorn does the same
        assert values["bind"] == f"127.0.0.1:{layout.ports.web}"
        assert values["worker_tmp_dir"] == f"{tmp_path}/var"
        assert values["control_socket_disable"] is True

    def test_a_missing_package_is_named(self, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        def version(name: str) -> str:
            if name == "whitenoise":
                raise importlib.metadata.PackageNotFoundError(name)
            return "1"

        monkeypatch.setattr(importlib.metadata, "version", version)
        with pytest.raises(StackError, match="no package whitenoise"):
            web.WebPart(layout).install()

    def test_it_is_not_running_before_it_was_started(self, layout: Layout) -> None:
        part = web.WebPart(layout)
        assert (part.status().running, part.status().ready, part.status().detail) == (False, False, "not running")
        part.stop()

    @pytest.mark.parametrize(("status", "answer"), [(200, True), (404, False), (500, False)])
    def test_only_a_page_counts_as_an_answer(self, status: int, answer: bool) -> None:  # noqa: FBT001  a parameter
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as page:
            thread = threading.Thread(target=page.handle_request)
            thread.start()
            assert web.answers(page.server_port, "/") is answer
            thread.join(10)

    def test_nobody_there_is_no_answer(self, layout: Layout) -> None:
        assert web.answers(layout.ports.web, "/") is False


class TestOmeroPart:
    def test_nothing_runs_before_it_was_started(self, layout: Layout) -> None:
        part = OmeroPart(layout)
        assert (part.status().running, part.status().ready, part.status().detail) == (False, False, "not running")
        part.stop()
        part.kill()

    def test_it_must_be_installed_before_it_is_initialised(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fleet_stack.omero.part.certificates.ensure", lambda _: None)
        with pytest.raises(StackError, match="OMERO is not installed"):
            OmeroPart(layout).initialise()

    def test_the_database_runs_while_the_server_does(self, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        part, calls = OmeroPart(layout), list[str]()
        for what in ("database", "server"):
            for act in ("start", "stop"):
                monkeypatch.setattr(getattr(part, what), act, lambda what=what, act=act: calls.append(f"{what} {act}"))
        monkeypatch.setattr(users, "ensure", lambda _: calls.append("users"))
        part.start()
        part.stop()
        assert calls == ["database start", "server start", "users", "server stop", "database stop"]

    def test_plain_settings_are_checked_like_all_others(self, layout: Layout) -> None:
        with pytest.raises(StackError, match="names begin with omero"):
            OmeroPart(layout, {"poolsize": "3"})


class TestBioformats:
    ENTRY = Path("/plates/a/Index.idx.xml")

    def test_an_answer_becomes_plain_data(self) -> None:
        size = {"x": 64, "y": 32, "z": 3, "c": 2, "t": 1}
        answer = bioformats._answer(self.ENTRY, {"reader_class": "R", "files": ["/a", "/b"], "series": [size, size]})
        assert answer == bioformats.UsedFiles(
            "R", (Path("/a"), Path("/b")), 2, (bioformats.SeriesSize(64, 32, 3, 2, 1),) * 2
        )

    def test_a_refusal_names_the_file_and_the_reason(self) -> None:
        answer = bioformats._answer(self.ENTRY, {"error": "UnknownFormatException: no"})
        assert isinstance(answer, bioformats.ReaderError)
        assert str(answer) == "Bio-Formats cannot open /plates/a/Index.idx.xml: UnknownFormatException: no"

    def test_a_name_with_a_line_break_cannot_be_asked_about(self) -> None:
        with pytest.raises(StackError, match="line break"):
            bioformats._run("", [Path("/a\nb")])

    def test_a_java_that_ends_early_is_an_error_with_what_it_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done = subprocess.CompletedProcess([], 1, stdout="{}\n", stderr="OutOfMemoryError")
        monkeypatch.setattr(bioformats, "_java", lambda *_: done)
        with pytest.raises(StackError, match=r"(?s)ended with 1 .*OutOfMemoryError"):
            bioformats._run("", [self.ENTRY, self.ENTRY])

    def test_odd_line_ends_in_file_names_do_not_split_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done = subprocess.CompletedProcess([], 0, stdout='{"error":"a\u2028b"}\n', stderr="")
        monkeypatch.setattr(bioformats, "_java", lambda *_: done)
        assert bioformats._run("", [self.ENTRY]) == ['{"error":"a\u2028b"}']


def test_the_packages_are_named_by_their_debian_names_and_proofs() -> None:
    assert {"zeroc-icegrid", "zeroc-glacier2", "zeroc-icebox", "postgresql", "maven"} <= set(packages.DEBIAN)

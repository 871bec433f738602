"""Debris made on purpose on a real OMERO: found, told from what is in use, and deleted; and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import omero
import omero.cmd
import pytest
from pydantic import SecretStr

from fleet_stack.description import OmeroDescription
from fleet_stack.plates import tiff as write_tiff
from fleet_worker import sweep as module
from fleet_worker.omero.account import close_session
from fleet_worker.omero.address import OmeroAddress
from fleet_worker.omero.commands import submit
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.serverfacts import LostFolder
from fleet_worker.omero.session import OwnerSession
from fleet_worker.omero.state import State, classify
from omero_imports import eventually, import_folder, open_sessions, repository_of, run, spec_of, state_of, upload_all
from support.sweeping import Bench

pytestmark = pytest.mark.timeout(900)

TESTS = Path(__file__).parents[1]


@pytest.fixture
def tif(share: Path) -> Path:
    """One image."""
    return write_tiff(share / "one.tif", seed=3)


class TestFilesets:
    """Which filesets nobody will finish."""

    def test_registered_and_half_sent_ones_are_found_once_their_sessions_are_closed(
        self, gateway: Gateway, share: Path, tif: Path
    ) -> None:
        """Given three attempts, one of which lives, the other two are debris."""
        with gateway.sudo("alice", "screening") as session:
            living = session.register(spec_of(share, [tif])).fileset_id
            with gateway.sudo("bob", "screening") as dead:
                registered = dead.register(spec_of(share, [tif])).fileset_id
            with gateway.sudo("carol", "private-lab") as dead:
                half = dead.register(spec_of(share, [tif, write_tiff(share / "two.tif")]))
                upload_all(half, [tif])
            found = {state.id: state for state in gateway.unfinished()}
            assert living not in found
            assert {(found[one].owner, found[one].group) for one in (registered, half.fileset_id)} == {
                ("bob", "screening"),
                ("carol", "private-lab"),
            }
        assert living in {state.id for state in gateway.unfinished()}

    def test_what_is_complete_is_left_alone(self, gateway: Gateway, share: Path, tif: Path) -> None:
        """Whether or not its attempt got as far as to say so."""
        with gateway.sudo("alice", "screening") as session:
            silent = run(session, spec_of(share, [tif]), [tif]).fileset_id
            told = run(session, spec_of(share, [tif]), [tif]).fileset_id
            session.annotate(told, {"result": "verified"}, {})
        assert not {silent, told} & {state.id for state in gateway.unfinished()}

    def test_a_fileset_with_a_result_is_not_even_looked_at(self, gateway: Gateway, share: Path, tif: Path) -> None:
        """One whose verification failed stays for a person, whatever its state."""
        with gateway.sudo("alice", "screening") as session:
            refused = session.register(spec_of(share, [tif])).fileset_id
            session.annotate(refused, {"result": "verification-failed"}, {})
        assert refused not in {state.id for state in gateway.unfinished()}

    def test_others_filesets_are_none_of_ours(self, gateway: Gateway, share: Path, tif: Path) -> None:
        """Given bob's annotation on what alice left, and a fileset without any, neither counts."""
        with gateway.sudo("alice", "screening") as session:
            registered = session.register(spec_of(share, [tif]))
            strip_annotation(session, registered.fileset_id)
        assert registered.fileset_id not in {state.id for state in gateway.unfinished()}
        with gateway.sudo("bob", "screening") as bob:
            bob.annotate(registered.fileset_id, {"request_id": "forged"}, {})
        assert registered.fileset_id not in {state.id for state in gateway.unfinished()}


class TestSweep:
    """A whole sweep over a real server; the locks are stand-ins."""

    def test_debris_goes_and_everything_else_stays(
        self, gateway: Gateway, omero_server: OmeroDescription, share: Path, tif: Path
    ) -> None:
        """Given an image, a registered and a half sent fileset and a lost folder, only the image is left."""
        with gateway.sudo("alice", "screening") as dead:
            whole = run(dead, spec_of(share, [tif]), [tif]).fileset_id
            debris = [dead.register(spec_of(share, [tif])) for _ in range(2)]
            upload_all(debris[1], [tif])
            paths = [import_folder(dead, omero_server, one.fileset_id) for one in debris]
            kept = import_folder(dead, omero_server, whole)
        paths.append(lose_folder(gateway, omero_server, share, tif))
        parts = Bench()
        parts.gateway = gateway
        dry = module.sweep(parts, dry_run=True, lost_after_seconds=0)
        assert all(path.is_dir() for path in paths)
        report = module.sweep(parts, lost_after_seconds=0)
        assert report.failed == ()
        assert {one.what for one in dry.filesets} == {one.what for one in report.filesets}
        assert {f"Fileset:{one.fileset_id}" for one in debris} <= {one.what for one in report.filesets}
        assert not any(path.exists() for path in paths)
        assert kept.is_dir()
        assert module.sweep(parts, lost_after_seconds=0) == module.SweepReport()


class TestLiveSession:
    """A worker that was killed half way: its session stays open for ten minutes, with files open in it."""

    def test_its_fileset_is_deleted_at_once_and_nothing_hangs(
        self, gateway: Gateway, address: OmeroAddress, share: Path, tif: Path
    ) -> None:
        """Given eight files with unsaved bytes, neither the deletion nor the session's later end stops the server."""
        spec = spec_of(share, [tif])
        before = open_sessions(gateway, "alice")
        fileset_id, old = killed_half_way(address, share, spec.request_id)
        state = state_of(gateway, spec)
        assert (state.id, state.files, state.hashes) == (fileset_id, 8, 0)
        assert (classify(state), state.session_closed) == (State.UPLOAD_UNFINISHED, False)
        with gateway.sudo("alice", "screening") as session:
            session.delete_fileset(fileset_id)
        assert gateway.find_filesets(spec.request_id) == ()
        assert len(open_sessions(gateway, "alice") - before) == 1
        end_session(gateway, old)
        eventually(lambda: open_sessions(gateway, "alice") == before)
        gateway.check()
        with gateway.sudo("alice", "screening") as session:
            assert run(session, spec, [tif]).pixels == 1


def killed_half_way(address: OmeroAddress, share: Path, request_id: str) -> tuple[int, str]:
    """Have a process send the beginning of eight files and kill it; the id of its fileset, the uuid of its session."""
    files = []
    for number in range(8):
        files.append(share / f"half{number}.bin")
        files[-1].write_bytes(bytes(1_000_000))
    values = address.model_dump(mode="json") | {"password": address.password.get_secret_value()}
    told = {"address": values, "share": str(share), "files": [str(file) for file in files], "request_id": request_id}
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-W", "ignore", str(TESTS / "support" / "half_uploads.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        fileset_id, uuid = next(line for line in process.stdout if line.startswith("half ")).split()[1:]
        process.kill()
    return int(fileset_id), uuid


def end_session(gateway: Gateway, uuid: str) -> None:
    """End somebody's session as its idle time-out would, within ten seconds."""
    began = time.monotonic()
    close_session(gateway._connected(), uuid)
    assert time.monotonic() - began < 10


def strip_annotation(session: OwnerSession, fileset_id: int) -> None:
    """Take the key away, so that it is a fileset of somebody else's client."""
    hql = "select a from FilesetAnnotationLink l join l.child a where l.parent.id = :id"
    parameters = omero.sys.ParametersI().addId(fileset_id)
    for annotation in session._connection.query.findAllByQuery(hql, parameters):
        submit(session._connection, "a test", omero.cmd.Delete2(targetObjects={"Annotation": [annotation.id.val]}))


class TestFolders:
    """Which folders no fileset names."""

    def test_a_lost_folder_is_found_and_deleted_with_all_in_it(
        self, gateway: Gateway, omero_server: OmeroDescription, share: Path, tif: Path
    ) -> None:
        """Given an attempt that died between the deletion of a fileset and of its folder."""
        path = lose_folder(gateway, omero_server, share, tif)
        assert path.is_dir()
        (lost,) = [one for one in gateway.lost_folders(0) if path == repository_of(omero_server) / one.path]
        assert (lost.owner, lost.group) == ("alice", "screening")
        assert not gateway.in_use(lost)
        with gateway.sudo(lost.owner, lost.group) as session:
            session.delete_folder(lost.path)
        assert not path.exists()
        assert path.parent.is_dir()
        assert lost not in gateway.lost_folders(0)

    def test_a_young_folder_is_left_to_whoever_may_be_making_its_fileset(
        self, gateway: Gateway, omero_server: OmeroDescription, share: Path, tif: Path
    ) -> None:
        """``importFileset`` makes the folder first; by the server's clock it is not an hour old."""
        lose_folder(gateway, omero_server, share, tif)
        assert gateway.lost_folders(0)
        assert gateway.lost_folders(3600) == ()

    def test_folders_of_filesets_and_of_days_are_in_use(
        self, gateway: Gateway, omero_server: OmeroDescription, share: Path, tif: Path
    ) -> None:
        """Those that hold a fileset's folder and those inside it, whatever they are called."""
        with gateway.sudo("alice", "screening") as session:
            fileset_id = run(session, spec_of(share, [tif]), [tif]).fileset_id
            folder = import_folder(session, omero_server, fileset_id).relative_to(repository_of(omero_server))
        paths = {one.path for one in gateway.lost_folders(0)}
        for path in (f"{folder}/", f"{folder}/hcs/", f"{folder.parent}/"):
            assert path not in paths
            assert gateway.in_use(LostFolder(0, path, 0, "alice", 0, "screening", 0.0))

    def test_a_folder_of_the_owners_own_import_is_never_ours(
        self, gateway: Gateway, omero_server: OmeroDescription, address: OmeroAddress, share: Path, tif: Path
    ) -> None:
        """Given bob's own client, whose import ended in the same way as an attempt of ours."""
        password = omero_server.users["bob"].read_text().strip()
        own = Connection.log_in(address.model_copy(update={"user": "bob", "password": SecretStr(password)}))
        owner = gateway.check_owner("bob", "screening")
        own.use_group(owner.group_id)
        with OwnerSession(own, owner, on_close=lambda _: None) as session:
            registered = session.register(spec_of(share, [tif]))
            path = import_folder(session, omero_server, registered.fileset_id)
            submit(own, "a test", omero.cmd.Delete2(targetObjects={"Fileset": [registered.fileset_id]}))
        assert path.is_dir()
        assert path not in {repository_of(omero_server) / one.path for one in gateway.lost_folders(0)}

    def test_the_repository_itself_is_never_deleted(self, alice: OwnerSession, omero_server: OmeroDescription) -> None:
        """Whatever path a defect may bring up."""
        for path in ("", "/", "//"):
            alice.delete_folder(path)
        assert repository_of(omero_server).is_dir()


def lose_folder(gateway: Gateway, server: OmeroDescription, share: Path, tif: Path) -> Path:
    """Delete a fileset as alice without its folder."""
    with gateway.sudo("alice", "screening") as session:
        registered = session.register(spec_of(share, [tif]))
        path = import_folder(session, server, registered.fileset_id)
        request = omero.cmd.Delete2(targetObjects={"Fileset": [registered.fileset_id]})
        submit(session._connection, "a test", request)
    return path

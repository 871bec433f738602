"""Imports that end early or badly on a real OMERO: what is said, what is left, and what finds it again."""

from __future__ import annotations

import io
from pathlib import Path

import omero
import omero.model
import pytest

from fleet_common.errors import Permanent, Reason, RequestError, Transient
from fleet_stack.description import OmeroDescription
from fleet_stack.layout import Layout
from fleet_stack.omero.part import OmeroPart
from fleet_stack.plates import PlateSpec, make_plate
from fleet_stack.plates import tiff as write_tiff
from fleet_worker.annotations import FAILED, RESULT
from fleet_worker.omero import deletion
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import ChecksumsDiffer
from fleet_worker.omero.filesets import NAMESPACE
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.register import named_values
from fleet_worker.omero.session import OwnerSession
from fleet_worker.omero.state import State, classify
from omero_imports import (
    HARMONY_READER,
    eventually,
    import_folder,
    never,
    nobody,
    open_sessions,
    run,
    spec_of,
    state_of,
    upload_all,
)

pytestmark = pytest.mark.timeout(900)


class Stopped(Exception):
    """Raised by a ``stop`` of these tests."""


def stopping() -> None:
    """A ``stop`` that stops."""
    raise Stopped


@pytest.fixture
def tif(share: Path) -> Path:
    """One image."""
    return write_tiff(share / "one.tif", seed=3)


class TestUpload:
    """Every file is compared after it was sent."""

    def test_a_file_that_arrived_differently_is_sent_again_alone(
        self, alice: OwnerSession, share: Path, tif: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Given a network that damages the first send, then the second one counts."""
        registered = alice.register(spec_of(share, [tif]))
        damage_sends(monkeypatch, 1)
        told: list[int] = []
        with tif.open("rb") as stream:
            sent = registered.upload(0, stream, on_bytes=told.append, stop=never)
        assert sent.sends == 2
        assert sum(told) == tif.stat().st_size
        running = registered.start([sent.hash_hex])
        running.wait(deadline_seconds=60, on_step=nobody, stop=never)
        assert alice.verify(registered.fileset_id).files[0].hash_hex == sent.hash_hex

    def test_three_times_is_enough(
        self, alice: OwnerSession, share: Path, tif: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then it is no accident."""
        registered = alice.register(spec_of(share, [tif]))
        damage_sends(monkeypatch, 3)
        with tif.open("rb") as stream, pytest.raises(Transient) as caught:
            registered.upload(0, stream, on_bytes=nobody, stop=never)
        assert caught.value.reason is Reason.UPLOAD_DIFFERS
        assert "hcs/one.tif" in str(caught.value)

    def test_the_server_names_the_files_that_are_not_what_was_sent(
        self, alice: OwnerSession, gateway: Gateway, share: Path, tif: Path
    ) -> None:
        """Given hashes that do not fit, the import does not begin, and begins once they do."""
        other = write_tiff(share / "two.tif", seed=4)
        spec = spec_of(share, [tif, other])
        registered = alice.register(spec)
        hashes = upload_all(registered, [tif, other])
        with pytest.raises(ChecksumsDiffer) as caught:
            registered.start([hashes[0], hashes[0]])
        assert caught.value.indexes == (1,)
        assert not alice.may_be_importing
        assert classify(state_of(gateway, spec)) is State.UPLOAD_UNFINISHED
        with other.open("rb") as stream:
            registered.upload(1, stream, on_bytes=nobody, stop=never)
        registered.start(hashes).wait(deadline_seconds=60, on_step=nobody, stop=never)

    def test_a_file_that_was_never_sent_is_named_too(self, alice: OwnerSession, share: Path, tif: Path) -> None:
        """Its hash in the database is null."""
        other = write_tiff(share / "two.tif", seed=4)
        registered = alice.register(spec_of(share, [tif, other]))
        (sent,) = upload_all(registered, [tif])
        with pytest.raises(ChecksumsDiffer) as caught:
            registered.start([sent, "0" * 40])
        assert caught.value.indexes == (1,)

    def test_a_file_that_grew_since_it_was_listed(self, alice: OwnerSession, share: Path, tif: Path) -> None:
        """An instrument is still writing: not what the manifest says."""
        registered = alice.register(spec_of(share, [tif]))
        with pytest.raises(Transient) as caught:
            registered.upload(0, io.BytesIO(tif.read_bytes() + b"more"), on_bytes=nobody, stop=never)
        assert caught.value.reason is Reason.MANIFEST_DIFFERS

    def test_an_upload_stops_between_chunks(self, alice: OwnerSession, share: Path) -> None:
        """A worker that lost its lease must not go on sending 100 GB."""
        big = share / "big.bin"
        big.write_bytes(bytes(20 * 1024 * 1024))
        registered = alice.register(spec_of(share, [big]))
        told: list[int] = []

        def stop_after_one() -> None:
            if told:
                raise Stopped

        with big.open("rb") as stream, pytest.raises(Stopped):
            registered.upload(0, stream, on_bytes=told.append, stop=stop_after_one)
        assert sum(told) < big.stat().st_size

    def test_without_its_session_no_file_opens(self, gateway: Gateway, share: Path, tif: Path) -> None:
        """The session ended between two files: the attempt begins anew in another one."""
        session = gateway.sudo("alice", "screening")
        registered = session.register(spec_of(share, [tif]))
        session.close()
        with tif.open("rb") as stream, pytest.raises(Transient) as caught:
            registered.upload(0, stream, on_bytes=nobody, stop=never)
        assert caught.value.reason is Reason.SESSION_LOST


def damage_sends(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the server's hash of the first saves differ, as if bytes had been lost on their way."""
    from fleet_worker.omero import upload  # noqa: PLC0415  only here

    # A file of one chunk is compared later, with all others.
    monkeypatch.setattr(upload, "CHUNK_BYTES", 1024)
    left = [times]
    saved_hash = upload._Sending.saved_hash

    def damaged(self: upload._Sending) -> str:
        if left[0] > 0:
            left[0] -= 1
            self._store.write(b"\xff" * 7, 10, 7)
        return saved_hash(self)

    monkeypatch.setattr(upload._Sending, "saved_hash", damaged)


class TestServer:
    """What the server says no to."""

    def test_a_file_that_is_no_image(self, alice: OwnerSession, gateway: Gateway, share: Path) -> None:
        """Permanent, with the end of what the server said, and no image left."""
        file = share / "notes.xyz"
        file.write_bytes(b"no image at all" * 99)
        spec = spec_of(share, [file])
        with pytest.raises(Permanent) as caught:
            run(alice, spec, [file])
        assert caught.value.reason is Reason.UNKNOWN_FORMAT
        assert "UnknownFormatException" in caught.value.log_tail
        state = state_of(gateway, spec)
        assert (state.images, state.job_status) == (0, "Finished")
        assert not alice.may_be_importing

    def test_a_file_that_ends_too_early(self, alice: OwnerSession, share: Path, tif: Path) -> None:
        """The reader knows the format and cannot read it."""
        cut = share / "cut.tif"
        cut.write_bytes(tif.read_bytes()[:100])
        with pytest.raises(Permanent) as caught:
            run(alice, spec_of(share, [cut]), [cut])
        assert caught.value.reason is Reason.READER_FAILED

    def test_files_that_lie_too_far_apart_without_a_reader(self, alice: OwnerSession, share: Path) -> None:
        """OMERO fails on them with an IllegalArgumentException."""
        files = []
        for folder in ("a/b/c/d/e", "x/b/c/d/e"):
            (share / folder).mkdir(parents=True)
            files.append(write_tiff(share / folder / "i.tif"))
        with pytest.raises(Permanent) as caught:
            alice.register(spec_of(share, files))
        assert caught.value.reason is Reason.UNSUPPORTED


class TestWaiting:
    """Who stops waiting does not stop the import."""

    def test_the_deadline_passes_and_the_import_goes_on(self, gateway: Gateway, share: Path) -> None:
        """Given an import left alone in the server, its session is left too: to close it would end the import."""
        plate = make_plate(share, PlateSpec(name="left", wells=12, fields=4, channels=1, size=32))
        spec = spec_of(share, plate.files, reader_class=HARMONY_READER)
        before = open_sessions(gateway, "alice")
        with gateway.sudo("alice", "screening") as session:
            registered = session.register(spec)
            running = registered.start(upload_all(registered, plate.files))
            with pytest.raises(Transient) as caught:
                running.wait(deadline_seconds=-1, on_step=nobody, stop=never)
            assert caught.value.reason is Reason.OMERO_BUSY
            running.close()
            assert session.may_be_importing
            assert gateway.running_imports() == 1
        assert classify(state_of(gateway, spec)) is State.QUEUED_OR_RUNNING
        eventually(lambda: classify(state_of(gateway, spec)) is State.COMPLETE)
        state = state_of(gateway, spec)
        assert (state.images, state.thumbnails, state.session_closed) == (48, 48, False)
        # It would end at its idle time-out, ten minutes later.
        assert len(open_sessions(gateway, "alice") - before) == 1
        assert gateway.running_imports() == 0

    def test_what_is_about_to_be_started_counts_as_long_as_its_session_lives(
        self, gateway: Gateway, share: Path, tif: Path
    ) -> None:
        """Given a fileset that waits for the server to compare all hashes, nobody else starts in its place."""
        with gateway.sudo("alice", "screening") as session:
            registered = session.register(spec_of(share, [tif]))
            hashes = upload_all(registered, [tif])
            assert gateway.running_imports() == 0
            session.announce(registered.fileset_id)
            assert gateway.running_imports() == 1
            assert gateway.running_imports(besides=registered.fileset_id) == 0
            running = registered.start(hashes)
            assert gateway.running_imports() == 1
            running.wait(deadline_seconds=60, on_step=nobody, stop=never)
            eventually(lambda: gateway.running_imports() == 0)
            other = session.register(spec_of(share, [tif]))
            session.announce(other.fileset_id)
            assert gateway.running_imports() == 1
        assert gateway.running_imports() == 0

    def test_what_has_its_result_counts_no_more_though_its_session_is_open(
        self, gateway: Gateway, share: Path, tif: Path
    ) -> None:
        """Sessions are kept for the next request; the facts of all that they imported would be asked for every time."""
        with gateway.sudo("alice", "screening") as session:
            registered = session.register(spec_of(share, [tif]))
            session.announce(registered.fileset_id)
            assert gateway.running_imports() == 1
            session.annotate(registered.fileset_id, {RESULT: FAILED}, {})
            assert gateway.running_imports() == 0

    def test_stop_stops_waiting(self, alice: OwnerSession, gateway: Gateway, share: Path, tif: Path) -> None:
        """At the next look, which comes every second."""
        spec = spec_of(share, [tif])
        registered = alice.register(spec)
        running = registered.start(upload_all(registered, [tif]))
        with pytest.raises(Stopped):
            running.wait(deadline_seconds=60, on_step=nobody, stop=stopping)
        running.wait(deadline_seconds=60, on_step=nobody, stop=never)
        assert classify(state_of(gateway, spec)) is State.COMPLETE

    def test_an_import_is_cancelled_and_deleted(self, alice: OwnerSession, gateway: Gateway, share: Path) -> None:
        """Given a plate that the server is at, it ends, its session may be closed, and what it made can be deleted."""
        plate = make_plate(share, PlateSpec(name="cancelled", wells=12, fields=4, channels=1, size=32))
        spec = spec_of(share, plate.files, reader_class=HARMONY_READER)
        registered = alice.register(spec)
        running = registered.start(upload_all(registered, plate.files))
        eventually(running.cancel, 30)
        with pytest.raises(Transient) as caught:
            running.wait(deadline_seconds=60, on_step=nobody, stop=never)
        assert caught.value.reason is Reason.IMPORT_INTERRUPTED
        assert running.finished
        assert not alice.may_be_importing
        assert state_of(gateway, spec).thumbnails < 48
        alice.delete_fileset(registered.fileset_id)
        assert gateway.find_filesets(spec.request_id) == ()

    def test_a_finished_import_cannot_be_cancelled(self, alice: OwnerSession, share: Path, tif: Path) -> None:
        """It stays what it is."""
        registered = alice.register(spec_of(share, [tif]))
        running = registered.start(upload_all(registered, [tif]))
        running.wait(deadline_seconds=60, on_step=nobody, stop=never)
        assert not running.cancel()

    def test_lost_notifications_cost_seconds_only(
        self, alice: OwnerSession, share: Path, tif: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are one-way: the handle is asked as well."""
        from fleet_worker.omero import running as module  # noqa: PLC0415  only here

        monkeypatch.setattr(module, "POLL_SECONDS", 0.5)
        monkeypatch.setattr(module._Listener, "step", lambda *_: None)
        monkeypatch.setattr(module._Listener, "finished", lambda *_: None)
        outcome = run(alice, spec_of(share, [tif]), [tif])
        assert outcome.pixels == 1


class TestDebris:
    """What earlier attempts left is found, told apart and deleted."""

    def test_every_stage_is_told_apart(self, alice: OwnerSession, gateway: Gateway, share: Path, tif: Path) -> None:
        """From registered to complete, by the facts alone."""
        spec = spec_of(share, [tif])
        assert gateway.find_filesets(spec.request_id) == ()
        registered = alice.register(spec)
        state = state_of(gateway, spec)
        assert (state.id, state.files, state.hashes, state.session_closed) == (registered.fileset_id, 1, 0, False)
        assert (state.owner, state.group, state.digest) == ("alice", "screening", spec.digest)
        hashes = upload_all(registered, [tif])
        assert state_of(gateway, spec).hashes == 1
        assert classify(state_of(gateway, spec)) is State.UPLOAD_UNFINISHED
        registered.start(hashes).wait(deadline_seconds=60, on_step=nobody, stop=never)
        assert classify(state_of(gateway, spec)) is State.COMPLETE

    def test_an_unfinished_upload_is_found_and_deleted(self, gateway: Gateway, share: Path, tif: Path) -> None:
        """Given a worker that was ended in the middle, another session of the owner removes all of it."""
        spec = spec_of(share, [tif])
        with gateway.sudo("alice", "screening") as dead:
            upload_all(dead.register(spec), [tif])
        state = state_of(gateway, spec)
        assert (classify(state), state.session_closed) == (State.UPLOAD_UNFINISHED, True)
        with gateway.sudo("alice", "screening") as session:
            session.delete_fileset(state.id)
            session.delete_fileset(state.id)
        assert gateway.find_filesets(spec.request_id) == ()

    @pytest.mark.parametrize(("user", "group"), [("alice", "screening"), ("carol", "private-lab")])
    def test_a_complete_plate_can_be_deleted_with_files_and_folder(
        self, gateway: Gateway, omero_server: OmeroDescription, share: Path, user: str, group: str
    ) -> None:
        """The loser of an election: plate, images, files and folder go; the winner stays."""
        plate = make_plate(share, PlateSpec(name="twice", wells=2, fields=1, channels=1, size=16))
        winner = spec_of(share, plate.files, reader_class=HARMONY_READER)
        loser = spec_of(share, plate.files, reader_class=HARMONY_READER, request_id=winner.request_id)
        with gateway.sudo(user, group) as session:
            first, second = run(session, winner, plate.files), run(session, loser, plate.files)
            folders = {one: import_folder(session, omero_server, one) for one in (first.fileset_id, second.fileset_id)}
            assert all(folder.is_dir() for folder in folders.values())
            session.delete_fileset(second.fileset_id)
            assert [state.id for state in gateway.find_filesets(winner.request_id)] == [first.fileset_id]
            assert gateway.find_filesets(winner.request_id, besides=first.fileset_id) == ()
            assert len(session.verify(first.fileset_id).plates) == 1
        assert [folder.is_dir() for folder in folders.values()] == [True, False]

    def test_what_a_dead_worker_began_to_delete_is_no_result(
        self, gateway: Gateway, share: Path, tif: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Given a deletion that the server carries out late, then nobody takes the fileset for a result meanwhile."""
        spec = spec_of(share, [tif])
        with gateway.sudo("alice", "screening") as session:
            fileset_id = run(session, spec, [tif]).fileset_id
            with monkeypatch.context() as dying:
                dying.setattr(deletion, "submit", lambda *_: None)
                dying.setattr(deletion, "delete_folder", lambda *_: None)
                session.delete_fileset(fileset_id)
            assert classify(state_of(gateway, spec)) is State.BROKEN
            session.delete_fileset(fileset_id)
        assert gateway.find_filesets(spec.request_id) == ()

    def test_a_fileset_that_is_gone_is_no_success(self, alice: OwnerSession, share: Path, tif: Path) -> None:
        """Somebody deleted it between import and verification."""
        fileset_id = run(alice, spec_of(share, [tif]), [tif]).fileset_id
        alice.delete_fileset(fileset_id)
        with pytest.raises(RequestError) as caught:
            alice.verify(fileset_id)
        assert caught.value.reason is Reason.IMPORT_INTERRUPTED


class TestForgery:
    """Anybody can write an annotation; nobody can pass off a fileset as another's import."""

    def test_a_forged_request_id_shows_up_with_its_forgers_name(self, gateway: Gateway, share: Path, tif: Path) -> None:
        """Bob imports something of his own under alice's request id: the caller sees whose it is."""
        hers = spec_of(share, [tif])
        his = spec_of(share, [tif], request_id=hers.request_id)
        with gateway.sudo("bob", "screening") as bob:
            run(bob, his, [tif])
        assert [state.owner for state in gateway.find_filesets(hers.request_id)] == ["bob"]
        with gateway.sudo("alice", "screening") as alice:
            run(alice, hers, [tif])
        assert [state.owner for state in gateway.find_filesets(hers.request_id)] == ["bob", "alice"]

    def test_an_annotation_on_anothers_fileset_does_not_count(self, gateway: Gateway, share: Path, tif: Path) -> None:
        """In a read-annotate group bob may annotate alice's old fileset; it does not answer a new request."""
        old, new = spec_of(share, [tif]), spec_of(share, [tif])
        with gateway.sudo("alice", "screening") as alice:
            fileset_id = run(alice, old, [tif]).fileset_id
        with gateway.sudo("bob", "screening") as bob:
            link_request_id(bob._connection, fileset_id, new.request_id)
        assert gateway.find_filesets(new.request_id) == ()
        assert state_of(gateway, old).annotation["request_id"] == old.request_id


def link_request_id(connection: Connection, fileset_id: int, request_id: str) -> None:
    """Put a request id on a fileset, as any client can."""
    annotation = omero.model.MapAnnotationI()
    annotation.ns = omero.rtypes.rstring(NAMESPACE)
    annotation.mapValue = named_values([("request_id", request_id)])
    link = omero.model.FilesetAnnotationLinkI()
    link.parent = omero.model.FilesetI(fileset_id, False)  # noqa: FBT003  Ice knows no keywords
    link.child = annotation
    connection.update.saveObject(link)


class TestOutage:
    """OMERO goes down and comes back; these run last."""

    def test_blitz_is_killed_and_the_gateway_logs_in_again(self, gateway: Gateway, share: Path, tif: Path) -> None:
        """Given an import that is under way, its attempt ends without blame and the next one finds what it left."""
        spec = spec_of(share, [tif])
        session = gateway.sudo("alice", "screening")
        upload_all(session.register(spec), [tif])
        part = OmeroPart(Layout.for_name("t-omero"))
        part.server.kill_blitz()
        with pytest.raises(Transient) as caught:
            session.register(spec_of(share, [tif]))
        assert caught.value.reason in {Reason.OMERO_UNAVAILABLE, Reason.SESSION_LOST}
        assert not caught.value.rule.costs_attempt
        session.close()
        eventually(lambda: answers(gateway), 120)
        state = state_of(gateway, spec)
        assert (classify(state), state.session_closed) == (State.UPLOAD_UNFINISHED, True)
        with gateway.sudo("alice", "screening") as again:
            again.delete_fileset(state.id)
            run(again, spec, [tif])
        assert classify(state_of(gateway, spec)) is State.COMPLETE

    def test_the_database_is_down_for_a_moment(self, gateway: Gateway) -> None:
        """OMERO answers, but cannot do anything: not the request's fault."""
        part = OmeroPart(Layout.for_name("t-omero"))
        part.database.stop()
        try:
            with pytest.raises(Transient) as caught:
                gateway.check()
        finally:
            part.database.start()
        assert not caught.value.rule.costs_attempt
        eventually(lambda: answers(gateway), 120)


def answers(gateway: Gateway) -> bool:
    """Whether OMERO is healthy."""
    try:
        gateway.check()
    except Transient:
        return False
    return True

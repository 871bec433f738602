"""Imports into a real OMERO: what arrives, how it is named, and what the fleet writes on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from fleet_common.errors import Permanent, Reason
from fleet_common.events import Phase
from fleet_common.messages import ChecksumAlgorithm, Skip
from fleet_common.targets import parse_target
from fleet_stack.description import OmeroDescription
from fleet_stack.plates import MadePlate, PlateSpec, make_plate
from fleet_stack.plates import tiff as write_tiff
from fleet_worker.omero.annotate import METRICS_NAMESPACE
from fleet_worker.omero.facts import ImageFacts, ServerStep
from fleet_worker.omero.filesets import NAMESPACE
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.marks import Marks, read_marks
from fleet_worker.omero.queries import rows
from fleet_worker.omero.session import OwnerSession
from fleet_worker.omero.state import State, classify
from omero_imports import HARMONY_READER, nobody, run, spec_of, state_of, upload_all

pytestmark = pytest.mark.timeout(900)

BIG_ENDIAN = {"uint8": ">u1", "uint16": ">u2"}


@pytest.fixture
def tif(share: Path) -> Path:
    """One image of 64 x 64 pixels."""
    return write_tiff(share / "one.tif", seed=7)


@pytest.fixture
def plate(share: Path) -> MadePlate:
    """Four wells, two fields, two channels."""
    return make_plate(share, PlateSpec(name="p1", wells=4, fields=2, channels=2, size=32))


def plane(session: OwnerSession, image: ImageFacts, c: int = 0) -> NDArray[Any]:
    """A plane as OMERO gives it."""
    (read,) = session.read_planes(image, [(0, c, 0)])
    return np.frombuffer(read.data, BIG_ENDIAN[read.pixel_type]).reshape(read.size_y, read.size_x)


def test_the_server_says_when_it_did_what(alice: OwnerSession, share: Path, tif: Path) -> None:
    """From what it wrote, in the order of its steps, on its own clock; nothing of a fileset that is not there."""
    fileset_id = run(alice, spec_of(share, [tif]), [tif]).fileset_id
    seen = read_marks(alice._connection, fileset_id)
    moments = (seen.uploaded, seen.first_image, seen.first_settings, seen.first_thumbnail)
    assert all(isinstance(moment, float) for moment in moments), moments
    assert list(moments) == sorted(moments)  # type: ignore[type-var]  # none is None, as was just said
    assert abs(moments[-1] - time.time()) < 3600  # type: ignore[operator]  # as above
    assert read_marks(alice._connection, 10**9) == Marks(None, None, None, None)


@pytest.mark.parametrize(("user", "group"), [("alice", "screening"), ("carol", "private-lab")])
def test_one_tiff(gateway: Gateway, share: Path, tif: Path, user: str, group: str) -> None:
    """Given a file, when it is imported into a dataset, then OMERO holds it there, for its owner, pixel for pixel."""
    with gateway.sudo(user, group) as session:
        target = session.resolve_target(parse_target("Dataset:name:tiffs"), creates=True, made_for="a test")
        spec = spec_of(share, [tif], target=target)
        outcome = run(session, spec, [tif])
        facts = session.verify(outcome.fileset_id)
        image = facts.images[0]
        assert (outcome.pixels, outcome.plate_ids, outcome.image_ids) == (1, (), (image.id,))
        assert [(file.path, file.size_bytes) for file in facts.files] == [("one.tif", tif.stat().st_size)]
        assert (image.size_x, image.size_y, image.planes, image.name) == (64, 64, 1, "one.tif")
        assert facts.dataset_images == {target.id: 1}
        np.testing.assert_array_equal(plane(session, image), tifffile.imread(tif))
    state = state_of(gateway, spec)
    assert (state.owner, state.group) == (user, group)
    assert classify(state) is State.COMPLETE
    assert state.session_closed


def test_a_plate(alice: OwnerSession, gateway: Gateway, share: Path, plate: MadePlate) -> None:
    """Wells, fields, channels and planes arrive as written, in the one screen; files and hashes are the manifest's."""
    screen = alice.resolve_target(parse_target("Screen:name:plates"), creates=True, made_for="a test")
    spec = spec_of(share, plate.files, target=screen, reader_class=HARMONY_READER)
    steps: list[ServerStep] = []
    outcome = run(alice, spec, plate.files, steps)
    facts = alice.verify(outcome.fileset_id)
    (held,) = facts.plates
    assert outcome.plate_ids == (held.id,)
    assert held.screen_ids == (screen.id,)
    assert (held.rows, held.columns) == (plate.rows, plate.columns)
    assert [(well.row, well.column) for well in held.wells] == sorted(plate.wells)
    assert [f"{share.name}/{file.path}" for file in facts.files] == sorted(file.client_path for file in spec.files)
    assert all(file.hash_hex for file in facts.files)
    images = {image.id: image for image in facts.images}
    for key, file in plate.tiffs.items():
        well = next(one for one in held.wells if (one.row, one.column) == (key.row, key.column))
        np.testing.assert_array_equal(
            plane(alice, images[well.image_ids[key.field]], key.c), tifffile.imread(file), str(file)
        )
    assert [step.done for step in steps] == [1, 2, 3, 4, 5]
    assert set(outcome.seconds) == {Phase.SET_ID, Phase.METADATA, Phase.PIXELDATA, Phase.RDEFS, Phase.THUMBNAILS}
    assert sum(outcome.seconds.values()) <= steps[-1].seconds + 1
    assert gateway.running_imports() == 0


class TestNames:
    """Nothing is named unless asked for, so that names are those of OMERO's own importer."""

    def test_a_plate_has_its_own_name_and_images_that_of_the_entry_file(
        self, alice: OwnerSession, share: Path, plate: MadePlate
    ) -> None:
        """The plate's from its metadata, the images' from file and well, as ``omero import`` leaves them."""
        spec = spec_of(share, plate.files, reader_class=HARMONY_READER)
        facts = alice.verify(run(alice, spec, plate.files).fileset_id)
        assert facts.plates[0].name == "p1"
        assert facts.images[0].name == "Index.idx.xml [Well 1, Field 1]"

    def test_a_given_name_and_description_are_taken(self, alice: OwnerSession, share: Path, plate: MadePlate) -> None:
        """As with ``omero import --name --description``."""
        spec = spec_of(share, plate.files, reader_class=HARMONY_READER, name="Größe 5", description="why")
        facts = alice.verify(run(alice, spec, plate.files).fileset_id)
        assert facts.plates[0].name == "Größe 5"
        assert facts.images[0].name == "Größe 5 [Well 1, Field 1]"
        hql = "select p.id, p.description from Plate p where p.id = :id"
        assert rows(alice._connection, "a test", hql, {"id": facts.plates[0].id})[0][1] == "why"

    def test_an_umlaut_in_a_file_name_survives(self, alice: OwnerSession, share: Path) -> None:
        """In the client path, in the managed repository, and in the image's name."""
        file = write_tiff(share / "Zählung µ.tif")
        facts = alice.verify(run(alice, spec_of(share, [file]), [file]).fileset_id)
        assert (facts.files[0].path, facts.images[0].name) == (file.name, file.name)


class TestFolders:
    """OMERO keeps some of the folders above a file; what it keeps must be found again in the share."""

    @pytest.mark.parametrize("depth", [0, 1, 2, 3, 6])
    def test_a_file_at_any_depth(self, alice: OwnerSession, share: Path, depth: int) -> None:
        """The path that is read back is the end of the path in the share, and never holds the share's name."""
        folder = share.joinpath(*(f"f{number}" for number in range(depth)))
        folder.mkdir(parents=True, exist_ok=True)
        file = write_tiff(folder / "deep.tif")
        facts = alice.verify(run(alice, spec_of(share, [file]), [file]).fileset_id)
        within = file.relative_to(share).as_posix()
        assert f"/{within}".endswith("/" + facts.files[0].path)
        assert not facts.files[0].path.startswith(share.name)


class TestOptions:
    """What the official importer can leave out."""

    @pytest.mark.parametrize("algorithm", ChecksumAlgorithm)
    def test_every_checksum_algorithm(
        self, alice: OwnerSession, share: Path, tif: Path, algorithm: ChecksumAlgorithm
    ) -> None:
        """The server computes the same hash as the worker, or the upload would be refused."""
        registered = alice.register(spec_of(share, [tif], algorithm=algorithm))
        hashes = upload_all(registered, [tif])
        registered.close()
        facts = alice.verify(registered.fileset_id)
        assert [file.hash_hex for file in facts.files] == hashes
        alice.delete_fileset(registered.fileset_id)

    @pytest.mark.parametrize("skip", [(Skip.CHECKSUM,), (Skip.THUMBNAILS,), (Skip.MINMAX,), tuple(Skip)])
    def test_what_is_left_out_does_not_make_an_import_look_broken(
        self, gateway: Gateway, share: Path, tif: Path, skip: tuple[Skip, ...]
    ) -> None:
        """The key annotation remembers it for every later attempt."""
        spec = spec_of(share, [tif], skip=skip)
        with gateway.sudo("alice", "screening") as session:
            run(session, spec, [tif])
        state = state_of(gateway, spec)
        assert classify(state) is State.COMPLETE
        assert state.thumbnails == (0 if Skip.THUMBNAILS in skip else 1)
        assert state.pending_pixels == (1 if Skip.MINMAX in skip else 0)


class TestAnnotations:
    """What the fleet writes on a fileset."""

    PHASES: ClassVar = {
        Phase.UPLOAD: 1.25,
        Phase.SET_ID: 0.5,
        Phase.METADATA: 2.0,
        Phase.PIXELDATA: 3.0,
        Phase.RDEFS: 0.25,
    }

    def test_provenance_is_added_to_the_key_and_can_be_written_again(
        self, alice: OwnerSession, gateway: Gateway, share: Path, tif: Path
    ) -> None:
        """One annotation of each kind per fileset, however often it is done."""
        spec = spec_of(share, [tif])
        fileset_id = run(alice, spec, [tif]).fileset_id
        before = state_of(gateway, spec).annotation
        for result in ("verified", "verified", "verified again"):
            alice.annotate(fileset_id, {"result": result}, self.PHASES)
        after = state_of(gateway, spec).annotation
        assert after == {**before, "result": "verified again"}
        assert next(iter(after)) == "request_id"
        hql = "select l.id, l.child.ns from FilesetAnnotationLink l where l.parent.id = :id order by l.child.ns"
        found = [row[1] for row in rows(alice._connection, "a test", hql, {"id": fileset_id})]
        assert found == [NAMESPACE, METRICS_NAMESPACE]

    def test_omero_reads_our_times(
        self, alice: OwnerSession, omero_server: OmeroDescription, share: Path, plate: MadePlate, tmp_path: Path
    ) -> None:
        """``omero fs importtime`` prints them, and ``--summary`` lists the fileset."""
        spec = spec_of(share, plate.files, reader_class=HARMONY_READER)
        fileset_id = run(alice, spec, plate.files).fileset_id
        alice.annotate(fileset_id, {}, self.PHASES)
        report = " ".join(importtime(omero_server, tmp_path, f"Fileset:{fileset_id}").split())
        assert f"upload time of 1.25s for {len(plate.files)} files" in report
        assert "setId time of 0.50s metadata time of 2.00s pixels time of 3.00s for 16 planes" in report
        assert "rdefs time of 0.25s for 8 rendering settings" in report
        summary = importtime(omero_server, tmp_path, "--summary").splitlines()
        assert any({"1250", "500", "2000", "3000", "250"} <= set(line.split(",")) for line in summary), summary

    def test_no_times_are_written_where_the_report_would_fail_on_them(
        self, alice: OwnerSession, share: Path, tif: Path
    ) -> None:
        """An import that another attempt ran has no times of its own."""
        fileset_id = run(alice, spec_of(share, [tif]), [tif]).fileset_id
        alice.annotate(fileset_id, {"result": "verified"}, {Phase.UPLOAD: 1.0})
        hql = "select l.id from FilesetAnnotationLink l where l.parent.id = :id and l.child.ns = :ns"
        assert rows(alice._connection, "a test", hql, {"id": fileset_id, "ns": METRICS_NAMESPACE}) == []


def importtime(server: OmeroDescription, home: Path, what: str) -> str:
    """What ``omero fs importtime`` says; the command itself refuses to run as root, its library does not."""
    program = "import sys, omero.cli; sys.argv[0] = 'omero'; sys.exit(omero.cli.argv())"
    login = ["-q", "-s", server.host, "-p", str(server.ssl_port), "-u", "alice"]
    password = server.users["alice"].read_text().strip()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *login, "fs", "importtime", what],
        env=os.environ | {"OMERO_PASSWORD": password, "OMERO_USERDIR": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestTargets:
    """What OMERO does with targets that do not fit, which is why the fleet asks before it sends anything."""

    def test_a_container_of_another_is_refused_by_the_server_too(
        self, gateway: Gateway, alice: OwnerSession, share: Path, tif: Path
    ) -> None:
        """After the upload, and without a trace of an image."""
        with gateway.sudo("bob", "screening") as bob:
            his = bob.resolve_target(parse_target("Dataset:@name:his"), creates=True, made_for="a test")
        spec = spec_of(share, [tif], target=his)
        with pytest.raises(Permanent) as caught:
            run(alice, spec, [tif])
        assert caught.value.reason is Reason.TARGET_NOT_LINKABLE
        assert state_of(gateway, spec).images == 0

    def test_a_dataset_that_was_deleted_meanwhile(self, alice: OwnerSession, share: Path, tif: Path) -> None:
        """Between its resolution and the import."""
        target = alice.resolve_target(parse_target("Dataset:@name:short-lived"), creates=True, made_for="a test")
        with pytest.raises(Permanent) as caught:
            run(alice, spec_of(share, [tif], target=replace(target, id=999_999_999)), [tif])
        assert caught.value.reason is Reason.TARGET_NOT_FOUND

    def test_omero_says_yes_to_an_image_for_a_screen_and_links_nothing(
        self, alice: OwnerSession, share: Path, tif: Path
    ) -> None:
        """So verification must look for the link, and callers refuse it before the upload."""
        screen = alice.resolve_target(parse_target("Screen:name:no place for images"), creates=True, made_for="a test")
        facts = alice.verify(run(alice, spec_of(share, [tif], target=screen), [tif]).fileset_id)
        assert (len(facts.images), facts.plates, facts.dataset_images) == (1, (), {})


def test_two_files_of_one_spelling_are_refused_before_the_server_sees_them(
    alice: OwnerSession, gateway: Gateway, share: Path
) -> None:
    """OMERO answers with "could not insert", which would look like a race and be tried again."""
    files = [write_tiff(share / name) for name in ("a.tif", "A.TIF")]
    spec = spec_of(share, files)
    with pytest.raises(Permanent) as caught:
        alice.register(spec)
    assert caught.value.reason is Reason.NAME_REFUSED
    assert gateway.find_filesets(spec.request_id) == ()


def test_omero_renames_what_windows_forbids(alice: OwnerSession, share: Path) -> None:
    """Which is why the fleet refuses such names: what is read back would not be what was sent."""
    file = write_tiff(share / "a:b.tif")
    registered = alice.register(spec_of(share, [file]))
    assert alice.verify(registered.fileset_id).files[0].path == "a;b.tif"


def test_progress_is_told_in_bytes_and_steps(alice: OwnerSession, share: Path, tif: Path) -> None:
    """Bytes add up to the file's size."""
    told: list[int] = []
    registered = alice.register(spec_of(share, [tif]))
    with tif.open("rb") as stream:
        sent = registered.upload(0, stream, on_bytes=told.append, stop=lambda: None)
    assert (sum(told), sent.size_bytes, sent.sends) == (tif.stat().st_size, tif.stat().st_size, 1)
    running = registered.start([sent.hash_hex])
    assert not running.finished
    running.wait(deadline_seconds=60, on_step=nobody, stop=lambda: None)
    assert running.finished
    running.close()

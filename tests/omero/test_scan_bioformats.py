"""The scan's child with the real Bio-Formats: what it says of files, and that hostile ones cost only themselves."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fleet_common.plates import Sizes
from fleet_stack.layout import cache_root
from fleet_stack.omero import bioformats as oracle
from fleet_stack.omero import jars
from fleet_stack.plates import PlateSpec, make_plate
from fleet_worker.scan import Limits, Refusal, Refused, Scanned, Scanner, bioformats
from support.ics import ics_pair

pytestmark = pytest.mark.timeout(600)  # the first time, the jar is fetched
FILTERED = "2"
"""How ``/proc/<pid>/status`` calls a process whose system calls are filtered."""
DATA = Path(os.environ.get("FLEET_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


@pytest.fixture(scope="module")
def scanner() -> Iterator[Scanner]:
    """The real one; all tests share its child, as the threads of a worker do."""
    made = Scanner(bioformats(jars.bioformats(cache_root()), Limits(memory_mb=256)))
    yield made
    made.close()


def go_on() -> None:
    """Nothing stops the attempt."""


def process_of(scanner: Scanner) -> int:
    """The child's process id."""
    assert scanner._child is not None
    return scanner._child.pid


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A TIFF of three pages, with an umlaut and a blank in its name."""
    path = tmp_path / "Grüße aus Dundee.tif"
    tifffile.imwrite(path, np.zeros((3, 20, 30), np.uint16), photometric="minisblack")
    return path


def test_a_single_file_uses_itself(scanner: Scanner, image: Path) -> None:
    said = scanner.ask(str(image), go_on)
    assert said == Scanned(
        "loci.formats.in.TiffDelegateReader", (str(image),), (Sizes(30, 20, 1, 1, 3),), is_plate=False
    )
    assert scanner.version.startswith("6.7.0")


def test_the_entry_of_a_set_names_all_its_files(scanner: Scanner, tmp_path: Path) -> None:
    """The index of a plate, with all that Bio-Formats takes along for it, in its order."""
    made = make_plate(tmp_path, PlateSpec(name="p1", wells=2, fields=1, channels=2, size=16))
    said = scanner.ask(str(made.entry), go_on)
    assert isinstance(said, Scanned)
    expected = oracle.used_files(made.entry)
    assert (said.reader, said.is_plate) == (expected.reader_class, True)
    assert list(said.files) == [str(path) for path in expected.files]
    assert len(said.sizes) == expected.series_count == 2


def test_either_file_of_a_pair_names_both(scanner: Scanner, tmp_path: Path) -> None:
    """Whichever is asked about first: the group is the same."""
    header, pixels = ics_pair(tmp_path, "pair")
    for file in (header, pixels):
        said = scanner.ask(str(file), go_on)
        assert isinstance(said, Scanned)
        assert sorted(said.files) == [str(header), str(pixels)]
        assert said.sizes == (Sizes(16, 16, 1, 1, 1),)


def test_a_file_that_is_no_image_is_unknown_and_one_that_is_not_there_fails(scanner: Scanner, tmp_path: Path) -> None:
    (tmp_path / "note.dat").write_text("no image")
    assert scanner.ask(str(tmp_path / "note.dat"), go_on) == Refused(Refusal.UNKNOWN)
    gone = scanner.ask(str(tmp_path / "gone.tif"), go_on)
    assert isinstance(gone, Refused)
    assert gone.why in {Refusal.FAILED, Refusal.UNKNOWN}


def test_a_container_of_many_images_is_one_group(scanner: Scanner) -> None:
    """A real Leica file."""
    found = sorted(DATA.glob("leica-lif/**/*.lif"))
    if not found:
        pytest.skip(f"{DATA / 'leica-lif'} is not there; FLEET_TEST_DATA names another folder")
    said = scanner.ask(str(found[0].resolve()), go_on)
    assert isinstance(said, Scanned)
    assert said.reader == "loci.formats.in.LIFReader"
    assert said.files == (str(found[0].resolve()),)
    assert len(said.sizes) == oracle.used_files(found[0].resolve()).series_count


def test_a_child_that_is_killed_is_replaced(scanner: Scanner, image: Path) -> None:
    """Given a child that somebody kills, then one question is lost, and the next is answered by a new child."""
    scanner.ask(str(image), go_on)
    before = process_of(scanner)
    os.kill(before, signal.SIGKILL)
    assert scanner.ask(str(image), go_on) == Refused(Refusal.DIED, "it was killed by signal 9")
    assert isinstance(scanner.ask(str(image), go_on), Scanned)
    assert process_of(scanner) != before


def test_a_file_that_wants_more_memory_than_there_is_costs_only_itself(
    scanner: Scanner, image: Path, tmp_path: Path
) -> None:
    """Given a TIFF that claims a text of 2 GB, then its reader fails or the child ends, and the next file is read."""
    claim = struct.pack("<HHII", 270, 2, 0x7FFFFFF0, 8)
    (tmp_path / "bomb.tif").write_bytes(struct.pack("<2sHIH", b"II", 42, 8, 1) + claim + bytes(4))
    said = scanner.ask(str(tmp_path / "bomb.tif"), go_on)
    assert isinstance(said, Refused)
    assert isinstance(scanner.ask(str(image), go_on), Scanned)


def test_the_child_has_no_secret_and_a_folder_of_its_own(scanner: Scanner, image: Path) -> None:
    """As the kernel shows it."""
    scanner.ask(str(image), go_on)
    told = Path(f"/proc/{process_of(scanner)}/environ").read_bytes().split(b"\0")
    assert {line.partition(b"=")[0] for line in told if line} <= {b"PATH", b"LC_ALL", b"HOME", b"TMPDIR"}
    folder = Path(f"/proc/{process_of(scanner)}/cwd").readlink()
    assert folder.name.startswith("omero-fleet-scan-")


def test_the_child_has_no_network(scanner: Scanner, image: Path) -> None:
    """As the kernel shows it: its system calls are filtered, and nothing that it starts may have more."""
    scanner.ask(str(image), go_on)
    told = dict(line.split(":\t") for line in Path(f"/proc/{process_of(scanner)}/status").read_text().splitlines())
    assert (told["Seccomp"], told["NoNewPrivs"]) == (FILTERED, "1")


def test_closing_leaves_nothing(image: Path) -> None:
    """Neither a process nor its folder."""
    made = Scanner(bioformats(jars.bioformats(cache_root()), Limits()))
    made.ask(str(image), go_on)
    process, folder = process_of(made), Path(f"/proc/{process_of(made)}/cwd").readlink()
    made.close()
    assert not Path(f"/proc/{process}").exists()
    assert not folder.exists()

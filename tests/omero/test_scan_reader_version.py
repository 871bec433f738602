"""The Bio-Formats of a real server, as its filesets tell it, and a plate that it is too old for."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_common.errors import Permanent, Reason
from fleet_common.plates import Plate
from fleet_stack.omero import wheels
from fleet_stack.plates import tiff
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.session import OwnerSession
from fleet_worker.readercheck import check_reader
from omero_imports import spec_of, state_of

pytestmark = pytest.mark.timeout(900)
NEWER = Plate("yokogawa", "P1.wpi", "reader", ("P1.wpi",), needs_bioformats=(7, 3, 1))


def pinned() -> tuple[int, ...]:
    """The version of the jar that the stack gives its server, without the packager's own suffix."""
    return tuple(int(part) for part in wheels.pinned()[wheels.BIOFORMATS].split(".")[:3])


def test_the_version_is_known_as_soon_as_a_fileset_is_registered(
    gateway: Gateway, alice: OwnerSession, share: Path
) -> None:
    """Given a registered fileset, then it and the newest fileset tell the version of the server's own jar."""
    registered = alice.register(spec_of(share, [tiff(share / "one.tif")]))
    try:
        assert alice.bioformats_version(registered.fileset_id) == pinned()
        assert gateway.bioformats_version() == pinned()
    finally:
        registered.close()
        alice.delete_fileset(registered.fileset_id)


def test_a_plate_that_needs_a_newer_one_is_refused_and_leaves_nothing(
    gateway: Gateway, alice: OwnerSession, share: Path
) -> None:
    """Given what the server told, then a plate for 7.3.1 is refused; the fileset that told it can be deleted."""
    spec = spec_of(share, [tiff(share / "one.tif")])
    registered = alice.register(spec)
    with pytest.raises(Permanent, match=r"needs Bio-Formats 7\.3\.1, the server has 6\.7\.0") as caught:
        check_reader(NEWER, lambda: alice.bioformats_version(registered.fileset_id))
    assert caught.value.reason is Reason.SERVER_READER_TOO_OLD
    state_of(gateway, spec)
    registered.close()
    alice.delete_fileset(registered.fileset_id)
    assert gateway.find_filesets(spec.request_id) == ()


def test_a_fileset_that_is_not_there_tells_nothing(alice: OwnerSession) -> None:
    """Which refuses nothing."""
    assert alice.bioformats_version(999_999_999) == ()

"""Whether a real OMERO can take an import: its disk, its settings, and a server that is read-only."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_common.errors import Reason, RequestError, Transient
from fleet_stack.description import OmeroDescription
from fleet_stack.layout import Layout
from fleet_stack.omero.part import OmeroPart
from fleet_stack.plates import tiff as write_tiff
from fleet_worker.omero.address import OmeroAddress
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.session import OwnerSession
from omero_imports import eventually, import_folder, run, spec_of, upload_all

pytestmark = pytest.mark.timeout(900)

STACK = "t-omero"
READ_ONLY = {"omero.cluster.read_only.db": "true", "omero.cluster.read_only.repo": "true"}


@pytest.fixture
def tif(share: Path) -> Path:
    """One image."""
    return write_tiff(share / "one.tif", seed=3)


class TestSpace:
    """Nothing is taken while OMERO's disk is full."""

    def test_too_little_space_closes_the_gate(self, address: OmeroAddress) -> None:
        """Given a disk that has less than is wanted, the text says how much there is and where to change it."""
        gateway = Gateway(address, clock=time.monotonic, min_free_bytes=10**18)
        gateway.open()
        with pytest.raises(Transient) as caught:
            gateway.check()
        gateway.close()
        assert caught.value.reason is Reason.OMERO_FULL
        assert "1,000,000,000,000,000,000 are needed (omero.min_free_bytes)" in str(caught.value)
        assert not caught.value.rule.costs_attempt

    def test_enough_space_lets_requests_through(self, address: OmeroAddress) -> None:
        """One byte is left for certain."""
        gateway = Gateway(address, clock=time.monotonic, min_free_bytes=1)
        gateway.check()
        gateway.close()

    def test_a_disk_that_is_full_is_not_the_requests_fault(
        self, alice: OwnerSession, omero_server: OmeroDescription, share: Path, tif: Path
    ) -> None:
        """Given a disk of 64 kB under the folder of the day, an upload of 1 MB ends as a full OMERO."""
        folder = import_folder(alice, omero_server, run(alice, spec_of(share, [tif]), [tif]).fileset_id)
        big = share / "big.bin"
        big.write_bytes(bytes(1_000_000))
        with small_disk(folder.parent), pytest.raises(Transient) as caught:
            upload_all(alice.register(spec_of(share, [big])), [big])
        assert caught.value.reason is Reason.OMERO_FULL
        assert not caught.value.rule.costs_attempt


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Hide a folder behind a file system of 64 kB; skips where this user may not mount."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class TestLimits:
    """What a restricted administrator may read."""

    def test_threads_are_told_and_the_pool_is_not(self, gateway: Gateway) -> None:
        """A default server; the size of its pool is for full administrators."""
        limits = gateway.limits()
        assert (limits.min_threads, limits.background_threads, limits.pool_size) == (5, 10, None)
        assert (limits.session_idle_seconds, limits.cancel_seconds) == (600.0, 5.0)

    def test_the_servers_clock_is_told(self, gateway: Gateway) -> None:
        """Server and test share one machine."""
        assert abs(gateway.clock_difference_seconds(time.time)) < 2.0


def test_a_read_only_server_is_found_by_the_same_gateway(gateway: Gateway, share: Path, tif: Path) -> None:
    """Given a restart without the right to write, then requests wait; after another restart they go on."""
    spec = spec_of(share, [tif])
    gateway.check()
    restart(READ_ONLY)
    try:
        # The first answer after a restart may be that OMERO is not ready yet.
        eventually(lambda: problem(gateway) is Reason.OMERO_READ_ONLY)
        with pytest.raises(Transient) as caught:
            gateway.check()
        with gateway.sudo("alice", "screening") as alice, pytest.raises(Transient) as refused:
            alice.register(spec)
    finally:
        restart({})
    assert [caught.value.reason, refused.value.reason] == [Reason.OMERO_READ_ONLY] * 2
    assert "database and repository" in str(caught.value)
    assert not caught.value.rule.costs_attempt
    eventually(lambda: healthy(gateway))


def problem(gateway: Gateway) -> Reason | None:
    """Why OMERO cannot take an import; None where it can."""
    try:
        gateway.check()
    except RequestError as error:
        return error.reason
    return None


def restart(settings: dict[str, str]) -> None:
    """Stop OMERO and start it with other settings; its database stays up."""
    part = OmeroPart(Layout.for_name(STACK), settings)
    part.server.stop()
    part.server.start()


def healthy(gateway: Gateway) -> bool:
    """Whether an import may begin."""
    try:
        gateway.check()
    except Transient:
        return False
    return True

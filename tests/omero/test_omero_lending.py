"""Sessions of owners that are lent again, on a real OMERO."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_stack.plates import tiff as write_tiff
from fleet_worker.omero.account import close_session
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.lending import IDLE_SECONDS, TRUST_SECONDS, Lender
from fleet_worker.omero.state import State, classify
from omero_imports import open_sessions, run, spec_of, state_of

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def seconds() -> list[float]:
    """A clock that a test turns."""
    return [0.0]


@pytest.fixture
def lender(gateway: Gateway, seconds: list[float]) -> Iterator[Lender]:
    """Keeps two sessions."""
    made = Lender(gateway.sudo, most=2, monotonic=lambda: seconds[0])
    yield made
    made.close()


def test_two_imports_one_after_the_other_share_a_session_which_ends_later(
    gateway: Gateway, lender: Lender, share: Path, seconds: list[float]
) -> None:
    """Given a first import, when the second comes, then OMERO sees one session; a minute later it sees none."""
    before = open_sessions(gateway, "alice")
    names = []
    for number in range(2):
        tif = write_tiff(share / f"{number}.tif", seed=number)
        with lender.lend("alice", "screening") as session:
            spec = spec_of(share, [tif])
            run(session, spec, [tif])
            names.append(session.name)
        assert len(open_sessions(gateway, "alice") - before) == 1
        assert classify(state_of(gateway, spec)) is State.COMPLETE
    assert len(set(names)) == 1
    seconds[0] = IDLE_SECONDS
    lender.expire()
    assert open_sessions(gateway, "alice") == before


def test_a_session_that_somebody_ended_is_not_lent_again(
    gateway: Gateway, lender: Lender, share: Path, seconds: list[float]
) -> None:
    """Given an administrator who ended it between two requests, then the second has a new one that works."""
    with lender.lend("alice", "screening") as session:
        first, uuid = session.name, session._connection.session_uuid
    close_session(gateway._connected(), uuid)
    seconds[0] = TRUST_SECONDS
    tif = write_tiff(share / "one.tif")
    with lender.lend("alice", "screening") as session:
        assert session.name != first
        run(session, spec_of(share, [tif]), [tif])

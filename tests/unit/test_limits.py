"""What OMERO bears at once, from what it says of itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.settings import OmeroSettings, WorkerSettings
from fleet_worker.limits import AllowedSlots, FleetSize, allowed, fleet_size, pool_needed, slot_problems
from fleet_worker.omero.serverfacts import ServerLimits

DEFAULT = ServerLimits(min_threads=5, background_threads=10, pool_size=10)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (DEFAULT, AllowedSlots(4, 1)),
        (ServerLimits(20, 40, 60), AllowedSlots(19, 11)),
        (ServerLimits(20, 40, 10), AllowedSlots(4, 1)),
        (ServerLimits(20, 8, 60), AllowedSlots(7, 23)),
        (ServerLimits(5, 10), AllowedSlots(4, None)),
        (ServerLimits(pool_size=10), AllowedSlots(4, 1)),
        (ServerLimits(min_threads=1, background_threads=10, pool_size=10), AllowedSlots(0, 5)),
        (ServerLimits(5, 10, 1), AllowedSlots(0, 0)),
        (ServerLimits(), AllowedSlots(None, None)),
    ],
)
def test_what_a_server_bears(limits: ServerLimits, expected: AllowedSlots) -> None:
    """One thread stays free, and the pool holds two connections for each of both."""
    assert allowed(limits) == expected


def test_the_defaults_of_both_sides_fit() -> None:
    """Whoever changes nothing is safe."""
    assert slot_problems(DEFAULT, OmeroSettings()) == ()
    assert pool_needed(OmeroSettings()) == 10


def test_more_imports_than_threads_are_refused_with_both_ways_out() -> None:
    """One less than there are threads, or more threads."""
    (problem,) = slot_problems(ServerLimits(5, 10, 60), OmeroSettings(import_slots=5))
    assert "import_slots is 5, and OMERO bears 4" in problem
    assert "Set import_slots to 4" in problem
    assert "background_threads to 6" in problem


def test_more_than_the_pool_bears_is_refused() -> None:
    """Two connections for each import and each call."""
    (problem,) = slot_problems(DEFAULT, OmeroSettings(import_slots=4, create_slots=2))
    assert "need 12 connections" in problem
    assert "its pool has 10" in problem


def test_both_problems_are_told() -> None:
    """The operator changes all at once."""
    assert len(slot_problems(DEFAULT, OmeroSettings(import_slots=8))) == 2


def test_what_the_server_does_not_tell_is_not_judged() -> None:
    """A restricted administrator may not read the size of the pool."""
    assert slot_problems(ServerLimits(), OmeroSettings(import_slots=32, create_slots=8)) == ()
    assert slot_problems(ServerLimits(5, 10), OmeroSettings(create_slots=8)) == ()


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 200))
def test_what_is_allowed_has_no_problem(min_threads: int, background_threads: int, pool_size: int) -> None:
    """The advice is within the rule, and one import more is not."""
    limits = ServerLimits(min_threads, background_threads, pool_size)
    most = allowed(limits)
    assert most.import_slots is not None
    assert most.create_slots is not None
    if 1 <= most.import_slots <= 31 and most.create_slots >= 1:
        create_slots = min(most.create_slots, 8)
        assert not slot_problems(limits, OmeroSettings(import_slots=most.import_slots, create_slots=create_slots))
        assert (
            slot_problems(limits, OmeroSettings(import_slots=most.import_slots + 1, create_slots=create_slots))
            or create_slots < most.create_slots
        )


@pytest.mark.parametrize(
    ("import_slots", "parallel_filesets", "expected"),
    [
        (4, 2, FleetSize(workers=3, most_workers=4, most_uploading=8)),
        (4, 3, FleetSize(workers=2, most_workers=3, most_uploading=8)),
        (1, 2, FleetSize(workers=1, most_workers=1, most_uploading=8)),
        (16, 2, FleetSize(workers=12, most_workers=16, most_uploading=8)),
    ],
)
def test_workers_are_a_little_more_than_the_slots_need(
    import_slots: int, parallel_filesets: int, expected: FleetSize
) -> None:
    """So that the next plate is uploaded while the last one is processed."""
    omero = OmeroSettings(import_slots=import_slots, upload_slots=32)
    assert fleet_size(omero, WorkerSettings(parallel_filesets=parallel_filesets, parallel_upload=4)) == expected


def test_a_worker_that_sends_more_files_than_there_are_slots_is_one_worker_all_the_same() -> None:
    assert fleet_size(OmeroSettings(upload_slots=4), WorkerSettings(parallel_upload=32)).most_uploading == 1

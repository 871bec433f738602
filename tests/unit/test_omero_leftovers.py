"""What counts as left over by a dead attempt, and which folders are looked at; the rest needs a real server."""

from __future__ import annotations

import pytest

from fleet_worker.omero.leftovers import ends_with_time, is_unfinished, outermost
from fleet_worker.omero.serverfacts import LostFolder
from fleet_worker.omero.state import FilesetState

STATE = FilesetState(id=1, owner_id=2, owner="alice", group_id=3, group="screening")
COMPLETE = {"images": 2, "distinct_series": 2, "thumbnails": 2, "job_status": "Finished"}


def state(**changes: object) -> FilesetState:
    """A fileset with some facts changed."""
    names = FilesetState.__slots__
    return FilesetState(**({name: getattr(STATE, name) for name in names} | changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"files": 3, "hashes": 3}, True),
        ({"session_closed": False}, False),
        ({"job_status": "Finished"}, True),
        ({"job_status": "Finished", "session_closed": False}, False),
        (COMPLETE | {"distinct_series": 1}, True),
        (COMPLETE | {"pending_pixels": 1}, True),
        (COMPLETE | {"distinct_series": 1, "session_closed": False}, False),
        (COMPLETE, False),
        (COMPLETE | {"thumbnails": 0}, False),
    ],
    ids=[
        "registered",
        "uploaded",
        "somebody may be sending",
        "accepted without images",
        "accepted a moment ago",
        "metadata half written",
        "pixels half read",
        "being imported",
        "complete",
        "complete without thumbnails",
    ],
)
def test_what_nobody_will_finish(changes: dict[str, object], expected: bool) -> None:  # noqa: FBT001  a row's answer
    """Only what is not complete, and whose session has ended."""
    assert is_unfinished(state(**changes)) is expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("%user%_%userId%//%year%-%month%/%day%/%time%", True),
        ("%group%/%user%//%time%/", True),
        ("%user%//%year%/%day%", False),
        ("%user%//%time%/%increment%", False),
        ("%user%//import-%time%", False),
        ("", False),
    ],
)
def test_folders_are_known_by_the_time_of_day_only(template: str, expected: bool) -> None:  # noqa: FBT001  as above
    """Where a facility names them otherwise, a date's folder could look like an import's."""
    assert ends_with_time(template) is expected


def folder(number: int, path: str) -> LostFolder:
    """A folder of alice."""
    return LostFolder(number, path, 2, "alice", 3, "screening", 0.0)


def test_a_folder_inside_a_lost_one_goes_with_it() -> None:
    """Given an import of a folder that has itself the name of a time of day, only the import's is named."""
    outer, other = folder(7, "alice_2/2026-11/25/10-00-00.000/"), folder(5, "bob_3/2026-11/25/10-00-00.000/")
    inner = folder(6, "alice_2/2026-11/25/10-00-00.000/10-00-00.001/")
    assert outermost([inner, outer, other]) == (other, outer)
    assert outermost([]) == ()

"""What OMERO holds for a request, and what the event log must be told of it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from fleet_common.errors import RULES, Reason
from fleet_common.events import Event, Kind, Result, Status, fold
from fleet_common.recall import Finding, Found, Holding, judge
from support.builders import BATCH, NOW, REQUEST_ID, an_event

LATER = NOW + timedelta(hours=1)
RESULT = Result(fileset_id=7, plate_ids=(51,), files=9, bytes=5, images=4, wells=2, planes=8, target="Screen:5")
LATER_SAYS_A_WORKER = "that comes when a worker takes the request again"
DIFFERENCE = "well B2 is missing"


def found(holding: Holding = Holding.VERIFIED, **changes: Any) -> Found:
    """A fileset of alice's that says everything."""
    fields: dict[str, Any] = {
        "fileset_id": 7,
        "owner": "alice",
        "group": "screening",
        "holding": holding,
        "attempt": 2,
        "lane": "phenix1",
        "batch": BATCH,
        "source": "hcs/a.tif",
        "result": RESULT if holding is Holding.VERIFIED else None,
        "difference": DIFFERENCE if holding is Holding.FAILED else "",
    }
    return Found(**(fields | changes))


def told(kind: Kind, **facts: Any) -> Status:
    """What the event log says."""
    return fold([an_event(kind, 1, 1, **({"batch": BATCH, "source": "hcs/a.tif"} | facts))])


def judged(statuses: Sequence[Status], *filesets: Found, lane: str | None = None) -> Finding:
    """The decision."""
    return judge(REQUEST_ID, statuses, filesets, lane=lane, now=LATER)


def event_of(finding: Finding) -> Event:
    """The event that must be there."""
    assert finding.event is not None, finding.text
    return finding.event


LOST = [Kind.ACCEPTED, Kind.STARTED, Kind.PROGRESS, Kind.RETRIED, Kind.HANDED_BACK, Kind.CANCELLED, Kind.WITHDRAWN]
LOST += [Kind.REPLAYED, Kind.DROPPED, Kind.DEAD]


@pytest.mark.parametrize("kind", LOST)
def test_a_verified_fileset_is_told_whatever_the_log_says_but_success(kind: Kind) -> None:
    """Given an outcome that was lost, then OMERO's word is told, complete, and makes the status."""
    status = told(kind)
    finding = judged([status], found())
    event = event_of(finding)
    assert (event.kind, event.result, event.attempt) == (Kind.ALREADY_IMPORTED, RESULT, 2)
    assert (event.lane, event.batch, event.source) == ("phenix1", BATCH, "hcs/a.tif")
    assert fold([an_event(kind, 1, 1), event]).state is Kind.ALREADY_IMPORTED
    assert (
        finding.text == "Fileset:7 of alice in screening is imported and verified: told the event log already-imported"
    )


@pytest.mark.parametrize("kind", [Kind.IMPORTED, Kind.ALREADY_IMPORTED])
@pytest.mark.parametrize("holding", [Holding.VERIFIED, Holding.FAILED])
def test_success_is_never_told_twice_and_never_taken_back(kind: Kind, holding: Holding) -> None:
    """Nothing can undo it."""
    finding = judged([told(kind, result=RESULT)], found(holding))
    assert finding.event is None
    assert finding.text.endswith("as the event log says")


def test_a_failed_verification_is_told_as_dead_with_what_differed() -> None:
    """With the reason and the next action that the worker would have told."""
    event = event_of(judged([told(Kind.STARTED)], found(Holding.FAILED)))
    assert (event.kind, event.reason) == (Kind.DEAD, Reason.VERIFICATION_FAILED)
    assert event.message == f"Fileset:7: {DIFFERENCE} (found in OMERO by status --verify)"
    assert event.next_action == RULES[Reason.VERIFICATION_FAILED].next_action
    assert fold([an_event(Kind.STARTED, 1, 1), event]).state is Kind.DEAD


def test_a_failed_verification_that_is_known_is_not_told_again() -> None:
    """Nor is one that the log knows as dead for another reason kept silent."""
    known = told(Kind.DEAD, reason=Reason.VERIFICATION_FAILED)
    assert judged([known], found(Holding.FAILED)).event is None
    other = told(Kind.DEAD, reason=Reason.CRASH_LOOP)
    assert event_of(judged([other], found(Holding.FAILED))).reason is Reason.VERIFICATION_FAILED


def test_a_request_that_the_log_does_not_know_is_rebuilt_from_omero_alone() -> None:
    """Lane, batch, source and attempt are written beside the fileset."""
    event = event_of(judged([], found()))
    assert (event.request_id, event.lane, event.batch, event.source) == (REQUEST_ID, "phenix1", BATCH, "hcs/a.tif")
    assert (event.attempt, event.at) == (2, LATER)


def test_nothing_in_omero_is_said() -> None:
    """And nothing is told."""
    assert judged([told(Kind.STARTED)]) == Finding(REQUEST_ID, "not in OMERO")


@pytest.mark.parametrize(
    ("holding", "expected"),
    [
        (Holding.IN_WORK, "Fileset:7 of alice in screening is still in work"),
        (Holding.UNFINISHED, "Fileset:7 of alice in screening is not finished: its attempt has ended half way"),
        (Holding.UNVERIFIED, f"Fileset:7 of alice in screening is {Holding.UNVERIFIED}: {LATER_SAYS_A_WORKER}"),
    ],
)
def test_what_no_attempt_has_verified_is_no_outcome(holding: Holding, expected: str) -> None:
    """It is said, and left to the workers."""
    assert judged([told(Kind.STARTED)], found(holding)) == Finding(REQUEST_ID, expected)


def test_unfinished_filesets_beside_a_verified_one_do_not_matter() -> None:
    """They are debris of other attempts."""
    filesets = (found(Holding.UNFINISHED, fileset_id=6), found(), found(Holding.IN_WORK, fileset_id=8))
    assert event_of(judged([], *filesets)).result == RESULT


@pytest.mark.parametrize("second", [Holding.VERIFIED, Holding.FAILED, Holding.UNVERIFIED])
def test_of_several_complete_filesets_somebody_must_choose(second: Holding) -> None:
    """Anybody may write this id on a fileset of their own: which one is right is not guessed."""
    finding = judged([told(Kind.STARTED)], found(), found(second, fileset_id=9, owner="mallory"))
    assert finding.event is None
    assert "Fileset:7 of alice in screening, Fileset:9 of mallory in screening" in finding.text


def test_a_fileset_of_other_files_is_not_this_request() -> None:
    """Given an id that somebody wrote on a fileset of his own, then the log is told nothing."""
    finding = judged([told(Kind.STARTED)], found(source="hcs/mine.tif", owner="mallory"))
    assert finding.event is None
    assert "was made of hcs/mine.tif, not of hcs/a.tif" in finding.text


def test_what_the_fileset_does_not_say_comes_from_the_log() -> None:
    """As with filesets of an older fleet, and such as were never verified well."""
    bare = found(lane=None, batch=None, source=None, attempt=0)
    event = event_of(judged([told(Kind.STARTED)], bare))
    assert (event.lane, event.batch, event.source, event.attempt) == ("phenix1", BATCH, "hcs/a.tif", 1)


def test_where_nobody_says_the_lane_the_operator_must() -> None:
    """It is half of what a request is known by."""
    finding = judged([], found(lane=None))
    assert finding.event is None
    assert "name it with --lane" in finding.text
    assert event_of(judged([], found(lane=None), lane="cv8000")).lane == "cv8000"


def test_of_several_lanes_that_of_the_fileset_is_told() -> None:
    """A foreign producer may tell of any request, in its own lane."""
    statuses = [told(Kind.WITHDRAWN, lane="cv8000", source="hcs/other.tif"), told(Kind.STARTED)]
    assert event_of(judged(statuses, found())).lane == "phenix1"
    assert judged([statuses[0], told(Kind.IMPORTED, result=RESULT)], found()).event is None
    assert "name it with --lane" in judged(statuses, found(lane=None)).text


def test_every_told_event_has_an_id_of_its_own() -> None:
    """The log knows duplicates by it."""
    first, second = (event_of(judged([], found())).event_id for _ in range(2))
    assert isinstance(first, uuid.UUID)
    assert first != second

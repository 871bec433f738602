"""What a soak calls wrong: every kind of it is seen, and what is right is called right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from soak.facts import DeadLetter, Evidence, Expected, Held, OpenSession, Queue, Sent, gather
from soak.judging import Flaw, judge, late_sessions, stray_folders
from soak.material import Content
from soak.telling import Told
from soak.wishes import Sort, Wish

NOW = 1_800_000_000.0
CELLS = Content("cells.tif", 5, "aa")
PREFIX = "alice_2/2026-11/25/01-17-32.123/"


def a_wish(sort: Sort = Sort.IMAGE, number: int = 0, **changes: Any) -> Wish:
    """A wish of alice's in lane demo."""
    wish = Wish(number, 1.0, sort, 0, "demo", "alice", "screening", "Dataset:+name:soak 0", "normal")
    return replace(wish, **changes)


def expected(sort: Sort = Sort.IMAGE, request_id: str = "r1", lanes: tuple[str, ...] = ("demo",)) -> Expected:
    """One request, submitted once into each of these lanes."""
    sents = tuple(Sent(a_wish(sort, lane=lane), request_id, NOW) for lane in lanes)
    return Expected(request_id, sents, (CELLS,), images=1, plates=0)


def held(**changes: Any) -> Held:
    """The complete fileset of request r1."""
    fileset = Held(
        7, ("r1",), ("alice", "screening"), PREFIX, (CELLS,), (CELLS,), images=1, series=1, pending=0, plates=0
    )
    return replace(fileset, **changes)


def told(kind: str, reason: str = "", lane: str = "demo") -> Told:
    """An event of request r1."""
    return Told("e1", lane, "r1", kind, NOW, 1, reason=reason)


def evidence(outcome: Told | None = None, **changes: Any) -> Evidence:
    """What was seen of request r1: imported, one fileset, nothing left."""
    end = outcome or told("imported")
    key = ("demo", "r1")
    seen = Evidence((held(),), dead=(), outcomes={key: end}, statuses={key: end.kind}, queues=(), now=NOW)
    return replace(seen, **changes)


def flaws(seen: Evidence, *requests: Expected) -> list[Flaw]:
    """What sorts of wrong there are."""
    return [finding.flaw for finding in judge(requests or (expected(),), seen).findings]


def buried(reason: str = "not-allowed", error_class: str = "not-allowed") -> Evidence:
    """What was seen of a bad request r1."""
    letter = DeadLetter("r1", reason, error_class)
    return evidence(told("dead", reason), held=(), dead=(letter,))


# --- good requests ---


def test_one_complete_fileset_with_the_right_bytes_is_right() -> None:
    judgement = judge([expected()], evidence())
    assert judgement.good
    assert judgement.counts == dict.fromkeys(Flaw, 0)


def test_a_request_that_is_nowhere_is_lost() -> None:
    judgement = judge([expected()], evidence(held=()))
    assert [finding.flaw for finding in judgement.findings] == [Flaw.LOST]
    assert judgement.findings[0].request_id == "r1"
    assert "nowhere" in judgement.findings[0].text
    assert judgement.counts[Flaw.LOST] == 1


def test_a_good_request_among_the_dead_is_lost_and_the_reason_is_told() -> None:
    seen = evidence(told("dead", "import-failed"), held=(), dead=(DeadLetter("r1", "import-failed"),))
    judgement = judge([expected()], seen)
    assert [finding.flaw for finding in judgement.findings] == [Flaw.LOST, Flaw.WRONG]
    assert "import-failed" in judgement.findings[0].text


def test_a_second_complete_fileset_is_a_duplicate() -> None:
    assert flaws(evidence(held=(held(), held(fileset=8)))) == [Flaw.DUPLICATE]


def test_an_unfinished_fileset_beside_the_complete_one_is_debris() -> None:
    assert flaws(evidence(held=(held(), held(fileset=8, images=0, series=0)))) == [Flaw.DEBRIS]


def test_an_unfinished_fileset_alone_is_a_lost_request_and_debris() -> None:
    assert flaws(evidence(held=(held(pending=1),))) == [Flaw.LOST, Flaw.DEBRIS]


@pytest.mark.parametrize(
    "unfinished", [{"images": 0, "series": 0}, {"images": 4, "series": 1}, {"pending": 1}], ids=str
)
def test_what_an_import_left_half_way_is_not_complete(unfinished: dict[str, int]) -> None:
    assert held().complete
    assert not held(**unfinished).complete


@pytest.mark.parametrize(
    "change",
    [
        {"owner": ("bob", "screening")},
        {"owner": ("alice", "other")},
        {"told": (replace(CELLS, sha1="bb"),)},
        {"found": (replace(CELLS, sha1="bb"),)},
        {"found": (replace(CELLS, size=4),)},
        {"told": (CELLS, CELLS)},
        {"found": ()},
        {"images": 2, "series": 2},
        {"plates": 1},
    ],
    ids=str,
)
def test_a_complete_fileset_that_is_not_what_was_wished_is_wrong(change: dict[str, Any]) -> None:
    assert flaws(evidence(held=(held(**change),))) == [Flaw.WRONG]


def test_a_request_that_is_imported_and_dead_is_wrong() -> None:
    assert flaws(evidence(dead=(DeadLetter("r1", "crash-loop"),))) == [Flaw.WRONG]


def test_a_fileset_that_is_nobodys_is_debris() -> None:
    assert flaws(evidence(held=(held(), held(fileset=9, request_ids=())))) == [Flaw.DEBRIS]


# --- bad requests ---


def test_a_bad_request_that_is_dead_with_its_reason_is_right() -> None:
    assert flaws(buried(), expected(Sort.FORBIDDEN_TARGET)) == []


def test_a_bad_request_may_have_two_dead_letters() -> None:
    """A worker that dies between the copy and the ack: at least once is what a broker can promise."""
    twice = replace(buried(), dead=buried().dead * 2)
    assert flaws(twice, expected(Sort.FORBIDDEN_TARGET)) == []


def test_a_bad_request_that_is_nowhere_is_lost() -> None:
    assert flaws(replace(buried(), dead=()), expected(Sort.FORBIDDEN_TARGET)) == [Flaw.LOST]


def test_a_bad_request_that_is_dead_for_another_reason_is_wrong() -> None:
    assert flaws(buried("crash-loop"), expected(Sort.FORBIDDEN_TARGET)) == [Flaw.WRONG, Flaw.WRONG]


def test_attempts_must_be_used_up_by_the_right_error() -> None:
    right, other = buried("attempts-used-up", "manifest-differs"), buried("attempts-used-up", "import-failed")
    assert flaws(right, expected(Sort.NEVER_FITS)) == []
    assert flaws(other, expected(Sort.NEVER_FITS)) == [Flaw.WRONG]


def test_a_bad_request_leaves_no_fileset() -> None:
    assert flaws(replace(buried(), held=(held(),)), expected(Sort.FORBIDDEN_TARGET)) == [Flaw.DEBRIS]


# --- what the event log says ---


def test_an_open_request_is_wrong_even_if_it_is_imported() -> None:
    assert flaws(replace(evidence(), outcomes={})) == [Flaw.WRONG]


def test_a_good_request_that_is_told_to_be_cancelled_is_wrong() -> None:
    assert flaws(evidence(told("cancelled"))) == [Flaw.WRONG]


def test_a_bad_request_that_is_told_to_be_imported_is_wrong() -> None:
    key = ("demo", "r1")
    seen = replace(buried(), outcomes={key: told("imported")}, statuses={key: "imported"})
    assert flaws(seen, expected(Sort.FORBIDDEN_TARGET)) == [Flaw.WRONG]


def test_every_lane_that_got_the_request_has_its_own_outcome() -> None:
    twice = expected(lanes=("demo", "hcs"))
    assert flaws(evidence(), twice) == [Flaw.WRONG]
    both = {("demo", "r1"): told("imported"), ("hcs", "r1"): told("already-imported", lane="hcs")}
    statuses = {key: end.kind for key, end in both.items()}
    assert flaws(evidence(outcomes=both, statuses=statuses), twice) == []


@pytest.mark.parametrize(
    ("status", "found"),
    [("imported", []), ("already-imported", []), ("dead", [Flaw.WRONG]), ("started", [Flaw.WRONG])],
)
def test_the_command_must_say_what_the_log_says(status: str, found: list[Flaw]) -> None:
    """Which of two successes it names does not matter."""
    assert flaws(evidence(statuses={("demo", "r1"): status})) == found


def test_a_request_that_the_command_does_not_know_is_wrong() -> None:
    assert flaws(evidence(statuses={})) == [Flaw.WRONG]


# --- what is left behind ---


@pytest.mark.parametrize("name", ["import.lock.r1", "import.slot.omero.import.0"])
def test_a_lock_or_a_slot_is_debris(name: str) -> None:
    assert flaws(evidence(queues=(Queue(name, "classic", 0),))) == [Flaw.DEBRIS]


@pytest.mark.parametrize("name", ["import.lane.demo.normal", "import.retry.1", "import.due"])
def test_a_message_in_any_other_queue_is_debris(name: str) -> None:
    assert flaws(evidence(queues=(Queue(name, "quorum", 1),))) == [Flaw.DEBRIS]


def test_dead_letters_streams_and_empty_queues_are_right() -> None:
    queues = (Queue("import.dead", "quorum", 3), Queue("import.event-log", "stream", 99), Queue("any", "quorum", 0))
    assert flaws(evidence(queues=queues)) == []


def test_a_folder_without_a_fileset_is_debris() -> None:
    folders = frozenset({"alice_2", "alice_2/2026-11/25/01-17-32.123", "alice_2/2026-11/25/09-00-00.000"})
    assert flaws(evidence(folders=folders)) == [Flaw.DEBRIS]


def test_stray_folders_are_told_once_and_dates_are_none() -> None:
    day = "alice_2/2026-11/25"
    mine, stray = f"{day}/01-17-32.123", f"{day}/09-00-00.000"
    folders = {"alice_2", "alice_2/2026-11", day, mine, f"{mine}/confocal", stray, f"{stray}/a", f"{stray}/a/b"}
    assert stray_folders(folders, [f"{mine}/"]) == [stray]


def test_a_session_older_than_its_idle_time_and_two_minutes_is_debris() -> None:
    young = OpenSession(1, "alice", NOW - 719, 600)
    old = OpenSession(2, "alice", NOW - 721, 600)
    assert late_sessions([young, old], NOW) == [old]
    assert flaws(evidence(sessions=(young, old))) == [Flaw.DEBRIS]


# --- requests and their submissions ---


def test_submissions_of_one_request_are_gathered_the_first_first() -> None:
    first, second = Sent(a_wish(number=1), "r1", NOW), Sent(a_wish(number=5), "r1", NOW)
    other = Sent(a_wish(number=3), "r2", NOW)
    assert gather([second, other, first]) == {"r1": (first, second), "r2": (other,)}

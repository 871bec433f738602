"""The spool when its process is killed with SIGKILL before any step on the disk, or in the middle of a write."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_producer.slips import Entry
from support import dying
from support.killed import CROWD, EACH, Place, places, requests

PROGRAM = Path(__file__).parents[1] / "support/killed.py"
SECONDS = 120


def run(root: Path, story: str) -> list[Place]:
    """Where each killed process left its spool; the last one came to its end."""
    dying.run(PROGRAM, str(root), story, seconds=SECONDS)
    return list(places(root))


def whole(place: Place) -> list[Entry]:
    """What the next process finds, all of it whole; nothing else has the name of a request."""
    spool = place.spool()
    entries = spool.entries()
    assert spool.set_aside() == []
    return entries


def ids(lines: list[str], word: str) -> set[str]:
    return {line.partition(" ")[2] for line in lines if line.startswith(word)}


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> list[Place]:
    """A command that keeps, publishes and hears the outcome of three requests, killed at every step."""
    return run(tmp_path_factory.mktemp("submit"), "submit")


class TestSubmit:
    """From the first file to the last outcome."""

    def test_every_step_was_tried(self, submitted: list[Place]) -> None:
        """Each of three files takes open, write, the write's middle, fsync, close, rename; and there is the rest."""
        assert len(submitted) > 3 * 6 + 3 + 3
        assert submitted[0].said() == []
        assert submitted[-1].said()[-1].startswith("outcome")

    def test_nothing_is_published_before_all_are_kept(self, submitted: list[Place]) -> None:
        for place in submitted:
            said = place.said()
            assert said[:1] in ([], ["kept"]), place.folder

    def test_a_request_that_was_kept_is_there_until_its_outcome(self, submitted: list[Place]) -> None:
        wanted = {str(request.request_id) for request in requests()}
        for place in submitted:
            if "kept" in place.said():
                there = {str(entry.request_id) for entry in whole(place)}
                assert there | ids(place.said(), "outcome") == wanted, place.folder

    def test_no_half_file_is_ever_read_as_a_request(self, submitted: list[Place]) -> None:
        wanted = requests()
        for place in submitted:
            for entry in whole(place):
                assert entry.request in wanted, place.folder

    def test_the_next_process_brings_all_to_the_end(self, submitted: list[Place]) -> None:
        """Given what any kill has left, when a resend sends and removes it, then the spool is empty."""
        for place in submitted:
            spool = place.spool()
            for entry in whole(place):
                spool.remove(spool.mark_sent(entry))
            assert spool.entries() == []


def test_a_request_that_is_replaced_is_there_all_the_time(tmp_path: Path) -> None:
    """Given three requests, when they are submitted again and that is killed, then each is there, old or new."""
    old, new = requests(), requests(batch=1)
    found = run(tmp_path, "replace")
    assert len(found) > 20
    for place in found:
        there = [entry.request for entry in whole(place)]
        assert all(request in old or request in new for request in there)
        assert {request.request_id for request in there} == {request.request_id for request in old}, place.folder
        if "kept" in place.said():
            assert all(request in there for request in new), place.folder
    assert [entry.request for entry in whole(found[-1])] == sorted(new, key=lambda one: str(one.request_id))


def test_what_is_set_aside_is_never_lost(tmp_path: Path) -> None:
    """Given a file that was cut, when its move is killed, then it is in the spool or in the folder for bad ones."""
    found = run(tmp_path, "damage")
    assert len(found) > 8
    for place in found:
        folder = place.spool().folder
        (first, *others) = requests()
        cut = [file for file in folder.rglob(f"{first.request_id}*") if not file.name.endswith(".reason")]
        assert len(cut) == 1, place.folder
        assert [entry.request for entry in place.spool().entries()] == sorted(
            others, key=lambda one: str(one.request_id)
        )
        (aside,) = place.spool().set_aside()
        assert "it was cut or altered" in aside.reason


def test_many_processes_may_use_one_spool(tmp_path: Path) -> None:
    """Given a spool that does not exist yet, when several processes begin at once, then nothing is lost."""
    place = Place(tmp_path)
    run(tmp_path, "crowd")
    entries = place.spool().entries()
    shared = [entry for entry in entries if entry.request_id == requests()[0].request_id]
    assert place.spool().set_aside() == []
    assert len(entries) - len(shared) == CROWD * EACH
    assert 1 <= len(shared) <= CROWD
    assert sum(entry.slip.sent_at is not None for entry in entries) == CROWD * EACH

"""A watch that is killed with SIGKILL before any step of its spool, its state and its publishing."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_producer.completeness import State
from support import dying
from support.dying import said
from support.killed_watch import IMAGES, bench, places

PROGRAM = Path(__file__).parents[1] / "support/killed_watch.py"
SECONDS = 240


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Where each killed process left its host; the last one came to its end."""
    root = tmp_path_factory.mktemp("watch")
    dying.run(PROGRAM, str(root), seconds=SECONDS)
    return list(places(root))


def test_every_step_was_tried(killed: list[Path]) -> None:
    """Of each of two images: the request's file, the statements of the state, the publishing, the note of it."""
    assert len(killed) > 2 * (7 + 4 + 2 + 1)
    assert said(killed[0]) == []
    assert len(said(killed[-1])) == 2


def test_nothing_is_lost_and_nothing_is_there_twice(killed: list[Path]) -> None:
    """Given what any kill has left, when the watch is started again, then each image has one request.

    The broker may have got it twice, but always under the id that it had before, so that OMERO will hold it once.
    """
    for folder in killed:
        host = bench(folder)
        host.watch(60)
        got = said(folder)
        assert len(set(got)) == len(IMAGES), folder
        assert len(got) <= len(IMAGES) + 1, folder
        assert len(host.spool.entries()) == len(IMAGES), folder
        assert {entry.slip.sent_at is None for entry in host.spool.entries()} == {False}, folder
        assert {record.state for record in host.watcher.records} == {State.PUBLISHED}, folder
        assert {entry.request.source.path for entry in host.spool.entries()} == {
            f"phenix1/{name}" for name in IMAGES
        }, folder
        host.restart()


def test_no_half_request_is_ever_read(killed: list[Path]) -> None:
    """What was set aside is nothing: a file of the spool is whole or not there."""
    for folder in killed:
        assert bench(folder).spool.set_aside() == [], folder

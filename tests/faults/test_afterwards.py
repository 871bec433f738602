"""What is left when all rows that run side by side were played: the states of requests, and no debris at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pytest

from support.scenes import Ending, Ground, Played, Row

pytestmark = pytest.mark.timeout(900)
IMPORTED: Final = frozenset({"imported", "already-imported"})


@pytest.fixture(scope="module")
def endings(played: Played, chosen: Iterable[Row]) -> list[Ending]:
    """Of all rows that are played side by side; a row that failed says so in its own test."""
    found: list[Ending] = []
    for row in chosen:
        if not row.alone:
            try:
                found += played(row)
            except AssertionError:
                continue
    return found


@pytest.fixture(scope="module")
def statuses(ground: Ground, endings: list[Ending]) -> Mapping[str, dict[str, Any]]:
    """What an operator sees of every request, by its id."""
    assert endings
    return {one["request_id"]: one for one in ground.facility.status()}


def test_status_shows_the_true_state_of_each_request(
    statuses: Mapping[str, dict[str, Any]], endings: list[Ending]
) -> None:
    """Imported, dead or cancelled, at an attempt that was made."""
    for ending in endings:
        status = statuses[ending.request_id]
        expected = IMPORTED if ending.state == "imported" else {ending.state}
        assert status["state"] in expected, status
        assert status["attempt"] in ending.attempts, status


def test_no_upload_is_left_unfinished(ground: Ground, endings: list[Ending]) -> None:
    """But of requests that nobody took again after the last worker died of them."""
    excused = {fileset for one in endings if one.debris for fileset in ground.proof.filesets_of(one.request_id)}
    assert ground.proof.unfinished(excused) == []


def test_no_folder_is_left_without_a_fileset(ground: Ground, endings: list[Ending]) -> None:
    """In the whole repository, those of dates aside."""
    assert endings
    assert ground.proof.folders_without_fileset() == []

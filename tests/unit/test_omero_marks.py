"""Seconds per phase follow from the server's moments and the notifications that arrived."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.events import Phase
from fleet_worker.omero.marks import Marks, phase_seconds

FULL = Marks(uploaded=100.0, first_image=101.5, first_settings=110.0, first_thumbnail=112.0)
NONE = Marks(None, None, None, None)


def test_phases_of_an_import_whose_notifications_all_arrived() -> None:
    """Steps end at 4, 9 and 15 s; setId lies inside the first, settings and thumbnails inside the third."""
    assert phase_seconds(FULL, {1: 4.0, 2: 9.0, 3: 15.0}, 16.0) == {
        Phase.SET_ID: 1.5,
        Phase.METADATA: 2.5,
        Phase.PIXELDATA: 5.0,
        Phase.RDEFS: 2.0,
        Phase.THUMBNAILS: 4.0,
    }


def test_lost_notifications_move_time_to_the_phase_before() -> None:
    """Without the end of the metadata step its time and that of the pixels cannot be told apart."""
    seconds = phase_seconds(FULL, {2: 9.0, 3: 15.0}, 16.0)
    assert (seconds[Phase.METADATA], seconds[Phase.PIXELDATA]) == (7.5, 0.0)


optional = st.none() | st.floats(0, 1000)


@given(
    st.builds(Marks, optional, optional, optional, optional), st.lists(st.floats(0, 1000), max_size=5), st.floats(0, 9)
)
def test_no_phase_is_negative_and_together_they_are_no_longer_than_the_import(
    marks: Marks, ends: list[float], rest: float
) -> None:
    """Whatever clocks and notifications say."""
    steps = dict(enumerate(sorted(ends), start=1))
    ended = max(ends, default=0.0) + rest
    seconds = phase_seconds(marks, steps, ended)
    assert min(seconds.values()) >= 0
    assert sum(seconds.values()) <= ended + 1e-6


def test_without_any_fact_all_is_metadata() -> None:
    """The report of ``omero fs importtime`` needs setId and metadata."""
    assert phase_seconds(NONE, {}, 7.0)[Phase.METADATA] == pytest.approx(7.0)

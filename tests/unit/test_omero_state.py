"""What the facts about a fileset mean, state by state, as ended imports left them on a real server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_worker.omero.state import DELETING, STARTING, FilesetState, State, classify, counts

BASE = FilesetState(id=1, owner_id=2, owner="alice", group_id=3, group="screening", files=5)
UPLOADED = replace(BASE, hashes=5)
VERIFIED = replace(UPLOADED, job_status="Finished")
HALF = replace(VERIFIED, images=192, distinct_series=1, pending_pixels=192)
UNREAD = replace(VERIFIED, images=192, distinct_series=192, pending_pixels=192)
READ = replace(UNREAD, pending_pixels=0)
DRAWN = replace(READ, rendered=192, thumbnails=192)


def live(state: FilesetState) -> FilesetState:
    """The same while its session lives."""
    return replace(state, session_closed=False)


def skipping(state: FilesetState, *what: str) -> FilesetState:
    """The same with things that the server was told to leave out."""
    return replace(state, annotation={"skip": ",".join(what)})


def doomed(state: FilesetState) -> FilesetState:
    """The same after somebody began to delete it."""
    return replace(state, annotation={DELETING: "true"})


def verified(state: FilesetState) -> FilesetState:
    """The same after a worker saw that everything is there."""
    return replace(state, annotation={**state.annotation, "result": "verified"})


ROWS = [
    ("registered only, worker alive", live(BASE), State.UPLOAD_UNFINISHED),
    ("registered only, worker dead", BASE, State.UPLOAD_UNFINISHED),
    ("all hashes set, never verified", UPLOADED, State.UPLOAD_UNFINISHED),
    ("blocked in verifyUpload", live(UPLOADED), State.UPLOAD_UNFINISHED),
    ("queued", live(VERIFIED), State.QUEUED_OR_RUNNING),
    ("died before images", VERIFIED, State.BROKEN),
    ("in the metadata step", live(HALF), State.QUEUED_OR_RUNNING),
    ("died in the metadata step: series 0 everywhere", HALF, State.BROKEN),
    ("reading pixels", live(UNREAD), State.QUEUED_OR_RUNNING),
    ("died while it read pixels", UNREAD, State.BROKEN),
    ("drawing thumbnails", live(READ), State.QUEUED_OR_RUNNING),
    ("usable without thumbnails", READ, State.COMPLETE),
    ("done, session alive", live(DRAWN), State.COMPLETE),
    ("done", DRAWN, State.COMPLETE),
    ("without min/max, done", skipping(replace(DRAWN, pending_pixels=192), "minmax"), State.COMPLETE),
    ("without min/max, drawing", live(skipping(replace(READ, pending_pixels=192), "minmax")), State.QUEUED_OR_RUNNING),
    ("without thumbnails, done", live(skipping(READ, "thumbnails")), State.COMPLETE),
    ("without both, many images", live(skipping(UNREAD, "minmax", "thumbnails")), State.COMPLETE),
    (
        "without both, one image: only the end of the session tells",
        live(skipping(replace(UNREAD, images=1, distinct_series=1, pending_pixels=1), "minmax", "thumbnails")),
        State.QUEUED_OR_RUNNING,
    ),
    ("complete, but its deletion was begun", doomed(DRAWN), State.BROKEN),
    ("complete, its deletion was begun, session alive", live(doomed(DRAWN)), State.BROKEN),
    ("drawing thumbnails, its deletion was begun", live(doomed(READ)), State.QUEUED_OR_RUNNING),
    (
        "without both, one image: whoever verified it saw the end",
        verified(
            live(skipping(replace(UNREAD, images=1, distinct_series=1, pending_pixels=1), "minmax", "thumbnails"))
        ),
        State.COMPLETE,
    ),
    ("verified, its deletion was begun", verified(doomed(DRAWN)), State.BROKEN),
    ("verified, and images are gone since", verified(VERIFIED), State.BROKEN),
    (
        "one image whose pixels were not read",
        replace(UNREAD, images=1, distinct_series=1, pending_pixels=1),
        State.BROKEN,
    ),
]


@pytest.mark.parametrize(("state", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_every_stage_of_an_import_is_told_by_its_facts(state: FilesetState, expected: State) -> None:
    """One row per stage at which an import was ended."""
    assert classify(state) is expected


def starting(state: FilesetState) -> FilesetState:
    """The same after somebody wrote on it that its import is about to be started."""
    return replace(state, annotation={STARTING: "true"})


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (live(UPLOADED), False),
        (live(starting(UPLOADED)), True),
        (starting(UPLOADED), False),
        (live(VERIFIED), True),
        (live(starting(VERIFIED)), True),
        (live(starting(DRAWN)), False),
        (starting(HALF), False),
    ],
    ids=["uploading", "starting", "dead before the start", "queued", "started", "done", "died in the server"],
)
def test_what_the_server_has_or_gets_now_counts(state: FilesetState, expected: bool) -> None:  # noqa: FBT001  a column
    """Nothing else takes a place in it."""
    assert counts(state) is expected


@given(
    st.builds(
        FilesetState,
        id=st.just(1),
        owner_id=st.just(2),
        owner=st.just("alice"),
        group_id=st.just(3),
        group=st.just("g"),
        annotation=st.sampled_from([{}, {"skip": "minmax"}, {"skip": "thumbnails"}, {"skip": "minmax,thumbnails"}]),
        job_status=st.sampled_from(["Submitted", "Finished"]),
        images=st.integers(0, 4),
        distinct_series=st.integers(0, 4),
        pending_pixels=st.integers(0, 4),
        thumbnails=st.integers(0, 4),
        session_closed=st.booleans(),
    )
)
def test_nothing_is_running_once_its_session_has_ended_and_nothing_is_broken_before(state: FilesetState) -> None:
    """What may run is never deleted; what cannot run is never waited for."""
    verdict = classify(state)
    assert verdict is not (State.QUEUED_OR_RUNNING if state.session_closed else State.BROKEN)


@given(st.integers(1, 9), st.integers(0, 8), st.booleans())
def test_images_that_share_a_series_are_never_complete(images: int, fewer: int, closed: bool) -> None:  # noqa: FBT001  drawn by hypothesis
    """A half import can be read without an error, and gives the planes of series 0 for every image."""
    state = replace(DRAWN, images=images + 1, distinct_series=min(fewer, images), session_closed=closed)
    assert classify(state) is not State.COMPLETE


def test_digest_and_skip_are_read_from_the_annotation() -> None:
    """Both may be missing: older fleets, or a hand that edited the annotation."""
    assert BASE.digest == ""
    assert BASE.skip == frozenset()
    state = replace(BASE, annotation={"digest": "ab", "skip": "minmax,thumbnails"})
    assert state.digest == "ab"
    assert state.skip == {"minmax", "thumbnails"}

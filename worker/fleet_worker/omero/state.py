"""What an earlier attempt left in OMERO, and what that means. Pure: facts in, verdict out.

The markers were found out by ending imports at every stage on a real OMERO.server 5.6.3, see
``docs/explanation/omero-import.md``. ``Image.series is null`` is not one of them: it is never null there.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fleet_common.messages import Skip
from fleet_worker.annotations import RESULT, VERIFIED

DELETING: Final = "deleting"
"""In the key annotation of a fileset whose deletion was begun, and may still be about to happen in the server."""

STARTING: Final = "starting"
"""In the key annotation of a fileset whose import is about to be started: it counts as one that the server has."""


class State(enum.StrEnum):
    """What a fileset is.

    ``UPLOAD_UNFINISHED``: the server was never told to import it. ``session_closed`` says whether somebody may still be
    sending. ``QUEUED_OR_RUNNING``: the server has it, or may still have it. ``BROKEN``: the import ended half way and
    nothing will finish it, or somebody has begun to delete it. ``COMPLETE``: every image is there and readable;
    thumbnails may be missing if its session is closed, OMERO makes them when they are looked at.
    """

    UPLOAD_UNFINISHED = "upload-unfinished"
    QUEUED_OR_RUNNING = "queued-or-running"
    BROKEN = "broken"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class FilesetState:
    """The facts about one fileset that carries a request id.

    Attributes:
        id: Of the fileset.
        owner_id: OMERO id of the owner.
        owner: Login name of the owner.
        group_id: OMERO id of the group.
        group: Name of the group.
        annotation: All pairs of the key annotation: request id, digest, attempt, and once annotated the result.
        job_status: Of the upload job: ``Submitted`` until the upload was verified, then ``Finished``.
        files: Entries of the fileset.
        hashes: How many of its files the server has hashed: uploaded.
        images: How many images it has.
        distinct_series: Of these images; less than ``images`` where the metadata step ended half way.
        pending_pixels: Images of ordinary size whose pixels were not read yet. Those over 3192 x 3192 never are.
        rendered: Images with rendering settings.
        thumbnails: Images with a thumbnail.
        session_closed: Whether the session that made it is gone; while it lives, so may the import.
    """

    id: int
    owner_id: int
    owner: str
    group_id: int
    group: str
    annotation: Mapping[str, str] = field(default_factory=dict)
    job_status: str = "Submitted"
    files: int = 0
    hashes: int = 0
    images: int = 0
    distinct_series: int = 0
    pending_pixels: int = 0
    rendered: int = 0
    thumbnails: int = 0
    session_closed: bool = True

    @property
    def digest(self) -> str:
        """Of the manifest that was imported; empty if the annotation has none."""
        return self.annotation.get("digest", "")

    @property
    def verified(self) -> bool:
        """Whether a worker has seen that everything is there."""
        return self.annotation.get(RESULT) == VERIFIED

    @property
    def doomed(self) -> bool:
        """Whether somebody has begun to delete it."""
        return DELETING in self.annotation

    @property
    def starting(self) -> bool:
        """Whether somebody is about to start its import, and alive as far as OMERO knows."""
        return STARTING in self.annotation and not self.session_closed

    @property
    def skip(self) -> frozenset[str]:
        """What the server was told to leave out."""
        return frozenset(filter(None, self.annotation.get("skip", "").split(",")))


def classify(state: FilesetState) -> State:
    """What the facts mean."""
    if state.images == 0:
        return _without_images(state)
    if not _readable(state):
        return State.BROKEN if state.session_closed else State.QUEUED_OR_RUNNING
    if state.session_closed or state.verified or _finished(state):
        # A worker saw it unfinished, sent the deletion and died: the server may do it any moment, so it is no result.
        return State.BROKEN if state.doomed else State.COMPLETE
    return State.QUEUED_OR_RUNNING


def counts(state: FilesetState) -> bool:
    """Whether the server has to import it, now or in a moment."""
    found = classify(state)
    return found is State.QUEUED_OR_RUNNING or (found is State.UPLOAD_UNFINISHED and state.starting)


def _without_images(state: FilesetState) -> State:
    if state.job_status != "Finished":
        return State.UPLOAD_UNFINISHED
    return State.BROKEN if state.session_closed else State.QUEUED_OR_RUNNING


def _readable(state: FilesetState) -> bool:
    # A half import has series 0 in all images; planes can be "read" then, and are the wrong ones.
    if state.distinct_series != state.images:
        return False
    return Skip.MINMAX in state.skip or state.pending_pixels == 0


def _finished(state: FilesetState) -> bool:
    if Skip.THUMBNAILS not in state.skip:
        return state.thumbnails >= state.images
    # Without thumbnails the last thing that a server writes are the pixels' hashes; without these too, only the end of
    # the session tells that a single image is done.
    return Skip.MINMAX not in state.skip or state.images > 1

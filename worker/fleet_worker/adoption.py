"""Waits for an import that the server has from a worker that is dead: it goes on without anybody who listens.

The database is all there is to ask. What it shows are the marks that the server's steps leave (``omero/state.py``).
The wait holds no import slot: everybody counts running imports in the database before they start one. Runs on the
attempt's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fleet_common.errors import Reason, failure
from fleet_common.events import Phase
from fleet_worker.omero.state import FilesetState, State, classify

POLL_SECONDS: Final = 2.0


def phase_of(state: FilesetState) -> Phase:
    """What the server is at, as far as the database shows."""
    if state.images == 0:
        return Phase.METADATA
    if state.pending_pixels:
        return Phase.PIXELDATA
    return Phase.THUMBNAILS if state.rendered >= state.images else Phase.RDEFS


@dataclass(frozen=True, slots=True)
class Adoption:
    """Waits for one fileset.

    Attributes:
        look: The filesets of the request.
        told: Called with the phase whenever one was looked at.
        check: Raises when the attempt must stop.
        deadline_seconds: How long to wait at most.
    """

    look: Callable[[], tuple[FilesetState, ...]]
    told: Callable[[Phase], None]
    check: Callable[[], None]
    deadline_seconds: float
    pause: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def wait(self, fileset_id: int) -> tuple[FilesetState, ...]:
        """Wait until the server is done with it, either way; what there is then.

        Raises:
            Transient: ``still-running`` after the deadline, or what the connection says.
            LeaseLost: The request may be somebody else's.
        """
        give_up_at = self.monotonic() + self.deadline_seconds
        while True:
            found = self.look()
            running = next((one for one in found if one.id == fileset_id and _runs(one)), None)
            if running is None:
                return found
            self.told(phase_of(running))
            if self.monotonic() > give_up_at:
                raise failure(Reason.STILL_RUNNING, f"Fileset:{fileset_id} of a dead worker is still in work in OMERO")
            self.check()
            self.pause(POLL_SECONDS)


def _runs(state: FilesetState) -> bool:
    return classify(state) is State.QUEUED_OR_RUNNING

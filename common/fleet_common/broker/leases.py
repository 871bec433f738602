"""One held lock or slot: an exclusive queue, and the proof that it is still ours.

Role: the state of a lease, as data and arithmetic on a clock. The broker gives an exclusive queue away about 25 s after
its holder froze, so the holder itself must know earlier: every second it asks for its own queue, and without an answer
for 8 s the lease is lost for good. Neighbours: ``locks`` takes, asks and retakes. Threading: ``lost`` may be read from
any thread at any time; everything else happens on the link's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from fleet_common.broker.channels import Channel
from fleet_common.broker.waiting import Clock


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a lease is believed in without proof.

    Attributes:
        silence_seconds: While connected: no answer for so long means lost.
        outage_seconds: While there is no connection: so long there is hope to take the queue again.
    """

    silence_seconds: float = 8.0
    outage_seconds: float = 8.0


class Lease:
    """A lock or slot that is held until it is released or lost; also a context manager that releases.

    Attributes:
        name: The exclusive queue.
    """

    def __init__(
        self, name: str, patience: Patience, release: Callable[[Lease, float], None], clock: Clock = time.monotonic
    ) -> None:
        self.name = name
        self._patience = patience
        self._release = release
        self._clock = clock
        self._lock = threading.Lock()
        self._proven_at = clock()
        self._lost = False
        self.channel: Channel = None
        """The channel on which it is asked for; None while it is not held at the broker. Of the link's thread."""
        self.taken = False
        """Whether it was ever held. Of the link's thread."""
        self.released = False
        """Whether the holder has let go. Of the link's thread."""
        self.asking = False
        """Whether a question is on its way. Of the link's thread."""

    @property
    def lost(self) -> bool:
        """Whether somebody else may hold it by now; never False again once True."""
        with self._lock:
            patience = self._patience.outage_seconds if self.channel is None else self._patience.silence_seconds
            if self._clock() - self._proven_at > patience:
                self._lost = True
            return self._lost

    def prove(self, asked_at: float) -> None:
        """Note that the broker has answered a question asked at that time; too late when it is lost already."""
        if not self.lost:
            with self._lock:
                self._proven_at = max(self._proven_at, asked_at)

    def lose(self) -> None:
        """Note that it is certainly not ours any more."""
        with self._lock:
            self._lost = True

    def release(self, deadline_seconds: float = 10.0) -> None:
        """Let go; never raises, because a broker that cannot be told frees the queue by itself."""
        self._release(self, deadline_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

"""What is known about a link, and how patiently it connects.

Role: plain data of :class:`fleet_common.broker.link.Link`. Neighbours: whoever watches a link. Threading: plain data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import tenacity


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long the link waits between two tries to connect.

    Attributes:
        first_seconds: After the first failure; doubles with each further one.
        most_seconds: The longest wait. Under 30, so that holders of slots are back before others may take new ones.
        jitter_seconds: A random share on top, so that a fleet does not come back all at once.
    """

    first_seconds: float = 0.5
    most_seconds: float = 10.0
    jitter_seconds: float = 1.0

    def strategy(self) -> tenacity.wait.wait_base:
        """The same as a wait strategy of tenacity."""
        growing = tenacity.wait_exponential(multiplier=self.first_seconds, max=self.most_seconds)
        return growing + tenacity.wait_random(0, self.jitter_seconds)


@dataclass(frozen=True, slots=True)
class LinkState:
    """How a link is.

    Attributes:
        connected: Whether operations can be posted.
        generation: Counts connections from 1; what belonged to an older one is lost.
        blocked: The broker takes nothing that is published (memory or disk alarm).
        reason: Why it is not connected or blocked, in one line; empty when all is well.
    """

    connected: bool = False
    generation: int = 0
    blocked: bool = False
    reason: str = "no answer yet"


def version_numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``4.1.0-rc.1`` is (4, 1, 0)."""
    head = re.split(r"[-+~]", text, maxsplit=1)[0]
    return tuple(int(part) for part in head.split(".") if part.isdigit()) or (0, 0)

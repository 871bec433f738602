"""What an attempt asks itself between any two costly steps: may it go on?

Neighbours: the handler makes one per attempt; the attempt, its uploads and its waits call it. Safe in any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from fleet_common.errors import Cancelled, LeaseLost, Reason, failure


class Held(Protocol):
    """A lock that may get lost."""

    @property
    def lost(self) -> bool:
        """Whether somebody else may hold it by now."""


class Checks:
    """Raises when an attempt must stop.

    Args:
        lease: The request's lock.
        hurry: Set when the worker ends and its grace time is over.
        cancelled: Who cancelled the request and why; None while nobody has.
    """

    def __init__(self, lease: Held, hurry: threading.Event, cancelled: Callable[[], str | None]) -> None:
        self._lease = lease
        self._hurry = hurry
        self._cancelled = cancelled

    def __call__(self) -> None:
        """Whether to go on at all.

        Raises:
            LeaseLost: The request may be somebody else's.
            Transient: ``draining``: the worker ends.
            Cancelled: An operator does not want it any more.
        """
        self.held()
        self.wanted()

    def held(self) -> None:
        """Whether the request is still ours; for where a cancel comes too late.

        Raises:
            LeaseLost: The request may be somebody else's.
            Transient: ``draining``: the worker ends.
        """
        if self._lease.lost:
            raise LeaseLost("the lock of this request was lost")
        if self._hurry.is_set():
            raise failure(Reason.DRAINING, "the worker stops and its grace time is over")

    def wanted(self) -> None:
        """Whether nobody has cancelled it.

        Raises:
            Cancelled: An operator has.
        """
        text = self._cancelled()
        if text:
            raise Cancelled(text)

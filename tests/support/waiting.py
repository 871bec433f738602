"""Waiting for something that another thread or server does, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_PAUSE = threading.Event()


def until(
    condition: Callable[[], T | None],
    deadline_seconds: float = 10.0,
    what: str = "the condition",
    *,
    pause_seconds: float = 0.02,
) -> T:
    """Ask again and again until the answer is true, and return it.

    Raises:
        AssertionError: It was not true by the deadline.
    """
    deadline = time.monotonic() + deadline_seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {deadline_seconds:g} s"
        _PAUSE.wait(pause_seconds)
    return answer


def seconds_until(condition: Callable[[], object], deadline_seconds: float = 10.0) -> float:
    """How long it took until the condition was true."""
    began = time.monotonic()
    until(condition, deadline_seconds)
    return time.monotonic() - began

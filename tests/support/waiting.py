"""Waiting for something that another thread or server does, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_PAUSE = threading.Event()


def until(condition: Callable[[], T], deadline_seconds: float = 10.0) -> T:
    """Ask every 20 ms until the answer is true, and return it.

    Raises:
        AssertionError: It was not true by the deadline.
    """
    deadline = time.monotonic() + deadline_seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not true within {deadline_seconds} s"
        _PAUSE.wait(0.02)
    return answer


def seconds_until(condition: Callable[[], object], deadline_seconds: float = 10.0) -> float:
    """How long it took until the condition was true."""
    began = time.monotonic()
    until(condition, deadline_seconds)
    return time.monotonic() - began

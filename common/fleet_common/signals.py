"""How commands that go on for ever hear that they are to end. For the main thread, where Python runs the handlers."""

from __future__ import annotations

import _thread
import math
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

LOOK_SECONDS: Final = 0.5
"""How often the main thread must come round for a signal that the kernel gave to another one."""


def stopped_by_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set from now on."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: set_from_handler(stop))
    return stop


def set_from_handler(event: threading.Event) -> None:
    """Set an event that the main thread may wait for, from a signal handler, which runs on the main thread.

    It does so on a thread of its own: the handler may have interrupted the wait itself, in which the main thread holds
    the event's lock, and would wait for itself for ever.
    """
    _thread.start_new_thread(event.set, ())


def wait_for_signal(
    stop: threading.Event, seconds: float = math.inf, monotonic: Callable[[], float] = time.monotonic
) -> None:
    """Wait until a signal handler sets ``stop``, or the time is over.

    The kernel may give the signal to any thread, such as one of Ice's. The main thread is not woken then, so it looks
    twice a second: one wait without end missed one SIGTERM in eight under load.
    """
    until = monotonic() + seconds
    while not stop.is_set() and (left_seconds := until - monotonic()) > 0:
        stop.wait(min(LOOK_SECONDS, left_seconds))

"""A worker hears the signal that tells it to stop, whichever thread the kernel gives it to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from fleet_common.signals import set_from_handler, wait_for_signal


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Set by the handler of SIGUSR1."""
    event = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: set_from_handler(event))
    yield event
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.timeout(10)
def test_a_signal_that_another_thread_receives_is_heard(stop: threading.Event) -> None:
    """Python runs handlers on the main thread only, and that is not woken by a signal to another one."""
    # Late enough that the main thread waits already.
    other = threading.Timer(0.3, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    other.start()
    wait_for_signal(stop)
    other.join(5)
    assert stop.is_set()


@pytest.mark.timeout(10)
def test_a_signal_in_the_middle_of_a_wait_is_heard(stop: threading.Event) -> None:
    """The handler runs on the thread that waits, which may hold the event's lock just then."""
    with stop._cond:  # type: ignore[attr-defined]  # what Event.wait does
        signal.raise_signal(signal.SIGUSR1)
    assert stop.wait(5)

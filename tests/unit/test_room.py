"""How many requests are in work."""

from __future__ import annotations

import threading

from fleet_worker.room import Room

DEADLINE_SECONDS = 10.0


def test_there_are_so_many_places() -> None:
    """And one more when one is given back."""
    room = Room(2)
    assert [room.take(0), room.take(0), room.take(0)] == [True, True, False]
    room.give_back()
    assert room.used == 1
    assert room.take(0)


def test_alone_means_that_no_other_place_is_taken() -> None:
    """Whatever the number of places."""
    room = Room(3)
    assert room.take(0)
    assert not room.take(0, alone=True)
    room.give_back()
    assert room.take(0, alone=True)
    assert room.take(0)


def test_whoever_waits_hears_of_a_place_at_once() -> None:
    """Without looking again and again."""
    room = Room(1)
    room.take(0)
    threading.Timer(0.01, room.give_back).start()
    assert room.take(DEADLINE_SECONDS)


def test_an_empty_room_is_waited_for() -> None:
    """For a worker that stops."""
    room = Room(1)
    assert room.wait_empty(0)
    room.take(0)
    assert not room.wait_empty(0)
    threading.Timer(0.01, room.give_back).start()
    assert room.wait_empty(DEADLINE_SECONDS)

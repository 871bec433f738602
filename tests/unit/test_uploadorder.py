"""Whose files are sent first, without sending any."""

from __future__ import annotations

from fleet_worker.uploadorder import UploadOrder

MOST = 4


def test_a_request_that_is_alone_has_all_the_room() -> None:
    """Whatever its size."""
    order = UploadOrder()
    assert order.room(order.enter(100_000), MOST) == MOST


def test_of_two_plates_the_first_is_sent_before_the_second() -> None:
    """So that the server begins with it while the second is sent."""
    order = UploadOrder()
    first, second = order.enter(100), order.enter(100)
    assert (order.room(first, MOST), order.room(second, MOST)) == (MOST, 0)


def test_a_single_image_passes_a_plate_that_goes_on_with_one_file() -> None:
    """Nobody is kept waiting for a plate, and nothing keeps the plate waiting for ever."""
    order = UploadOrder()
    plate, image = order.enter(100_000), order.enter(1)
    assert (order.room(plate, MOST), order.room(image, MOST)) == (1, MOST)


def test_who_has_begun_its_last_file_makes_room_and_wakes_who_waits() -> None:
    """No thread is idle while the last files of a plate are on their way."""
    order = UploadOrder()
    first, second = order.enter(2), order.enter(3)
    order.begin(first)
    assert not second.changed.is_set()
    order.begin(first)
    assert second.changed.is_set()
    assert order.room(second, MOST) == MOST


def test_who_gives_up_makes_room() -> None:
    """Once or twice, it makes no difference."""
    order = UploadOrder()
    first, second = order.enter(2), order.enter(3)
    order.leave(first)
    order.leave(first)
    assert second.changed.is_set()
    assert order.room(second, MOST) == MOST

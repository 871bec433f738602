"""Who is woken when a slot is given back: the one who has waited longest for it, and nobody else."""

from __future__ import annotations

import threading

from fleet_common.broker.line import Line

NAMES = ["slot.0", "slot.1"]
AT_ONCE = 0.001
SECONDS = 10.0


def test_without_a_word_all_names_are_tried_again() -> None:
    with Line().stand(NAMES) as waiter:
        assert waiter.wait(AT_ONCE) == NAMES


def test_a_word_ends_the_wait_with_the_name_that_is_free() -> None:
    line = Line()
    with line.stand(NAMES) as waiter:
        teller = threading.Timer(0.01, lambda: line.freed("slot.1"))
        teller.start()
        assert waiter.wait(SECONDS) == ["slot.1"]
        teller.join()


def test_a_word_that_comes_while_nobody_listens_is_heard_at_the_next_wait() -> None:
    """Somebody who is trying just now would otherwise miss it."""
    line = Line()
    with line.stand(NAMES) as waiter:
        line.freed("slot.0")
        assert waiter.wait(SECONDS) == ["slot.0"]
        assert waiter.wait(AT_ONCE) == NAMES


def test_only_the_first_in_the_line_is_woken() -> None:
    line = Line()
    with line.stand(["other"]) as stranger, line.stand(NAMES) as first, line.stand(NAMES) as second:
        line.freed("slot.0")
        assert first.wait(SECONDS) == ["slot.0"]
        assert (stranger.wait(AT_ONCE), second.wait(AT_ONCE)) == (["other"], NAMES)


def test_who_has_left_the_line_is_not_woken() -> None:
    line = Line()
    with line.stand(NAMES):
        pass
    with line.stand(NAMES) as waiter:
        line.freed("slot.0")
        assert waiter.wait(SECONDS) == ["slot.0"]


def test_a_word_for_which_nobody_waits_is_lost() -> None:
    line = Line()
    line.freed("slot.0")
    with line.stand(NAMES) as waiter:
        assert waiter.wait(AT_ONCE) == NAMES

"""Who is woken when a slot is given back: the one who has waited longest for it, and nobody else."""

from __future__ import annotations

import contextlib
import threading

from fleet_common.broker.line import Line

NAMES = ("slot.0", "slot.1")
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
        assert waiter.wait(SECONDS) == ("slot.1",)
        teller.join()


def test_a_word_that_comes_while_nobody_listens_is_heard_at_the_next_wait() -> None:
    """Somebody who is trying just now would otherwise miss it."""
    line = Line()
    with line.stand(NAMES) as waiter:
        line.freed("slot.0")
        assert waiter.wait(SECONDS) == ("slot.0",)
        assert waiter.wait(AT_ONCE) == NAMES


def test_only_the_first_in_the_line_is_woken() -> None:
    line = Line()
    with line.stand(("other",)) as stranger, line.stand(NAMES) as first, line.stand(NAMES) as second:
        line.freed("slot.0")
        assert first.wait(SECONDS) == ("slot.0",)
        assert (stranger.wait(AT_ONCE), second.wait(AT_ONCE)) == (("other",), ())


def test_who_has_left_the_line_is_not_woken() -> None:
    line = Line()
    with line.stand(NAMES):
        pass
    with line.stand(NAMES) as waiter:
        line.freed("slot.0")
        assert waiter.wait(SECONDS) == ("slot.0",)


def test_a_word_for_which_nobody_waits_is_lost() -> None:
    line = Line()
    line.freed("slot.0")
    with line.stand(NAMES) as waiter:
        assert waiter.wait(AT_ONCE) == NAMES


def test_only_the_first_in_line_looks_for_itself() -> None:
    """Given many who wait, a look costs the broker as much as a slot does."""
    line = Line()
    with line.stand(NAMES) as second, line.stand(NAMES) as third:
        assert (second.wait(AT_ONCE), third.wait(AT_ONCE)) == (NAMES, ())


def test_who_waits_for_other_names_is_first_in_a_line_of_its_own() -> None:
    line = Line()
    with line.stand(NAMES), line.stand(NAMES[:1]) as other:
        assert other.wait(AT_ONCE) == NAMES[:1]


def test_two_that_are_given_back_at_once_wake_two() -> None:
    """Before the first of them has looked."""
    line = Line()
    with line.stand(NAMES) as first, line.stand(NAMES) as second:
        line.freed("slot.0")
        line.freed("slot.1")
        assert (first.wait(SECONDS), second.wait(SECONDS)) == (("slot.0",), ("slot.1",))


def test_more_words_than_waiters_are_all_heard() -> None:
    line = Line()
    with line.stand(NAMES) as only:
        for name in (*NAMES, NAMES[0]):
            line.freed(name)
        assert only.wait(SECONDS) == NAMES


def test_a_word_that_was_not_heard_is_handed_on() -> None:
    """Given one who left with another slot meanwhile."""
    line = Line()
    with line.stand(NAMES) as second:
        with line.stand(NAMES) as first:
            assert second.wait(AT_ONCE) == NAMES
            line.freed("slot.0")
            line.freed("slot.1")
            assert second.wait(SECONDS) == ("slot.0",)
        assert first.words == []
        assert second.wait(SECONDS) == ("slot.1",)


def test_who_found_a_slot_by_looking_has_the_next_one_look_at_once() -> None:
    """Given a worker that starts with many requests while all slots are free."""
    line = Line()
    with contextlib.ExitStack() as leaving:
        first = leaving.enter_context(line.stand(NAMES))
        with line.stand(NAMES) as second:
            assert first.wait(AT_ONCE) == NAMES
            leaving.close()
            assert second.words == list(NAMES)
            assert second.wait(SECONDS) == NAMES


def test_who_was_told_of_a_slot_wakes_nobody() -> None:
    """Others that were given back were told, too."""
    line = Line()
    with contextlib.ExitStack() as leaving:
        first = leaving.enter_context(line.stand(NAMES))
        with line.stand(NAMES) as second:
            line.freed("slot.0")
            assert first.wait(SECONDS) == ("slot.0",)
            leaving.close()
            assert second.words == []

"""Paths that OMERO keeps, seen from the share; and the thread that keeps sessions alive."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import Reason, Transient
from fleet_worker.omero.facts import FileFacts, ImageFacts, ImportedFacts, PlateFacts, WellFacts
from fleet_worker.omero.keepalive import KeepAlive
from fleet_worker.omero.readback import below_share

names = st.text("abc", min_size=1, max_size=3)


@given(st.lists(st.lists(names, min_size=1, max_size=5).map("/".join), min_size=1, max_size=6), st.data())
def test_the_shares_name_is_never_part_of_a_path(paths: list[str], data: st.DataObject) -> None:
    """OMERO cuts the same number of folders off every path; where it cuts none, the share's name is left."""
    share = "abc"
    shallowest = min(path.count("/") for path in paths)
    cut = data.draw(st.integers(0, shallowest + 1))
    kept = ["/".join(f"{share}/{path}".split("/")[cut:]) for path in paths]
    files = [FileFacts(number, path, 1, "h") for number, path in enumerate(kept)]
    clients = [f"{share}/{path}" for path in paths]
    wanted = ["/".join(path.split("/")[max(0, cut - 1) :]) for path in paths]
    assert [file.path for file in below_share(files, clients)] == wanted


def test_facts_add_up() -> None:
    """Planes over all images, wells over all plates."""
    images = tuple(ImageFacts(number, "n", number, number, "uint8", 4, 4, 2, 3, 1) for number in range(2))
    plate = PlateFacts(1, "p", 8, 12, (WellFacts(1, 0, 0, (0,)), WellFacts(2, 0, 1, (1,))), (5,))
    facts = ImportedFacts(1, (), (plate,), images, {})
    assert (facts.planes, facts.wells) == (12, 2)


def test_a_ping_that_fails_is_called_again() -> None:
    """``omero.client`` drops a session after one failure for ever; this one does not."""
    calls: list[str] = []

    def failing() -> None:
        calls.append("failing")
        raise Transient(Reason.OMERO_UNAVAILABLE, "down")

    def broken() -> None:
        calls.append("broken")
        raise ZeroDivisionError

    keep_alive = KeepAlive(60)
    keep_alive.add("one", failing)
    keep_alive.add("two", broken)
    keep_alive.add("three", lambda: calls.append("well"))
    assert keep_alive.ping_all() == 2
    keep_alive.remove("two")
    assert keep_alive.ping_all() == 1
    assert calls == ["failing", "broken", "well", "failing", "well"]


def test_the_thread_pings_until_it_is_closed() -> None:
    """One thread, which ends with its owner."""
    before = set(threading.enumerate())
    pinged = threading.Event()
    keep_alive = KeepAlive(0.01)
    keep_alive.add("session", pinged.set)
    keep_alive.start()
    keep_alive.start()
    assert pinged.wait(10)
    assert len(set(threading.enumerate()) - before) == 1
    keep_alive.close()
    assert set(threading.enumerate()) <= before

"""Whether the server's Bio-Formats reads a plate: every comparison, and what the server's own words say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet_common.errors import Permanent, Reason
from fleet_common.plates import Plate
from fleet_common.plates.model import NO_READER_YET
from fleet_worker.omero.bioformats import parsed
from fleet_worker.readercheck import check_reader


def a_plate(*needs: int) -> Plate:
    """A plate that needs a version."""
    return Plate("yokogawa", "cv8000/P1/P1.wpi", "reader", ("cv8000/P1/P1.wpi",), needs_bioformats=needs)


def server(*version: int) -> Callable[[], tuple[int, ...]]:
    """A server that has a version."""
    return lambda: version


def must_not_ask() -> tuple[int, ...]:
    """The server is not asked for nothing."""
    raise AssertionError("a plate for any reader cost a call of the server")


@pytest.mark.parametrize(("needs", "has"), [((7, 3, 1), (6, 7, 0)), ((7, 3, 1), (7, 3, 0)), ((8,), (7, 9, 9))])
def test_an_older_reader_is_refused_with_both_versions(needs: tuple[int, ...], has: tuple[int, ...]) -> None:
    """So that the operator knows what to upgrade to."""
    with pytest.raises(Permanent) as caught:
        check_reader(a_plate(*needs), server(*has))
    assert caught.value.reason is Reason.SERVER_READER_TOO_OLD
    wanted, there = (".".join(map(str, version)) for version in (needs, has))
    assert f"this yokogawa plate needs Bio-Formats {wanted}, the server has {there}" in str(caught.value)


@pytest.mark.parametrize("has", [(7, 3, 1), (7, 3, 2), (7, 10, 0), (8, 0, 0)])
def test_the_version_itself_and_newer_ones_do(has: tuple[int, ...]) -> None:
    """Numbers are compared, not texts: 7.10 is newer than 7.3."""
    check_reader(a_plate(7, 3, 1), server(*has))


def test_a_version_that_is_not_known_refuses_nothing() -> None:
    """It is asked for again once the fileset is registered, when the server tells it for certain."""
    check_reader(a_plate(7, 3, 1), server())


@pytest.mark.parametrize(("has", "says"), [((8, 5, 0), "has 8.5.0"), ((), "has one that it did not tell yet")])
def test_what_no_released_reader_reads_is_refused_by_every_server(has: tuple[int, ...], says: str) -> None:
    """Without a version that nobody could upgrade to."""
    with pytest.raises(Permanent, match=f"needs Bio-Formats newer than any release, the server {says}") as caught:
        check_reader(a_plate(*NO_READER_YET), server(*has))
    assert caught.value.reason is Reason.SERVER_READER_TOO_OLD
    assert "99" not in str(caught.value)


def test_a_plate_for_any_reader_costs_no_call() -> None:
    """Which is nearly every plate."""
    check_reader(a_plate(), must_not_ask)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("version: 6.7.0 revision: aef40b42965e2fea2dfd7b431cf503c8a1980903 date: 23 August 2021", (6, 7, 0)),
        ("8.0.0-SNAPSHOT", (8, 0, 0)),
        ("7.10", (7, 10)),
        ("unknown", ()),
        ("", ()),
    ],
)
def test_the_servers_words_are_read(text: str, version: tuple[int, ...]) -> None:
    """The first is what OMERO.server 5.6.3 writes."""
    assert parsed(text) == version

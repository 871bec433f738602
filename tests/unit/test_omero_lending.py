"""Sessions of owners are kept for the next request only while nothing is wrong with them, and not for long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from fleet_common.errors import Reason, failure
from fleet_worker.omero.facts import OwnerIds
from fleet_worker.omero.lending import AGE_SECONDS, IDLE_SECONDS, TRUST_SECONDS, Lender
from fleet_worker.omero.session import OwnerSession


@dataclass
class Session:
    """A session whose life is told beforehand."""

    owner: OwnerIds
    lives: bool = True
    settles: bool = True
    closed: int = 0

    def alive(self) -> bool:
        """Whether the server still knows it."""
        return self.lives

    def settle(self) -> bool:
        """Whether nothing runs in it."""
        return self.settles

    def close(self) -> None:
        """The end."""
        self.closed += 1


@dataclass
class Server:
    """Opens sessions, and has a clock."""

    now: float = 0.0
    opened: list[Session] = field(default_factory=list)

    def open(self, user: str, group: str) -> OwnerSession:
        """A new session."""
        self.opened.append(Session(OwnerIds(user, 2, group, 3)))
        return cast("OwnerSession", self.opened[-1])


@pytest.fixture
def server() -> Server:
    """A server without sessions."""
    return Server()


@pytest.fixture
def lender(server: Server) -> Lender:
    """Keeps two sessions at most."""
    return Lender(server.open, most=2, monotonic=lambda: server.now)


def use(lender: Lender, user: str = "alice", group: str = "screening") -> Session:
    """Borrow a session and give it back."""
    with lender.lend(user, group) as session:
        return cast("Session", session)


def test_the_next_request_of_the_same_owner_gets_the_same_session(lender: Lender, server: Server) -> None:
    """Nothing is opened or closed for it."""
    assert use(lender) is use(lender)
    assert [session.closed for session in server.opened] == [0]


@pytest.mark.parametrize(("user", "group"), [("bob", "screening"), ("alice", "private-lab")])
def test_another_user_or_group_never_gets_it(lender: Lender, user: str, group: str) -> None:
    """A session has the rights of one user in one group."""
    assert use(lender) is not use(lender, user, group)


def test_one_that_is_lent_is_not_lent_twice(lender: Lender) -> None:
    """Two requests of one owner at once have a session each."""
    with lender.lend("alice", "screening") as first, lender.lend("alice", "screening") as second:
        assert first is not second
        assert lender.open == 2
    assert lender.open == 2


def test_what_failed_is_closed(lender: Lender, server: Server) -> None:
    """Nobody knows what is left in it."""
    with pytest.raises(ZeroDivisionError), lender.lend("alice", "screening"):
        raise ZeroDivisionError
    assert (server.opened[0].closed, lender.open) == (1, 0)


def test_one_in_which_something_may_run_is_closed(lender: Lender, server: Server) -> None:
    """As the session itself closes then: it is left to the import."""
    with lender.lend("alice", "screening"):
        server.opened[0].settles = False
    assert (server.opened[0].closed, lender.open) == (1, 0)


def test_one_that_the_server_has_forgotten_is_replaced(lender: Lender, server: Server) -> None:
    """Given a restart of OMERO between two requests, the second does not notice."""
    first = use(lender)
    first.lives = False
    server.now = TRUST_SECONDS
    assert use(lender) is server.opened[1]
    assert (first.closed, lender.open) == (1, 1)


def test_one_that_was_used_a_moment_ago_is_not_looked_at(lender: Lender, server: Server) -> None:
    """Between two steps of one request."""
    first = use(lender)
    first.lives = False
    server.now = TRUST_SECONDS - 0.1
    assert use(lender) is first


def test_a_session_that_cannot_be_opened_counts_for_nothing(server: Server) -> None:
    """OMERO is away."""

    def refuse(_user: str, _group: str) -> OwnerSession:
        raise failure(Reason.OMERO_UNAVAILABLE, "gone")

    lender = Lender(refuse, most=2, monotonic=lambda: server.now)
    with pytest.raises(Exception, match="gone"):
        use(lender)
    assert lender.open == 0


def test_not_more_than_so_many_are_kept(lender: Lender, server: Server) -> None:
    """The last one to come back is closed."""
    with lender.lend("alice", "a"), lender.lend("alice", "b"), lender.lend("alice", "c"):
        assert lender.open == 3
    assert lender.open == 2
    assert sum(session.closed for session in server.opened) == 1


def test_an_unused_session_ends_after_a_minute(lender: Lender, server: Server) -> None:
    """Whoever looks now and then ends it."""
    session = use(lender)
    server.now = IDLE_SECONDS - 1
    lender.expire()
    assert session.closed == 0
    server.now = IDLE_SECONDS
    lender.expire()
    assert (session.closed, lender.open) == (1, 0)


def test_a_session_in_use_all_the_time_ends_too(lender: Lender, server: Server) -> None:
    """Or its owner would keep rights that were taken away."""
    session = use(lender)
    while server.now < AGE_SECONDS:
        assert use(lender) is session
        server.now += IDLE_SECONDS / 2
    assert use(lender) is not session
    assert session.closed == 1


def test_at_the_end_all_are_closed_and_none_is_kept_any_more(lender: Lender, server: Server) -> None:
    """Also one that is still lent then."""
    use(lender)
    with lender.lend("bob", "screening"):
        lender.close()
    assert [session.closed for session in server.opened] == [1, 1]
    assert lender.open == 0

"""Another client of OMERO: asks again and again, logs in now and then, and keeps what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet_stack import bystander
from fleet_stack.bystander import LOGIN_EVERY, Bystander
from fleet_stack.console import StackError
from fleet_stack.description import OmeroDescription

OMERO = OmeroDescription("127.0.0.1", 1, 2, "importer", {}, ("alice",), Path("ca.pem"), "http://127.0.0.1/")
SECONDS = 10.0


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who logged in."""
    users: list[str] = []

    @contextmanager
    def log_in(_omero: OmeroDescription, user: str) -> Iterator[Any]:
        users.append(user)
        yield None

    monkeypatch.setattr(bystander, "logged_in", log_in)
    return users


class Asked:
    """Counts questions, until enough were asked."""

    def __init__(self, enough: int, error: Exception | None = None) -> None:
        self.done = threading.Event()
        self._left, self._error = enough, error

    def __call__(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self.done.set()
        if self._error is not None:
            raise self._error


def test_it_asks_until_it_is_stopped_and_logs_in_now_and_then(logins: list[str]) -> None:
    asked = Asked(LOGIN_EVERY + 1)
    with Bystander(OMERO, asked, user="alice", pause_seconds=0) as other:
        assert asked.done.wait(SECONDS)
    assert len(other.asked_seconds) >= LOGIN_EVERY + 1
    assert len(logins) == len(other.login_seconds) >= 2
    assert set(logins) == {"alice"}
    assert other.failures == []
    assert other.slowest_seconds == max(other.asked_seconds + other.login_seconds)


def test_what_goes_wrong_is_kept_and_it_goes_on(logins: list[str]) -> None:
    asked = Asked(2, StackError("no answer"))
    with Bystander(OMERO, asked, user="alice", pause_seconds=0) as other:
        assert asked.done.wait(SECONDS)
    assert other.failures[:2] == ["a query: StackError: no answer"] * 2
    assert logins

"""Rows of the server, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fleet_worker.omero import queries
from fleet_worker.omero.queries import pages

CONNECTION: Any = None


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Mapping[str, Any]]]:
    """What the server is asked; it has seven rows, and two fit on a page."""
    calls: list[tuple[str, Mapping[str, Any]]] = []

    def rows(_connection: Any, _what: str, hql: str, values: Mapping[str, Any]) -> list[tuple[int, str]]:
        calls.append((hql, values))
        return [(number, f"row {number}") for number in range(0, 70, 10) if number > values["after"]][:2]

    monkeypatch.setattr(queries, "PAGE_ROWS", 2)
    monkeypatch.setattr(queries, "rows", rows)
    return calls


def test_every_row_comes_once_however_many_pages_there_are(asked: list[tuple[str, Mapping[str, Any]]]) -> None:
    found = list(pages(CONNECTION, "a test", "select o.id, o.name from O o where o.a = :a", {"a": 1}, key="o.id"))
    assert [row[0] for row in found] == list(range(0, 70, 10))
    assert [values for _, values in asked] == [{"a": 1, "after": after} for after in (-1, 10, 30, 50)]


def test_no_index_of_ids_leads_the_database_through_the_rows_of_everybody(
    asked: list[tuple[str, Mapping[str, Any]]],
) -> None:
    """PostgreSQL takes it, for a limit that it does not know, and looks at all files of the server."""
    next(pages(CONNECTION, "a test", "select o.id from O o where o.a = :a", {"a": 1}, key="o.id"))
    assert asked[0][0] == "select o.id from O o where o.a = :a and o.id + 0 > :after order by o.id + 0"

"""HQL that works on every OMERO 5.6: typed parameters, plain rows, bounded pages. Safe in any thread.

Whole numbers must travel as ``rlong``, an ``rint`` ends as ClassCastException in the server; a row whose only column is
null arrives as an empty list, so every query here selects an id first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import omero.rtypes
import omero.sys

from fleet_worker.omero.connection import ALL_GROUPS, Connection
from fleet_worker.omero.translate import translated

Value = str | int | Sequence[int]
Row = tuple[Any, ...]

PAGE_ROWS: Final = 5000
"""Rows per call: well under the 64 MB that the server allows in one message."""


def parameters(values: Mapping[str, Value]) -> Any:
    """Named parameters with the types that the server wants."""
    made = omero.sys.ParametersI()
    for name, value in values.items():
        if isinstance(value, str):
            made.addString(name, value)
        elif isinstance(value, int):
            made.addLong(name, omero.rtypes.rlong(value))
        else:
            made.addLongs(name, list(value))
    return made


def rows(
    connection: Connection, what: str, hql: str, values: Mapping[str, Value], *, limit: int = PAGE_ROWS
) -> list[Row]:
    """The rows of a projection over all groups that the session may read, at most ``limit``."""
    made = parameters(values)
    made.page(0, limit)
    with translated(what):
        found = connection.query.projection(hql, made, dict(ALL_GROUPS))
    return [tuple(omero.rtypes.unwrap(column) for column in row) for row in found]


def pages(connection: Connection, what: str, hql: str, values: Mapping[str, Value]) -> Iterator[Row]:
    """All rows, page by page.

    Args:
        connection: Whose rights apply.
        what: The work, for error texts.
        hql: Selects a unique id first, has ``> :after`` on it, and ends with ``order by`` it.
        values: Parameters besides ``after``.
    """
    after = -1
    while True:
        page = rows(connection, what, hql, {**values, "after": after})
        yield from page
        if len(page) < PAGE_ROWS:
            return
        after = page[-1][0]

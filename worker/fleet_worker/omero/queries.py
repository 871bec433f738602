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


def pages(connection: Connection, what: str, hql: str, values: Mapping[str, Value], *, key: str) -> Iterator[Row]:
    """All rows, page by page, in the order of their ids.

    Ids are compared and ordered as sums, which no index of the database knows. The limit is a parameter, and from the
    fifth time on PostgreSQL plans for any value of it: it walked through the index of everybody's files, for a limit
    that was never reached, to find the hundred files of one fileset (docs/explanation/performance-tried.md).

    Args:
        connection: Whose rights apply.
        what: The work, for error texts.
        hql: Selects a unique id first, and ends within its conditions.
        values: Its parameters.
        key: That id, as in ``o.id``.
    """
    paged = f"{hql} and {key} + 0 > :after order by {key} + 0"
    after = -1
    while True:
        page = rows(connection, what, paged, {**values, "after": after})
        yield from page
        if len(page) < PAGE_ROWS:
            return
        after = page[-1][0]

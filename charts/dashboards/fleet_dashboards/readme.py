"""The README's list of a dashboard's panels, each with the question that it answers. Pure."""

from __future__ import annotations

from typing import Final

from fleet_dashboards.spec import Board

BEGIN: Final = "<!-- panels of the dashboard: made by `make dashboards` -->"
END: Final = "<!-- end of the panels -->"


def with_panels(readme: str, board: Board) -> str:
    """The README with the list between its marks made anew.

    Raises:
        ValueError: The marks are not there.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no place for the panels: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table(board)}{END}{after}"


def table(board: Board) -> str:
    """One line for each panel."""
    lines = ["| row | panel | question |", "|---|---|---|"]
    for row in board.rows:
        lines += [f"| {row.title} | {panel.title} | {panel.question} |" for panel in row.panels]
    return "\n".join(lines) + "\n"

"""What a dashboard is, as data: rows of panels, each with a question that it answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "omero_import"
GREEN: Final = "green"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"
WIDTH: Final = 24
"""Of Grafana's grid."""

Kind = Literal["stat", "timeseries", "stacked", "bars"]
"""One number; lines; areas on one another; one bar for each value right now."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question to Prometheus.

    Attributes:
        expr: PromQL with Grafana's variables.
        legend: Name of each line, with ``{{label}}``.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: A few words.
        question: What it answers, as one question; also in the README.
        help: How to read it, in sentences: what is good, what is bad, what to do then.
        unit: Grafana's name of the unit.
        queries: At least one.
        kind: How it is drawn.
        width: Of 24.
        steps: Colours of a number, from what value on; the first is for anything below.
        at_most: The end of the scale, 1 for shares; None where it grows with the values.
    """

    title: str
    question: str
    help: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    steps: tuple[tuple[float | None, str], ...] = ((None, BLUE),)
    at_most: float | None = None

    @property
    def description(self) -> str:
        """What Grafana shows behind the i of the panel."""
        return f"{self.question} {self.help}"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        name: Of its file.
        uid: In its address; never changes.
        title: Shown.
        description: What it is for.
        rows: From top to bottom.
        since: What it shows at first, as Grafana writes it.
    """

    name: str
    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    since: str = "now-6h"

    def panels(self) -> Iterator[Panel]:
        """All panels in order."""
        for row in self.rows:
            yield from row.panels


def of(name: str, *matchers: str, lane: bool = True) -> str:
    """A metric of the fleet as far as the variables of the dashboard let it through.

    Args:
        name: Without prefix.
        matchers: More conditions, in PromQL.
        lane: False for a metric that has no lane.
    """
    chosen = ['namespace=~"$namespace"', 'job=~"$job"', *(['lane=~"$lane"'] if lane else []), *matchers]
    return f"{PREFIX}_{name}{{{','.join(chosen)}}}"


def rate(name: str, *matchers: str, by: str = "", lane: bool = True) -> str:
    """How fast a counter grows in a second, summed."""
    return f"sum{_by(by)}(rate({of(name, *matchers, lane=lane)}[$__rate_interval]))"


def total(name: str, *matchers: str, by: str = "", lane: bool = True) -> str:
    """The sum of a gauge."""
    return f"sum{_by(by)}({of(name, *matchers, lane=lane)})"


def highest(name: str, *matchers: str, by: str = "", lane: bool = True) -> str:
    """The largest value of a gauge."""
    return f"max{_by(by)}({of(name, *matchers, lane=lane)})"


def quantile(share: float, name: str, *matchers: str, by: str = "", lane: bool = True) -> str:
    """What so large a share of the observations of a histogram stays below."""
    buckets = rate(f"{name}_bucket", *matchers, by=f"le, {by}" if by else "le", lane=lane)
    return f"histogram_quantile({share}, {buckets})"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""

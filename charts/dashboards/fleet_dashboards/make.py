"""Turns a dashboard into Grafana's JSON, with the SDK that Grafana makes for it.

Every dashboard has the variables datasource, namespace, job and lane. The same code gives the same bytes. Pure.
"""

from __future__ import annotations

import itertools
import json
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as models
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from fleet_dashboards.batch import BATCH
from fleet_dashboards.fleet import FLEET
from fleet_dashboards.producers import PRODUCERS
from fleet_dashboards.spec import PREFIX, Board, Panel, Query

BOARDS: Final = (FLEET, BATCH, PRODUCERS)
TAG: Final = "omero-import-fleet"
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHTS: Final = {"stat": 4, "bars": 8, "timeseries": 8, "stacked": 8}
_ALL: Final = VariableOption(text="All", value="$__all", selected=True)


def as_json(board: Board) -> str:
    """The file of a dashboard."""
    return json.dumps(made(board), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def made(board: Board) -> Any:
    """The dashboard as the SDK has it."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time(board.since, "now")
        .timezone("browser")
        .refresh("30s")
        .variables(_variables())
        .link(_others())
    )
    numbers = itertools.count(1)
    for row in board.rows:
        builder = builder.with_row(dashboard.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            builder = builder.with_panel(_panel(panel).id(next(numbers)))
    return builder.build()


def _variables() -> list[Any]:
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _choice("namespace", "Namespace", f"label_values({PREFIX}_build_info, namespace)"),
        _choice("job", "Job", f'label_values({PREFIX}_build_info{{namespace=~"$namespace"}}, job)'),
        _choice("lane", "Lane", f'label_values({PREFIX}_queue_ready{{namespace=~"$namespace"}}, lane)'),
    ]


def _choice(name: str, label: str, query: str) -> Any:
    """Any number of values; All lets through what has no such label, too."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(_ALL)
    )


def _others() -> Any:
    """To the other dashboards of the fleet, with the same choices."""
    return (
        dashboard.DashboardLink("Fleet")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(keep_time=True)
        .include_vars(include_vars=True)
    )


def _panel(panel: Panel) -> Any:
    builder = _kind(panel)
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        builder = builder.with_target(_target(query, letter, instant=panel.kind in {"stat", "bars"}))
    if panel.at_most is not None:
        builder = builder.max(panel.at_most)
    return (
        builder.title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .datasource(_SOURCE)
        .min(0.0)
        .grid_pos(GridPos(h=_HEIGHTS[panel.kind], w=panel.width))
        .thresholds(_thresholds(panel))
    )


def _kind(panel: Panel) -> Any:
    latest = common.ReduceDataOptions().calcs(["lastNotNull"])
    if panel.kind == "stat":
        return stat.Panel().graph_mode(models.BigValueGraphMode.NONE).reduce_options(latest)
    if panel.kind == "bars":
        return bargauge.Panel().orientation(models.VizOrientation.HORIZONTAL).reduce_options(latest)
    lines = timeseries.Panel().legend(_legend()).span_nulls(False)  # noqa: FBT003  the SDK's signature
    if panel.kind == "stacked":
        stacking = common.StackingConfig().mode(models.StackingMode.NORMAL).group("A")
        lines = lines.stacking(stacking).fill_opacity(30.0)
    return lines


def _legend() -> Any:
    return (
        common.VizLegendOptions()
        .display_mode(models.LegendDisplayMode.LIST)
        .placement(models.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )


def _target(query: Query, letter: str, *, instant: bool) -> Any:
    target = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(_SOURCE)
    if query.legend:
        target = target.legend_format(query.legend)
    return target.instant() if instant else target.range()


def _thresholds(panel: Panel) -> Any:
    steps = [Threshold(value=value, color=color) for value, color in panel.steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)

"""The alerts: each fires when it should, not before, and is over afterwards; a healthy fleet wakes nobody.

Prometheus' own promtool evaluates the very file that compose mounts and the chart packs.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import CollectorRegistry

from fleet_common.fleetmetrics import METRICS, Catalogue
from fleet_common.metrics import Metrics
from fleet_common.notify.metrics import NotifyMetrics
from fleet_common.producermetrics import ProducerMetrics
from fleet_stack.prometheus import promtool

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = ROOT / "charts/omero-import-fleet/files/rules/omero-import-fleet.yaml"
GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"]
RULES: Final = [rule for group in GROUPS for rule in group["rules"]]
ALERTS: Final = [rule for rule in RULES if "alert" in rule]
PREFIX: Final = "omero_import"
DAY: Final = "x1500"
"""A value and so many minutes more: a day and an hour."""

W1: Final = 'namespace="f",instance="w1"'
EXPORTER: Final = 'namespace="f",instance="e"'


def of_worker(name: str, labels: str = "") -> str:
    """A series of the worker."""
    return f"{PREFIX}_{name}{{{W1}{',' if labels else ''}{labels}}}"


def of_exporter(name: str, labels: str = "") -> str:
    """A series of the exporter."""
    return f"{PREFIX}_{name}{{{EXPORTER}{',' if labels else ''}{labels}}}"


LANE: Final = 'lane="hcs"'
IMPORTED: Final = of_worker("requests_total", f'outcome="imported",reason="",{LANE}')
DEAD: Final = of_worker("requests_total", f'outcome="dead",reason="file-empty",{LANE}')
LANE_PAUSED: Final = of_worker("lane_paused", LANE)
CONNECTED: Final = of_worker("omero_connected")
READY: Final = of_exporter("queue_ready", f'{LANE},class="normal"')
OLDEST: Final = of_exporter("oldest_waiting_seconds", LANE)
OMERO_UP: Final = of_exporter("source_up", 'source="omero"')
RABBIT_UP: Final = of_exporter("source_up", 'source="rabbitmq"')
FREE: Final = of_exporter("omero_free_bytes")
HEARTBEAT: Final = of_exporter("producer_last_heartbeat_timestamp_seconds", LANE)
WITHIN_4H: Final = of_worker("end_to_end_seconds_bucket", f'le="14400.0",{LANE}')
ENDED: Final = of_worker("end_to_end_seconds_count", LANE)
NOTE_AGE: Final = f'{PREFIX}_notifications_oldest_seconds{{namespace="f",instance="n",channel="mail"}}'
LOG_READ: Final = f'{PREFIX}_notify_log_read{{namespace="f",instance="n"}}'
PARKED: Final = f'{PREFIX}_producer_parked{{namespace="f",lane="phenix1"}}'
SLOT_WAITS: Final = of_worker("slot_wait_seconds_count", 'kind="import"')

HEALTHY: Final[Mapping[str, str]] = {
    IMPORTED: f"0+1{DAY}",
    DEAD: f"0{DAY}",
    LANE_PAUSED: f"0{DAY}",
    CONNECTED: f"1{DAY}",
    READY: f"3{DAY}",
    OLDEST: f"600{DAY}",
    OMERO_UP: f"1{DAY}",
    RABBIT_UP: f"1{DAY}",
    FREE: f"900000000000{DAY}",
    # Told each minute, in seconds since the beginning of the test, which is 1970.
    HEARTBEAT: "0+60x1500",
    WITHIN_4H: f"0+1{DAY}",
    ENDED: f"0+1{DAY}",
    LOG_READ: f"1{DAY}",
    PARKED: f"0{DAY}",
    SLOT_WAITS: f"0+1{DAY}",
    NOTE_AGE: f"30{DAY}",
    of_worker("longest_silence_seconds", 'phase="upload"'): f"20{DAY}",
    of_worker("longest_silence_seconds", 'phase="pixeldata"'): f"9000{DAY}",
    of_worker("longest_silence_seconds", 'phase="queued"'): f"90000{DAY}",
    of_worker("slots_waiting", 'kind="import"'): f"5{DAY}",
    of_worker("breaker_open"): f"0{DAY}",
    of_worker("leases_lost_total"): f"0{DAY}",
    of_worker("internal_errors_total"): f"0{DAY}",
    of_exporter("dead_letters", 'reason="file-empty"'): f"0{DAY}",
    of_exporter("omero_read_only"): f"0{DAY}",
    of_exporter("delivery_timeout_seconds"): f"604800{DAY}",
    of_exporter("producer_oldest_unconfirmed_seconds", LANE): f"5{DAY}",
    of_exporter("producer_seconds_since_scan", LANE): f"60{DAY}",
    of_exporter("producer_acquisitions", f'{LANE},state="incomplete"'): f"0{DAY}",
    of_exporter("producer_acquisitions", f'{LANE},state="acquiring"'): f"2{DAY}",
}
"""A day and an hour in which nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Story:
    """What goes wrong and gets well again.

    Attributes:
        alert: What must fire, alone unless ``too`` names others.
        changes: Series that differ from those of a healthy fleet; "" leaves one out.
        quiet: A moment when it does not fire yet although something is wrong.
        fires: A moment when it fires.
        over: A moment when it is over; empty where the test is about what keeps it from firing.
        every: How often rules are evaluated; seldom where a story is long.
    """

    alert: str
    changes: Mapping[str, str]
    quiet: str
    fires: str
    over: str
    every: str = "1m"


STORIES: Final = [
    Story(
        "OmeroImportQueueWithoutWorkers",
        {LANE_PAUSED: "0x60 _x60 0x1000"},
        quiet="70m",  # the series is stale 5 minutes after its last sample, then the 15 minutes begin
        fires="100m",
        over="130m",
    ),
    Story("OmeroImportRequestTooOld", {OLDEST: "600x60 15000x60 600x1000"}, quiet="65m", fires="80m", over="125m"),
    Story(
        "OmeroImportDeadLetters",
        {of_exporter("dead_letters", 'reason="file-empty"'): "0x60 2x60 0x1000"},
        quiet="63m",
        fires="70m",
        over="125m",
    ),
    Story(
        "OmeroImportStalled",
        {of_worker("longest_silence_seconds", 'phase="upload"'): "20x60 4000x60 20x1000"},
        quiet="63m",
        fires="70m",
        over="125m",
    ),
    Story(
        "OmeroImportStalled",
        {of_worker("longest_silence_seconds", 'phase="pixeldata"'): "9000x60 36001x60 20x1000"},
        quiet="63m",
        fires="70m",
        over="125m",
    ),
    Story(
        "OmeroImportFailureRatioHigh",
        {DEAD: "0x60 0+1x60 60x1000"},
        quiet="65m",
        fires="110m",
        over="200m",
    ),
    Story(
        "OmeroImportOmeroUnreachable",
        {OMERO_UP: "1x60 0x60 1x1000", CONNECTED: "1x60 0x60 1x1000"},
        quiet="65m",
        fires="75m",
        over="125m",
    ),
    Story("OmeroImportOmeroUnreachable", {CONNECTED: "1x60 0x60 1x1000"}, quiet="65m", fires="75m", over="125m"),
    Story(
        "OmeroImportOmeroReadOnly",
        {of_exporter("omero_read_only"): "0x60 1x60 0x1000"},
        quiet="70m",
        fires="80m",
        over="125m",
    ),
    Story(
        "OmeroImportLoginRefused",
        {of_worker("breaker_open"): "0x60 1x60 0x1000"},
        quiet="60m",
        fires="65m",
        over="125m",
    ),
    Story(
        "OmeroImportNoSlot",
        {SLOT_WAITS: "0+1x60 60x900 60+1x500"},
        quiet="6h",  # the last slot was given at 1h
        fires="8h",
        over="16h30m",
        every="5m",
    ),
    Story(
        "OmeroImportProducerSilent",
        {HEARTBEAT: "0+60x60 3600x60 7260+60x1000"},
        quiet="78m",
        fires="90m",
        over="125m",
    ),
    Story(
        "OmeroImportScanStalled",
        {of_exporter("producer_seconds_since_scan", LANE): "60x60 7300x60 60x1000"},
        quiet="63m",
        fires="70m",
        over="125m",
    ),
    Story(
        "OmeroImportSpoolGrowing",
        {of_exporter("producer_oldest_unconfirmed_seconds", LANE): "5x60 3700x60 5x1000"},
        quiet="65m",
        fires="75m",
        over="125m",
    ),
    Story(
        "OmeroImportIncompletePlate",
        {of_exporter("producer_acquisitions", f'{LANE},state="incomplete"'): "0x60 1x60 0x1000"},
        quiet="65m",
        fires="75m",
        over="125m",
    ),
    Story(
        "OmeroImportIncompletePlate",
        {of_exporter("producer_acquisitions", f'{LANE},state="aborted"'): "0x60 1x60 0x1000"},
        quiet="65m",
        fires="75m",
        over="125m",
    ),
    Story("OmeroImportPlateParked", {PARKED: "0x60 2x120 0x1000"}, quiet="110m", fires="130m", over="185m"),
    Story("OmeroImportSpaceLow", {FREE: "60000000000x60 40000000000x60 60000000000x1000"}, "75m", "105m", "600m", "5m"),
    Story(
        "OmeroImportSpaceLow",
        # 1 GB a minute of 900: full in 15 hours, and 600 of them are left when it is stopped.
        {FREE: "900000000000x60 900000000000-1000000000x300 600000000000x1000"},
        quiet="62m",
        fires="350m",
        over="800m",
        every="5m",
    ),
    Story(
        "OmeroImportDeliveryTimeoutTooShort",
        {of_exporter("delivery_timeout_seconds"): "604800x60 1800x60 604800x1000"},
        quiet="70m",
        fires="80m",
        over="125m",
    ),
    Story("OmeroImportLeasesLost", {of_worker("leases_lost_total"): "0x60 2x10 6x1000"}, "65m", "75m", "140m"),
    Story("OmeroImportDefect", {of_worker("internal_errors_total"): "0x60 1x1000"}, "59m", "65m", "130m"),
    Story(
        "OmeroImportSlow",
        # 40 in a row are late: that is over 10% until 400 have ended.
        {WITHIN_4H: "0+1x60 60x40 60+1x1400"},
        quiet="61m",
        fires="130m",
        over="430m",
        every="5m",
    ),
    Story(
        "OmeroImportNotificationsStuck",
        {NOTE_AGE: "0x60 2000x60 0x1000"},
        quiet="63m",
        fires="70m",
        over="125m",
    ),
    Story("OmeroImportNotifyLogUnread", {LOG_READ: "1x60 0x60 1x1000"}, quiet="70m", fires="80m", over="125m"),
    Story("OmeroImportSourceUnreadable", {RABBIT_UP: "1x60 0x60 1x1000"}, quiet="70m", fires="80m", over="125m"),
    Story(
        "OmeroImportMetricsAbsent",
        {OMERO_UP: "1x60 _x60 1x1000", RABBIT_UP: "1x60 _x60 1x1000"},
        quiet="67m",
        fires="80m",
        over="125m",
    ),
]


def test_of(series: Mapping[str, str], expected: Mapping[str, set[str]]) -> dict[str, Any]:
    """One test of promtool: which alerts fire at which moments."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items() if values],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"}) > bool 0',
                "eval_time": moment,
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)],
            }
            for moment, alerts in expected.items()
        ],
    }


test_of.__test__ = False  # type: ignore[attr-defined]  # it makes tests for promtool


def run(folder: Path, test: Mapping[str, Any], every: str = "1m") -> None:
    """Have promtool run one test on the rules."""
    file = folder / "test.yaml"
    content = {"rule_files": [str(FILE)], "evaluation_interval": every, "tests": [test]}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = subprocess.run(
        [promtool(), "test", "rules", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_has_nothing_to_say_about_the_file() -> None:
    """Syntax, templates, duplicates."""
    done = subprocess.run([promtool(), "check", "rules", FILE], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_healthy_fleet_wakes_nobody(tmp_path: Path) -> None:
    """For longer than any alert waits."""
    run(tmp_path, test_of(HEALTHY, {f"{hour}h": set() for hour in range(1, 15)}), "5m")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.alert)
def test_an_alert_fires_when_it_should_and_only_then(story: Story, tmp_path: Path) -> None:
    """Given a healthy fleet in which one thing goes wrong, then it fires alone, not at once, and is over afterwards."""
    expected: dict[str, set[str]] = {story.quiet: set(), story.fires: {story.alert}, story.over: set()}
    run(tmp_path, test_of({**HEALTHY, **story.changes}, expected), story.every)


@pytest.mark.parametrize(
    ("changes", "hours"),
    [
        pytest.param({READY: f"0{DAY}", LANE_PAUSED: ""}, 3, id="an empty lane needs no workers"),
        pytest.param({OLDEST: f"90000{DAY}", LANE_PAUSED: f"1{DAY}"}, 3, id="a paused lane may grow old"),
        pytest.param({DEAD: "0x60 2x1000", IMPORTED: "0x60 1x1000"}, 3, id="two of three deaths are no ratio"),
        pytest.param({HEARTBEAT: ""}, 3, id="a lane whose producers tell no heartbeats is not silent"),
        pytest.param({FREE: ""}, 3, id="a server that does not tell its space is not full"),
        pytest.param(
            {of_exporter("delivery_timeout_seconds"): ""}, 3, id="an older RabbitMQ does not tell its time-out"
        ),
        pytest.param({WITHIN_4H: f"0{DAY}", ENDED: "0x60 19x1400"}, 3, id="few slow requests are no trend"),
    ],
)
def test_what_is_no_reason_to_wake_anybody(changes: Mapping[str, str], hours: int, tmp_path: Path) -> None:
    """Given something that looks like trouble and is none, then nothing fires for hours."""
    run(tmp_path, test_of({**HEALTHY, **changes}, {f"{hour}h": set() for hour in range(1, hours + 1)}))


def test_two_fleets_do_not_answer_for_each_other(tmp_path: Path) -> None:
    """Given a second fleet whose workers serve the lane, when ours has none, then it fires for ours."""
    other = {series.replace('namespace="f"', 'namespace="g"'): values for series, values in HEALTHY.items()}
    test = test_of({**HEALTHY, **other, LANE_PAUSED: ""}, {"60m": {"OmeroImportQueueWithoutWorkers"}})
    run(tmp_path, test)


def test_a_silent_producer_is_not_also_said_to_live_without_scans(tmp_path: Path) -> None:
    """Given one that fell silent after an hour, then hours later it is still that one thing."""
    changes = {HEARTBEAT: "0+60x60 3600x1000", of_exporter("producer_seconds_since_scan", LANE): "60x60 60+60x1000"}
    expected = {f"{hour}h": {"OmeroImportProducerSilent"} for hour in range(2, 8)}
    run(tmp_path, test_of({**HEALTHY, **changes}, expected), "5m")


def test_every_alert_has_a_story() -> None:
    """Or nobody knows whether it ever fires."""
    assert {story.alert for story in STORIES} == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_is_wrong_and_what_to_do(alert: dict[str, Any]) -> None:
    """Summary, description, severity, and a section of the runbook that names the alert."""
    notes = alert["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert not notes["summary"].endswith(".")
    assert notes["description"].endswith(".")
    page, _, anchor = notes["runbook_url"].partition("#")
    section = sections(ROOT / page)[anchor]
    assert f"Alert `{alert['alert']}`, {alert['labels']['severity']}." in section


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    """The other way round."""
    anchors = {alert["annotations"]["runbook_url"].partition("#")[2] for alert in ALERTS}
    assert sections(ROOT / "docs/runbook.md").keys() == anchors


def sections(page: Path) -> dict[str, str]:
    """The sections of a page by their anchors, as GitHub and GitLab make them of their titles."""
    parts = re.split(r"(?m)^## (.*)$", page.read_text(encoding="utf-8"))
    return {title.lower().replace(" ", "-"): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_metric_in_the_rules_is_one_of_the_fleet() -> None:
    """With labels that it really has."""
    registry = CollectorRegistry()
    Metrics(registry, lanes=("hcs",))
    registry.register(Catalogue())
    registries = (registry, NotifyMetrics().registry, ProducerMetrics().registry)
    served = {sample.name for one in registries for family in one.collect() for sample in family.samples}
    served |= {f"{PREFIX}_{shown.name}" for shown in METRICS}
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    used = {
        name for rule in RULES for name in re.findall(r"[a-z_]+(?::[a-z0-9_]+)*:[a-z0-9_]+|omero_\w+", rule["expr"])
    }
    assert used - served - recorded == set()
    assert recorded <= used | recorded


@pytest.mark.parametrize("rule", [rule for rule in RULES if "record" in rule], ids=lambda rule: str(rule["record"]))
def test_a_recording_rule_is_named_level_metric_operation(rule: dict[str, Any]) -> None:
    """As Prometheus' documentation asks ("Recording rules")."""
    assert re.fullmatch(r"[a-z_]+:omero_import_[a-z0-9_]+:[a-z0-9_]+", rule["record"])


def test_recording_rules_add_up_the_workers_of_a_lane(tmp_path: Path) -> None:
    """Given two workers at a steady pace, when a fifth of their requests dies and half is late, then it is seen."""
    grow = {
        "bytes_total{{{}}}": 6000,
        "images_total{{{}}}": 120,
        'requests_total{{outcome="imported",reason="",{}}}': 48,
        'requests_total{{outcome="dead",reason="file-empty",{}}}': 12,
        'end_to_end_seconds_bucket{{le="14400.0",{}}}': 24,
        "end_to_end_seconds_count{{{}}}": 48,
    }
    workers = [f'namespace="f",instance="{name}",lane="hcs"' for name in ("w1", "w2")]
    series = [
        {"series": f"{PREFIX}_{name.format(labels)}", "values": f"0+{step}x120"}
        for labels in workers
        for name, step in grow.items()
    ]
    expected = {
        "lane:omero_import_bytes:rate5m": 200,
        "lane:omero_import_images:rate5m": 4,
        'lane_outcome:omero_import_requests:rate5m{outcome="dead"}': 0.4,
        "lane:omero_import_requests_ended:increase1h": 7200,
        "lane:omero_import_requests_dead:ratio_increase1h": 0.2,
        "lane:omero_import_end_to_end_within_4h:ratio_increase1d": 0.5,
    }
    checks = [
        {"expr": f"round(sum({rule}), 0.001)", "eval_time": "2h", "exp_samples": [{"labels": "{}", "value": value}]}
        for rule, value in expected.items()
    ]
    run(tmp_path, {"interval": "1m", "input_series": series, "promql_expr_test": checks})
    assert {re.sub(r"\{.*", "", rule) for rule in expected} == {rule["record"] for rule in RULES if "record" in rule}

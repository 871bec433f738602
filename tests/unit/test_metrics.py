"""The metrics: complete from the start, linted, and without anything that names people or files."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from fleet_common.errors import Reason
from fleet_common.events import Kind, Phase
from fleet_common.instruments import PREFIX, PUBLISHED, fleet_version
from fleet_common.metrics import OUTCOMES, ROLES, SLOT_KINDS, Metrics
from fleet_stack.prometheus import promtool
from support import series

LANE = {"lane": "hcs"}
KNOWN: list[tuple[str, dict[str, str]]] = [
    *(
        ("requests_total", {"outcome": str(kind), "reason": "", **LANE})
        for kind in ("imported", "already-imported", "expanded", "cancelled")
    ),
    *(("requests_total", {"outcome": "dead", "reason": str(reason), **LANE}) for reason in Reason),
    *(("requests_total", {"outcome": "retried", "reason": str(reason), **LANE}) for reason in Reason),
    *(
        ("requests_total", {"outcome": "handed-back", "reason": reason, **LANE})
        for reason in ("draining", "lock-held", "still-running")
    ),
    *(
        (name, {"phase": str(phase)})
        for name in ("phase_seconds_count", "requests_in_phase", "longest_silence_seconds")
        for phase in Phase
    ),
    *(
        (name, LANE)
        for name in (
            "requests_in_progress",
            "queue_wait_seconds_count",
            "end_to_end_seconds_count",
            "lane_paused",
            "files_total",
            "bytes_total",
            "images_total",
            "planes_total",
            "plates_total",
        )
    ),
    *(("published_requests_total", {"result": result}) for result in PUBLISHED),
    *(("broker_connected", {"role": role}) for role in ("consume", "publish")),
    *(("broker_reconnects_total", {"role": role}) for role in ("consume", "publish")),
    *(
        (name, {"kind": kind})
        for name in ("slots_held", "slots_waiting", "slot_wait_seconds_count")
        for kind in ("upload", "create", "staged", "import")
    ),
    *(
        (name, {})
        for name in (
            "places",
            "attempts_count",
            "upload_repeats_total",
            "omero_connected",
            "omero_sessions",
            "keep_alive_failures_total",
            "breaker_open",
            "swept_filesets_total",
            "swept_directories_total",
            "leases_lost_total",
            "internal_errors_total",
        )
    ),
]


@pytest.fixture
def metrics() -> Metrics:
    """Of a worker of one lane that has just started."""
    return Metrics(lanes=("hcs",))


def ours(metrics: Metrics) -> Iterator[Metric]:
    """All but those of the process itself."""
    return (metric for metric in metrics.registry.collect() if metric.name.startswith(PREFIX))


def samples(metrics: Metrics) -> Iterator[Sample]:
    """Every line of ours."""
    return (sample for metric in ours(metrics) for sample in metric.samples)


@pytest.mark.parametrize(("name", "labels"), KNOWN, ids=lambda one: str(one)[:60])
def test_a_known_value_is_there_with_0_from_the_start(metrics: Metrics, name: str, labels: dict[str, str]) -> None:
    """Or increase() would not see the first one."""
    assert metrics.registry.get_sample_value(f"{PREFIX}_{name}", labels) == 0


def test_every_outcome_slot_and_role_is_known() -> None:
    """A new one needs a row above."""
    assert {labels["outcome"] for _, labels in KNOWN if "outcome" in labels} == {str(kind) for kind in OUTCOMES}
    assert {labels["kind"] for _, labels in KNOWN if "kind" in labels} == set(SLOT_KINDS)
    assert {labels["role"] for _, labels in KNOWN if "role" in labels} == set(ROLES)


def test_every_metric_with_labels_has_values_from_the_start(metrics: Metrics) -> None:
    """None waits for its first use."""
    assert [metric.name for metric in ours(metrics) if not metric.samples] == []


def test_no_label_names_people_files_or_requests(metrics: Metrics) -> None:
    """They would be without end, and private."""
    labels = {label for sample in samples(metrics) for label in sample.labels}
    assert labels == {"outcome", "reason", "lane", "phase", "result", "role", "kind", "version", "le"}


def test_no_value_of_a_label_is_free_text(metrics: Metrics) -> None:
    """Words, numbers and versions."""
    values = {value for sample in samples(metrics) for value in sample.labels.values()}
    assert [value for value in values if not re.fullmatch(r"[A-Za-z0-9.+-]*", value)] == []


def test_an_outcome_is_counted_under_its_own_word(metrics: Metrics) -> None:
    """The enumeration, not its Python name."""
    metrics.settled("hcs", Kind.DEAD, Reason.FILE_EMPTY)
    assert series.total(metrics.registry, "requests_total", outcome="dead", reason="file-empty", lane="hcs") == 1


@pytest.mark.parametrize("outcome", [Kind.IMPORTED, Kind.ALREADY_IMPORTED, Kind.CANCELLED])
def test_what_needs_no_explanation_is_counted_without_a_reason(metrics: Metrics, outcome: Kind) -> None:
    """Or a cancelled request would be a series that nobody initialised."""
    metrics.settled("hcs", outcome, Reason.CANCELLED)
    assert series.total(metrics.registry, "requests_total", outcome=outcome, reason="") == 1


def test_every_lane_has_its_own_series(metrics: Metrics) -> None:
    """Given two lanes, what one does leaves the other at 0."""
    metrics = Metrics(lanes=("hcs", "confocal"))
    metrics.bytes.labels("hcs").inc(7)
    assert series.total(metrics.registry, "bytes_total", lane="confocal") == 0
    assert series.total(metrics.registry, "bytes_total") == 7


def test_long_imports_fit_into_the_buckets_of_time(metrics: Metrics) -> None:
    """Up to 8 h; plates that took over five are documented."""
    bounds = {float(sample.labels["le"]) for sample in samples(metrics) if sample.name.endswith("phase_seconds_bucket")}
    assert max(bound for bound in bounds if bound != float("inf")) == 8 * 3600


def test_a_request_that_hangs_is_seen_while_it_hangs() -> None:
    """Given two uploads, one of which gives no sign, then the phase shows its silence, until it is over."""
    now = [100.0]
    metrics = Metrics(clock=lambda: now[0])
    one, other = uuid.uuid4(), uuid.uuid4()
    metrics.pulse.beat(one, Phase.UPLOAD)
    metrics.pulse.beat(other, Phase.UPLOAD)
    now[0] = 130.0
    metrics.pulse.beat(other, Phase.UPLOAD)
    assert series.total(metrics.registry, "longest_silence_seconds", phase="upload") == 30
    assert series.total(metrics.registry, "requests_in_phase", phase="upload") == 2
    metrics.pulse.forget(one)
    assert series.total(metrics.registry, "longest_silence_seconds", phase="upload") == 0
    metrics.pulse.beat(other, Phase.VERIFY)
    assert series.total(metrics.registry, "requests_in_phase", phase="upload") == 0


def test_counting_what_is_known_makes_no_new_series(metrics: Metrics) -> None:
    """Every reason was there before."""
    before = sum(1 for _ in samples(metrics))
    for reason in Reason:
        metrics.settled("hcs", Kind.DEAD, reason)
        metrics.settled("hcs", Kind.RETRIED, reason)
    for phase in Phase:
        metrics.phase_seconds.labels(phase).observe(1)
    assert sum(1 for _ in samples(metrics)) == before


def test_the_version_of_the_fleet_is_there(metrics: Metrics) -> None:
    """To see which workers were upgraded."""
    assert metrics.registry.get_sample_value(f"{PREFIX}_build_info", {"version": fleet_version()}) == 1


def test_the_process_itself_is_measured(metrics: Metrics) -> None:
    """Memory, above all."""
    resident = metrics.registry.get_sample_value("process_resident_memory_bytes")
    assert resident is not None
    assert resident > 1_000_000


def test_two_workers_in_one_process_do_not_mix() -> None:
    """Each has its own registry."""
    one, other = Metrics(), Metrics()
    one.upload_repeats.inc()
    assert series.total(other.registry, "upload_repeats_total") == 0


def test_a_registry_can_be_given() -> None:
    """To serve the metrics of a program around it, too."""
    registry = CollectorRegistry()
    assert Metrics(registry).registry is registry


def test_promtool_has_nothing_to_say(metrics: Metrics) -> None:
    """Names, units, types and help texts, with every series in use."""
    metrics.settled("hcs", Kind.IMPORTED)
    metrics.phase_seconds.labels(Phase.UPLOAD).observe(3)
    checked = subprocess.run(
        [promtool(), "check", "metrics"],
        input=generate_latest(metrics.registry),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")

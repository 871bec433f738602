"""The metrics: complete from the start, linted, and without anything that names people or files."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from fleet_common.errors import Reason
from fleet_common.events import Kind, Phase
from fleet_common.metrics import OUTCOMES, PREFIX, ROLES, SLOT_KINDS, Metrics, fleet_version
from fleet_stack.prometheus import promtool

PUBLISHED = ("confirmed", "unroutable", "refused", "timeout", "unreachable")
KNOWN: list[tuple[str, dict[str, str]]] = [
    *(
        ("requests_total", {"outcome": str(kind), "reason": ""})
        for kind in ("imported", "already-imported", "cancelled")
    ),
    *(("requests_total", {"outcome": "dead", "reason": str(reason)}) for reason in Reason),
    *(("requests_total", {"outcome": "retried", "reason": str(reason)}) for reason in Reason),
    *(
        ("requests_total", {"outcome": "handed-back", "reason": reason})
        for reason in ("draining", "lock-held", "still-running")
    ),
    *(("phase_seconds_count", {"phase": str(phase)}) for phase in Phase),
    *(("published_requests_total", {"result": result}) for result in PUBLISHED),
    *(("broker_connected", {"role": role}) for role in ("consume", "publish")),
    *(("broker_reconnects_total", {"role": role}) for role in ("consume", "publish")),
    *(("slots_held", {"kind": kind}) for kind in ("upload", "create", "staged", "import")),
    *(("slot_wait_seconds_count", {"kind": kind}) for kind in ("upload", "create", "staged", "import")),
    *(
        (name, {})
        for name in (
            "requests_in_progress",
            "queue_wait_seconds_count",
            "end_to_end_seconds_count",
            "attempts_count",
            "files_total",
            "bytes_total",
            "upload_repeats_total",
            "images_total",
            "planes_total",
            "plates_total",
            "omero_connected",
            "omero_sessions",
            "keep_alive_failures_total",
            "breaker_open",
            "lanes_paused",
            "swept_filesets_total",
            "swept_directories_total",
            "leases_lost_total",
            "internal_errors_total",
        )
    ),
]


@pytest.fixture
def metrics() -> Metrics:
    """Of a process that has just started."""
    return Metrics()


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
    assert labels == {"outcome", "reason", "phase", "result", "role", "kind", "version", "le"}


def test_no_value_of_a_label_is_free_text(metrics: Metrics) -> None:
    """Words, numbers and versions."""
    values = {value for sample in samples(metrics) for value in sample.labels.values()}
    assert [value for value in values if not re.fullmatch(r"[A-Za-z0-9.+-]*", value)] == []


def test_an_outcome_is_counted_under_its_own_word(metrics: Metrics) -> None:
    """The enumeration, not its Python name."""
    metrics.requests.labels(Kind.DEAD, Reason.FILE_EMPTY).inc()
    found = metrics.registry.get_sample_value(f"{PREFIX}_requests_total", {"outcome": "dead", "reason": "file-empty"})
    assert found == 1


def test_counting_what_is_known_makes_no_new_series(metrics: Metrics) -> None:
    """Every reason was there before."""
    before = sum(1 for _ in samples(metrics))
    for reason in Reason:
        metrics.requests.labels(Kind.DEAD, reason).inc()
        metrics.requests.labels(Kind.RETRIED, reason).inc()
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
    one.files.inc()
    assert other.registry.get_sample_value(f"{PREFIX}_files_total") == 0


def test_a_registry_can_be_given() -> None:
    """To serve the metrics of a program around it, too."""
    registry = CollectorRegistry()
    assert Metrics(registry).registry is registry


def test_promtool_has_nothing_to_say(metrics: Metrics) -> None:
    """Names, units, types and help texts, with every series in use."""
    metrics.requests.labels(Kind.IMPORTED, "").inc()
    metrics.phase_seconds.labels(Phase.UPLOAD).observe(3)
    checked = subprocess.run(
        [promtool(), "check", "metrics"],
        input=generate_latest(metrics.registry),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")

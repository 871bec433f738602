"""What the exporter shows: nothing that is not known, nothing that is not documented."""

from __future__ import annotations

import re
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fleet_common.fleetmetrics import METRICS, Catalogue, FleetCollector, FleetView
from fleet_common.instruments import PREFIX
from fleet_common.metrics import Metrics
from fleet_stack.prometheus import promtool


def served(view: FleetView) -> str:
    """The page that a scrape gets."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(lambda: view))
    return generate_latest(registry).decode()


def test_what_is_not_known_is_left_out() -> None:
    """Given that RabbitMQ is away, then no queue has a number, and none is 0."""
    assert served(FleetView()) == ""


def test_what_is_known_is_shown_with_its_labels() -> None:
    """And nothing else."""
    page = served(FleetView({"queue_ready": {("hcs", "normal"): 3.0}, "retries_waiting": {(): 0.0}}))
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert lines == [f'{PREFIX}_queue_ready{{class="normal",lane="hcs"}} 3.0', f"{PREFIX}_retries_waiting 0.0"]


def test_every_scrape_asks_anew() -> None:
    """Given a view that changes, then the next scrape has the new one."""
    views = iter([FleetView({"retries_waiting": {(): 1.0}}), FleetView({"retries_waiting": {(): 2.0}})])
    registry = CollectorRegistry()
    registry.register(FleetCollector(lambda: next(views)))
    assert b"waiting 1.0" in generate_latest(registry)
    assert b"waiting 2.0" in generate_latest(registry)


def test_the_catalogue_has_every_metric_and_every_known_label() -> None:
    """It is what the reference page and the checks of queries read."""
    families = {family.name: family for family in Catalogue().collect()}
    assert families.keys() == {f"{PREFIX}_{shown.name}" for shown in METRICS}
    for shown in METRICS:
        samples = families[f"{PREFIX}_{shown.name}"].samples
        assert [tuple(sample.labels[name] for name in shown.labels) for sample in samples] == list(shown.known)


def test_no_label_names_people_files_requests_or_batches() -> None:
    """They would be without end, and private."""
    labels = {label for shown in METRICS for label in shown.labels}
    assert labels == {"source", "lane", "class", "reason", "kind", "state", "part", "pool"}


def test_no_name_is_a_workers_too() -> None:
    """A sum over both would mean nothing."""
    workers = {family.name for family in Metrics().registry.collect()}
    assert not workers & {f"{PREFIX}_{shown.name}" for shown in METRICS}


@pytest.mark.parametrize("shown", METRICS, ids=lambda shown: shown.name)
def test_a_text_is_one_sentence(shown: object) -> None:
    """With a capital and a full stop."""
    text = getattr(shown, "text", "")
    assert re.fullmatch(r"[A-Z0-9][^\n]*\.", text)


def test_promtool_has_nothing_to_say() -> None:
    """Names, units and types."""
    registry = CollectorRegistry()
    registry.register(Catalogue())
    checked = subprocess.run(
        [promtool(), "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")

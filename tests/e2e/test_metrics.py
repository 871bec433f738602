"""What a running worker serves on its one port."""

from __future__ import annotations

import json
import subprocess

from fleet_stack.fleet import WorkerProcess
from fleet_stack.prometheus import promtool


def test_promtool_has_nothing_to_say_about_a_real_workers_metrics(
    workers: tuple[WorkerProcess, WorkerProcess],
) -> None:
    """Names, units, types and help texts follow Prometheus's conventions."""
    status, page = workers[0].fetch("/metrics")
    assert status == 200
    checked = subprocess.run(
        [promtool(), "check", "metrics"], input=page, capture_output=True, text=True, check=False, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_ready_worker_says_what_it_has_checked(workers: tuple[WorkerProcess, WorkerProcess]) -> None:
    """Both connections to RabbitMQ, and OMERO."""
    status, body = workers[0].fetch("/readyz")
    assert status == 200
    checks = json.loads(body)["checks"]
    assert {"rabbitmq-consume", "rabbitmq-publish", "omero"} <= checks.keys()
    assert set(checks.values()) == {"ok"}


def test_liveness_does_not_ask_rabbitmq_or_omero(workers: tuple[WorkerProcess, WorkerProcess]) -> None:
    """A restart would kill running imports."""
    status, body = workers[0].fetch("/healthz")
    assert status == 200
    assert json.loads(body)["checks"].keys() == {"taker"}


def test_a_worker_needs_little_memory(workers: tuple[WorkerProcess, WorkerProcess]) -> None:
    """Under 300 MB, Ice and all."""
    assert 0 < workers[0].metric("process_resident_memory_bytes") < 300e6

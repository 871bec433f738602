"""The whole of the monitoring on real parts: RabbitMQ, OMERO, workers, a watch, exporter, notifications and Prometheus.

Requests are imported, refused and left lying on purpose; then every query of every dashboard and every rule is put to
Prometheus, the alerts for what was done fire, and people are told. The waits of alerts are cut to a second, thresholds
are real; tests/unit/test_rules_promtool.py evaluates every alert in its real time.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pika
import pytest
import yaml

from fleet_common.heartbeats import Heartbeat, Settle, encode_heartbeat
from fleet_common.messages import ImportRequest, encode
from fleet_dashboards.__main__ import FOLDER
from fleet_dashboards.make import BOARDS
from fleet_stack.console import StackError
from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import PlateSpec, make_plate, tiff
from fleet_stack.prometheus import Prometheus, promtool
from support.facility import Facility, until
from support.handmade import image_request
from support.receivers import WebReceiver, a_web_server

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "charts/omero-import-fleet/files/rules/omero-import-fleet.yaml"
WATCHER: Final = "confocal"
"""The lane, and account, of a producer that really watches a folder."""
ORPHAN: Final = "orphan"
"""A lane that no worker serves."""
SEEN: Final = "live-seen"
"""The folder that it watches."""
VALUES: Final[Mapping[str, str]] = {"$__rate_interval": "5m", "$namespace": ".*", "$job": ".*", "$lane": ".*"}
QUERIES: Final = {
    f"{board.name}: {panel.title}, {number}": query.expr
    for board in BOARDS
    for panel in board.panels()
    for number, query in enumerate(panel.queries)
}
QUIET: Final = frozenset({"fleet: Longest silence, 0"})
"""Empty while nothing is in work."""
EXPECTED: Final = frozenset(
    {
        "OmeroImportDeadLetters",
        "OmeroImportQueueWithoutWorkers",
        "OmeroImportIncompletePlate",
        "OmeroImportSpoolGrowing",
        "OmeroImportScanStalled",
    }
)
"""What was done on purpose."""
UNEXPECTED: Final = frozenset(
    {
        "OmeroImportMetricsAbsent",
        "OmeroImportSourceUnreadable",
        "OmeroImportOmeroUnreachable",
        "OmeroImportOmeroReadOnly",
        "OmeroImportLoginRefused",
        "OmeroImportDeliveryTimeoutTooShort",
        "OmeroImportStalled",
        "OmeroImportRequestTooOld",
        "OmeroImportProducerSilent",
        "OmeroImportPlateParked",
        "OmeroImportDefect",
        "OmeroImportNotificationsStuck",
        "OmeroImportNotifyLogUnread",
    }
)
"""What nothing was done for."""


@dataclass(frozen=True)
class Watched:
    """A fleet with its monitoring, after a day's work in a minute."""

    facility: Facility
    exporter: WorkerProcess
    watch: WorkerProcess
    prometheus: Prometheus
    web: WebReceiver
    refused: ImportRequest


@pytest.fixture(scope="module")
def watched(facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]) -> Iterator[Watched]:
    """Given a fleet that is watched, when a plate is imported, a request refused, one left lying and a producer ill."""
    ports = facility.layout.ports
    with ExitStack() as stack:
        web = stack.enter_context(a_web_server())
        exporter = facility.fleet.start_service("exporter", "exporter", ports.spare[-1], "exporter")
        stack.callback(exporter.stop)
        notifier = notifying(facility, web)
        stack.callback(notifier.stop)
        watch = watching(facility)
        stack.callback(watch.stop)
        for process in (exporter, notifier, watch):
            process.wait_ready()
        prometheus = Prometheus(facility.layout.state / "prometheus", ports.prometheus)
        stack.callback(prometheus.stop)
        ports_scraped = [process.port for process in (*workers, exporter, notifier, watch)]
        jobs = {"omero-import-fleet": ports_scraped}
        prometheus.start(jobs, impatient(facility.layout.state / "rules.yaml"))
        until(lambda: len(prometheus.query("omero_import_build_info")) == len(ports_scraped), 60, "a scrape of all")
        leave_lying(facility)
        tell_of_an_ill_producer(facility)
        refused = refuse_one(facility)
        make_plate(facility.share("hcs") / SEEN, PlateSpec(name="seen", wells=2, fields=1, channels=1))
        import_a_plate(facility)
        try:
            yield Watched(facility, exporter, watch, prometheus, web, refused)
        finally:
            print(exporter.tail(), notifier.tail(), watch.tail())  # noqa: T201  pytest shows it beside a failure


def notifying(facility: Facility, web: WebReceiver) -> WorkerProcess:
    """The process that tells people, with a receiver of the test's own."""
    folder = facility.layout.state / "notify"
    folder.mkdir(exist_ok=True)
    url = folder / "url"
    url.write_text(f"http://127.0.0.1:{web.port}/hook")
    settings = {
        "webhook_url_file": str(url),
        "state_file": str(folder / "place.json"),
        "gather_seconds": 0,
        "quiet_seconds": 1,
    }
    fleet = replace(facility.fleet, folder=folder, extra={"notify": settings})
    return fleet.start_service("monitor", "notify", facility.layout.ports.spare[-2], "notify")


def watching(facility: Facility) -> WorkerProcess:
    """A producer that watches a folder for plates, tells heartbeats, and is scraped as well."""
    folder = facility.share("hcs") / SEEN
    folder.mkdir()
    rule = {"user": "alice", "group": "screening", "target": "Screen:+name:E2E seen"}
    settings = {
        "folders": [{"path": str(folder), "settle_seconds": 1}],
        "rules": [rule],
        "poll_seconds": 0.5,
        "slowest_seconds": 1,
        "busy_percent": 100,
        "heartbeat_seconds": 1,
    }
    place = facility.layout.state / "watch"
    fleet = replace(facility.fleet, folder=place, extra={**facility.fleet.extra, "watch": settings})
    return fleet.start_service(WATCHER, "watch", facility.layout.ports.spare[-3], "watch")


def impatient(file: Path) -> Path:
    """The rules with waits of a second."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in groups["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    file.write_text(yaml.safe_dump(groups), encoding="utf-8")
    return file


def leave_lying(facility: Facility) -> None:
    """A request in a lane of its own, for which there is no worker."""
    done = facility.fleet.run("topology", "topology", "apply", "--lane", ORPHAN)
    assert done.returncode == 0, done.stderr
    image = facility.share("confocal") / "live" / "orphan.tif"
    image.parent.mkdir(exist_ok=True)
    request = image_request(facility, tiff(image, size=32, seed=1)).model_copy(update={"lane": ORPHAN})
    with facility.channel("topology") as channel:
        properties = pika.BasicProperties(delivery_mode=2, message_id=str(request.request_id), user_id="topology")
        channel.basic_publish("import.requests", request.routing_key, encode(request), properties, mandatory=True)


def tell_of_an_ill_producer(facility: Facility) -> None:
    """One heartbeat of a host with everything wrong, by the producer's own account."""
    beat = Heartbeat(
        lane="hcs",
        host="acquisition-1",
        at=datetime.now(UTC),
        spool_requests=2,
        spool_bytes=2000,
        unconfirmed=1,
        oldest_unconfirmed_seconds=4000,
        acquisitions={Settle.ACQUIRING: 1, Settle.INCOMPLETE: 1},
        seconds_since_scan=8000,
    )
    with facility.channel("hcs") as channel:
        channel.basic_publish("import.events", beat.routing_key, encode_heartbeat(beat))


def refuse_one(facility: Facility) -> ImportRequest:
    """A request for somebody who is no user of OMERO, published past the producer's checks."""
    image = tiff(facility.share("confocal") / "live" / "refused.tif", size=32, seed=2)
    request = image_request(facility, image)
    refused = request.model_copy(
        update={"owner": request.owner.model_copy(update={"user": f"x{uuid.uuid4().hex[:8]}"})}
    )
    facility.publish(refused.lane, encode(refused), request_id=refused.request_id)
    facility.dead_letter(str(refused.request_id))
    return refused


def import_a_plate(facility: Facility) -> None:
    """A small plate, from submission to its outcome."""
    plate = make_plate(facility.share("hcs") / "live", PlateSpec(name="live", wells=4, fields=1, channels=1))
    done = facility.submit(plate.folder, target="Screen:+name:E2E live", options=("--batch", "live"))
    assert done.exit_code == 0, done.errors


def asked(prometheus: Prometheus, query: str) -> list[dict[str, Any]]:
    """What Grafana would show when everything is chosen."""
    for variable, value in VALUES.items():
        query = query.replace(variable, value)
    return prometheus.query(query)


def value(prometheus: Prometheus, query: str) -> float:
    """The one number that a query gives; not a number where it gives none."""
    found = prometheus.query(query)
    return float(found[0]["value"][1]) if len(found) == 1 else float("nan")


def test_the_queries_are_those_of_the_committed_files() -> None:
    """The tests below ask what Grafana asks."""
    committed = [
        target["expr"]
        for board in BOARDS
        for panel in json.loads((FOLDER / f"{board.name}.json").read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", ())
    ]
    assert committed == list(QUERIES.values())


@pytest.mark.parametrize("place", QUERIES)
def test_every_query_of_every_dashboard_finds_something(watched: Watched, place: str) -> None:
    """Given a fleet at work, then a query neither fails nor comes back empty."""

    def answered() -> bool:
        return bool(asked(watched.prometheus, QUERIES[place])) or place in QUIET

    # The exporter looks every 15 s.
    until(lambda: answered() or None, 40, f"series for {place}: {QUERIES[place]}")


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    """And each recording rule has a series."""
    rules = watched.prometheus.rules()
    names = {rule["name"] for rule in rules}
    assert len(rules) == len(re.findall(r"(?m)^ +- (?:alert|record):", RULES.read_text(encoding="utf-8")))
    assert names >= EXPECTED | UNEXPECTED
    assert {(rule["name"], rule["health"], rule.get("lastError", "")) for rule in rules} == {
        (name, "ok", "") for name in names
    }
    for name in (rule["name"] for rule in rules if rule["type"] == "recording"):
        until(lambda name=name: watched.prometheus.query(name) or None, 30, f"series for {name}")  # type: ignore[misc]


def test_the_alerts_for_what_was_done_fire_and_no_others(watched: Watched) -> None:
    """Given a dead letter, a lane without workers and an ill producer, then people are woken for these."""
    until(lambda: watched.prometheus.firing() >= EXPECTED or None, 60, f"{sorted(EXPECTED)}")
    assert watched.prometheus.firing() & UNEXPECTED == set()


def test_the_numbers_are_true(watched: Watched) -> None:
    """Given what was done, then the fleet shows exactly that."""
    ask = watched.prometheus
    assert value(ask, f'sum(omero_import_queue_ready{{lane="{ORPHAN}"}})') == 1
    assert value(ask, 'omero_import_dead_letters{reason="owner-unknown"}') >= 1
    assert value(ask, "omero_import_workers_connected") == 2
    assert value(ask, 'sum(omero_import_requests_total{outcome="dead",reason="owner-unknown"})') >= 1
    assert value(ask, "sum(omero_import_plates_total)") >= 1
    assert value(ask, "sum(omero_import_bytes_total) > bool 0") == 1
    assert value(ask, 'omero_import_slots_configured{kind="import"}') == 4
    assert value(ask, 'omero_import_producer_spool_requests{lane="hcs"}') >= 2
    assert value(ask, 'omero_import_producer_acquisitions{lane="hcs",state="acquiring"}') >= 1
    assert value(ask, "omero_import_delivery_timeout_seconds") == 7 * 86400
    assert value(ask, "omero_import_omero_read_only") == 0
    assert value(ask, "omero_import_omero_free_bytes > bool 1e6") == 1
    assert value(ask, 'omero_import_omero_threads{pool="min_threads"}') == 5
    assert value(ask, "omero_import_omero_open_sessions") >= 2
    assert value(ask, "max(time() - omero_import_producer_last_heartbeat_timestamp_seconds) > bool 900") == 0


def test_what_a_real_watch_tells_in_heartbeats_is_what_it_shows_to_who_can_scrape_it(watched: Watched) -> None:
    """Given a producer that has published the plate of its folder, then both ways say so, and that it lives."""
    ask, lane = watched.prometheus, f'lane="{WATCHER}"'
    told = f'omero_import_producer_acquisitions{{{lane},state="published"}}'
    until(lambda: value(ask, told) == 1 or None, 60, "a heartbeat after the plate was published")
    until(lambda: value(ask, 'omero_import_watch_plates{state="published"}') == 1 or None, 30, "a scrape")
    assert value(ask, f"omero_import_producer_unconfirmed_requests{{{lane}}}") == 0
    for quiet in ("parked", "folders_away"):
        assert value(ask, f"omero_import_watch_{quiet}") == value(ask, f"omero_import_producer_{quiet}{{{lane}}}") == 0
    for seconds in (f"omero_import_producer_seconds_since_scan{{{lane}}}", "omero_import_watch_seconds_since_scan"):
        assert 0 <= value(ask, seconds) < 60
    assert 0 <= value(ask, f"time() - omero_import_producer_last_heartbeat_timestamp_seconds{{{lane}}}") < 60
    assert watched.watch.process.poll() is None


def test_the_batch_is_seen_to_its_end(watched: Watched) -> None:
    """The newest batch of the lane is the plate."""
    ask = watched.prometheus
    until(lambda: value(ask, 'omero_import_batch_requests{lane="demo",state="imported"}') == 1 or None, 40, "the batch")
    assert value(ask, 'sum(omero_import_batch_requests{lane="demo"})') == 1
    sent = value(ask, 'omero_import_batch_sent{lane="demo",part="files"}')
    assert sent == value(ask, 'omero_import_batch_size{lane="demo",part="files"}') > 0


def test_people_are_told_of_the_dead_request_and_of_the_finished_batch(watched: Watched) -> None:
    """Given a receiver, then it has both, with what to do."""

    def notes(kind: str) -> list[dict[str, Any]]:
        return [note for post in watched.web.posts for note in post["notes"] if note["kind"] == kind]

    dead = until(lambda: notes("dead"), 30, "a note of the dead request")
    assert str(watched.refused.request_id) in {note["request_id"] for note in dead}
    assert all(note["next_action"] for note in dead)
    finished = until(lambda: [note for note in notes("finished") if note["batch"] == "live"], 30, "a note of the batch")
    assert finished[0]["message"] == "of 1 request 1 imported"


def test_promtool_has_nothing_to_say_about_a_real_exporters_metrics(watched: Watched) -> None:
    """And it needs little memory."""
    page = watched.exporter.fetch("/metrics")[1]
    checked = subprocess.run(
        [promtool(), "check", "metrics"], input=page, capture_output=True, text=True, check=False, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert 0 < watched.exporter.metric("process_resident_memory_bytes") < 300e6


def test_a_query_that_is_none_is_said(watched: Watched) -> None:
    """Or a broken panel would pass for an empty one."""
    with pytest.raises(StackError, match="parse error"):
        watched.prometheus.query("sum(")


def test_the_exporter_ends_in_order(watched: Watched) -> None:
    """As Kubernetes ends it."""
    began = time.monotonic()
    assert watched.exporter.stop() == 0
    assert time.monotonic() - began < 30

"""What the doctor finds, and what it means."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from fleet_common.errors import Reason, failure
from fleet_common.settings import BrokerSettings, LaneRule, OmeroSettings, ScanSettings, Settings, WorkerSettings
from fleet_worker import findings
from fleet_worker.checkup import Checkup, share_problem
from fleet_worker.findings import Verdict
from fleet_worker.omero.facts import ServerInfo
from fleet_worker.omero.serverfacts import ServerLimits
from fleet_worker.scan import Launch, Limits, Scanner
from support import fake_reader

WEEK_SECONDS = 7 * 86400.0


def test_a_worker_without_lanes_has_nothing_to_do() -> None:
    """Nor can it use a share that has no path here."""
    assert findings.of_settings(Settings()).verdict is Verdict.FAIL
    lanes = {"phenix1": LaneRule(shares={"hcs": ("",)})}
    lost = findings.of_settings(Settings(worker=WorkerSettings(lanes=lanes)))
    assert (lost.verdict, "hcs" in lost.text) == (Verdict.FAIL, True)
    fine = findings.of_settings(Settings(worker=WorkerSettings(lanes=lanes), shares={"hcs": Path("/data")}))
    assert (fine.verdict, fine.text) == (Verdict.OK, "1 lanes (phenix1), 1 shares")


@pytest.mark.parametrize(
    ("version", "deadline_seconds", "verdict", "says"),
    [
        ((4, 0, 5), 6 * 86400.0, Verdict.OK, "imports end by 518,400 s"),
        ((3, 10, 8), 6 * 86400.0, Verdict.WARN, "cannot be read from here"),
        ((4, 0, 5), WEEK_SECONDS, Verdict.FAIL, "give it up after 604,800 s"),
    ],
)
def test_the_delivery_time_out_must_be_longer_than_an_import(
    version: tuple[int, ...], deadline_seconds: float, verdict: Verdict, says: str
) -> None:
    """On 3.10 it cannot be checked, and the doctor says what it must be."""
    found = findings.of_delivery_timeout(version, deadline_seconds)
    assert (found.verdict, says in found.text) == (verdict, True)
    assert ("consumer_timeout = 604800000" in found.advice) is (version < (4, 0))


@pytest.mark.parametrize(
    ("missing", "hidden", "verdict"),
    [((), (), Verdict.OK), ((), ("import.dead",), Verdict.WARN), (("import.lane.a.bulk",), (), Verdict.FAIL)],
)
def test_a_topology_that_lacks_something_is_named(
    missing: tuple[str, ...], hidden: tuple[str, ...], verdict: Verdict
) -> None:
    """By the queues that are not there."""
    found = findings.of_topology(missing, hidden, 20)
    assert found.verdict is verdict
    assert all(name in found.text for name in (*missing, *hidden))


@pytest.mark.parametrize(
    ("privileges", "verdict"), [(("Sudo",), Verdict.OK), (("Chown", "Sudo"), Verdict.WARN), ((), Verdict.WARN)]
)
def test_more_than_sudo_is_more_than_needed(privileges: tuple[str, ...], verdict: Verdict) -> None:
    """Whoever has the password has all of them."""
    assert findings.of_account(ServerInfo("5.6.3", (), privileges), "importer").verdict is verdict


@pytest.mark.parametrize(("known", "verdict"), [("hcs", Verdict.OK), ("confocal", Verdict.FAIL)])
def test_a_share_that_is_imported_in_place_has_a_path_here(known: str, verdict: Verdict) -> None:
    """Beside the one that OMERO sees."""
    place = {"repository": "/OMERO/ManagedRepository", "shares": {"hcs": "/data/hcs"}}
    settings = Settings.model_validate({"in_place": place, "shares": {known: "/mnt"}})
    (found,) = findings.of_in_place(settings)
    assert (found.verdict, "hcs" in found.text) == (verdict, True)


def verdicts(limits: ServerLimits, omero: OmeroSettings) -> list[Verdict]:
    """Of everything that is said about slots."""
    return [one.verdict for one in findings.of_limits(limits, omero)]


def test_more_slots_than_the_server_bears_are_refused() -> None:
    """With what they may be; what the server does not tell is for a person to compare."""
    default = ServerLimits(min_threads=5, background_threads=10)
    assert verdicts(default, OmeroSettings()) == [Verdict.OK, Verdict.OK]
    found = findings.of_limits(default, OmeroSettings(import_slots=5))
    assert (found[0].verdict, "OMERO bears 4" in found[0].text) == (Verdict.FAIL, True)
    assert verdicts(ServerLimits(), OmeroSettings()) == [Verdict.WARN]
    assert verdicts(ServerLimits(9, 9, None), OmeroSettings(import_slots=8)) == [Verdict.OK, Verdict.WARN]
    assert verdicts(ServerLimits(5, 10, 8), OmeroSettings()) == [Verdict.FAIL]


def test_the_size_of_the_fleet_follows_from_the_slots() -> None:
    found = findings.of_size(OmeroSettings(), WorkerSettings())
    assert found.verdict is Verdict.OK
    assert found.text.startswith("3 workers with parallel_filesets 2 keep 4 import slots busy; more than 4 only add")


def test_space_locks_and_clocks_are_judged() -> None:
    """Each with what to do."""
    assert findings.of_space(5, 6).verdict is Verdict.FAIL
    assert findings.of_space(6, 6).verdict is Verdict.OK
    assert findings.of_space(None, 6).verdict is Verdict.WARN
    assert findings.of_read_only(("database",)).verdict is Verdict.FAIL
    assert findings.of_read_only(()).verdict is Verdict.OK
    assert findings.of_clock(-6.0).verdict is Verdict.WARN
    assert findings.of_clock(0.2).verdict is Verdict.OK
    assert findings.of_template("%user%/%year%", is_known=False).verdict is Verdict.WARN


def test_an_error_comes_with_what_the_table_says_to_do() -> None:
    """In the words of dead letters and status."""
    found = findings.failed("omero", failure(Reason.OMERO_LOGIN_REFUSED, "wrong password"))
    assert found.text == "omero-login-refused: wrong password"
    assert found.advice.startswith("Check the service account")


def test_a_share_that_is_not_mounted_is_found(tmp_path: Path) -> None:
    """An empty folder is most likely a mount point without its mount."""
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.mkdir()
    (full / "plate").mkdir(parents=True)
    assert share_problem(full) == ""
    assert "nothing is mounted" in share_problem(empty)
    assert "No such file" in share_problem(tmp_path / "gone")
    found = findings.of_shares({"hcs": "gone"}, {"hcs": tmp_path, "confocal": full})
    assert [one.verdict for one in found] == [Verdict.OK, Verdict.FAIL]


def test_a_worker_without_bioformats_is_well_and_says_what_it_cannot_do() -> None:
    """Most workers need none."""
    none, some = findings.of_scan(None), findings.of_scan("6.7.0")
    assert (none.verdict, "scan.jar" in none.text) == (Verdict.OK, True)
    assert (some.verdict, some.text) == (Verdict.OK, "Bio-Formats 6.7.0 answers, and has no network")


@pytest.fixture
def checkup() -> Callable[[ScanSettings], Checkup]:
    """Makes the look at a worker with these settings; no server is asked."""
    password = SecretStr("hunter2")

    def make(scan: ScanSettings) -> Checkup:
        broker = BrokerSettings(user="worker", password=password)
        return Checkup(Settings(broker=broker, omero=OmeroSettings(user="importer", password=password), scan=scan))

    return make


def test_a_jar_that_is_not_there_is_found_before_a_worker_starts(
    checkup: Callable[[ScanSettings], Checkup], tmp_path: Path
) -> None:
    """With the setting to correct."""
    found = checkup(ScanSettings(jar=tmp_path / "none.jar")).of_scan()
    assert (found.verdict, "scan.jar" in found.advice) == (Verdict.FAIL, True)
    assert checkup(ScanSettings()).of_scan().verdict is Verdict.OK


@pytest.mark.parametrize(("first", "verdict"), [('{"version": "6.7.0"}', Verdict.OK), ("no Java", Verdict.FAIL)])
def test_bioformats_is_started_to_see_whether_it_answers(
    checkup: Callable[[ScanSettings], Checkup], monkeypatch: pytest.MonkeyPatch, first: str, verdict: Verdict
) -> None:
    """A jar may be there and not fit."""
    made = Scanner(Launch((sys.executable, fake_reader.__file__, first), Limits(start_seconds=30)))
    monkeypatch.setattr("fleet_worker.checkup.scanner_of", lambda _settings: made)
    found = checkup(ScanSettings()).of_scan()
    assert found.verdict is verdict
    assert made._child is None


@pytest.mark.parametrize(("online", "verdict"), [("", Verdict.OK), ("no filter is known for it", Verdict.WARN)])
def test_a_scan_that_has_the_network_is_told(online: str, verdict: Verdict) -> None:
    """What reads files of strangers should reach nothing; where it can, somebody should know."""
    found = findings.of_scan("6.7.0", online)
    assert found.verdict is verdict
    assert "network" in found.text
    assert online in found.text

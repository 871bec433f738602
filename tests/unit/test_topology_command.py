"""``omero-fleet topology`` with a facility's own retry tiers: shown, declared and verified by the same names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_common import broker
from fleet_common.broker import Names
from fleet_common.broker.findings import Difference
from fleet_common.cli import run
from fleet_common.exits import Exit


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator whose fleet retries after 1, 2 and 4 s."""
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
    monkeypatch.setenv("OMERO_FLEET_BROKER__USER", "topology")
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD", "hunter2")
    monkeypatch.setenv("OMERO_FLEET_BROKER__RETRY_TIERS_SECONDS", "[1, 2, 4]")


def test_show_lists_the_tiers_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """And none of the usual ones."""
    assert run(["topology", "show", "--lane", "demo", "--json"]) == Exit.OK
    queues = [queue["name"] for queue in json.loads(capsys.readouterr().out)["queues"]]
    assert [name for name in queues if ".retry." in name] == ["import.retry.1", "import.retry.2", "import.retry.4"]


def test_apply_declares_the_tiers_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names that workers have, too."""
    applied: list[tuple[Any, ...]] = []
    monkeypatch.setattr(broker, "apply", lambda *arguments: applied.append(arguments))
    assert run(["topology", "apply", "--lane", "demo"]) == Exit.OK
    assert [arguments[1:] for arguments in applied] == [(("demo",), Names(tiers_seconds=(1, 2, 4)))]


@pytest.mark.parametrize(
    ("found", "code"),
    [([], Exit.OK), ([Difference(subject="queue import.retry.4", problem="is not there", advice="a")], Exit.DIFFERENT)],
)
def test_verify_compares_the_tiers_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: list[Difference], code: Exit
) -> None:
    """And ends with 8 when one is missing."""
    asked: list[Names] = []

    def verify(_address: Any, _lanes: Any, names: Names, **_more: Any) -> list[Difference]:
        asked.append(names)
        return found

    monkeypatch.setattr(broker, "verify", verify)
    assert run(["topology", "verify", "--lane", "demo", "--json"]) == code
    assert asked == [Names(tiers_seconds=(1, 2, 4))]
    assert [one["subject"] for one in json.loads(capsys.readouterr().out)] == [one.subject for one in found]

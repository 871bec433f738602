"""The alerts as the chart installs them: the file that Compose mounts, with what the values say otherwise."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import helm_python
import jsonschema
import pytest
import yaml

from fleet_stack.prometheus import promtool
from support.chart import CHART, Values, case, crd_schema, merged, of_kind, rendered

FILE: Final[Values] = yaml.safe_load((CHART / "files/rules/omero-import-fleet.yaml").read_text(encoding="utf-8"))
RUNBOOK: Final = "https://git.example.org/fleet/blob/main"


def installed(change: Values | None = None) -> Values:
    """What the operator of Prometheus is given when the values say so of `metrics.rules`."""
    rules = {"enabled": True} | (change or {})
    (found,) = of_kind(merged(case("minimal"), {"metrics": {"rules": rules}}), "PrometheusRule")
    spec: Values = found["spec"]
    return spec


def alerts(spec: Values) -> dict[str, Values]:
    """The alerts by name."""
    return {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"] if "alert" in rule}


def recorded(spec: Values) -> list[str]:
    """The names of the recording rules."""
    return [rule["record"] for group in spec["groups"] for rule in group["rules"] if "record" in rule]


def test_what_the_values_do_not_change_is_the_very_file() -> None:
    """The defaults of all thresholds are the numbers that stand there."""
    assert installed() == FILE


@pytest.mark.parametrize(
    ("threshold", "moved"),
    [
        ("requestAgeSeconds", {"OmeroImportRequestTooOld"}),
        ("silenceSeconds", {"OmeroImportStalled"}),
        ("serverSilenceSeconds", {"OmeroImportStalled"}),
        ("failureRatio", {"OmeroImportFailureRatioHigh"}),
        ("failureRequests", {"OmeroImportFailureRatioHigh"}),
        ("producerSilentSeconds", {"OmeroImportProducerSilent", "OmeroImportScanStalled"}),
        ("scanSeconds", {"OmeroImportScanStalled"}),
        ("spoolSeconds", {"OmeroImportSpoolGrowing"}),
        ("freeBytes", {"OmeroImportSpaceLow"}),
    ],
)
def test_a_threshold_moves_its_alerts_and_no_others(threshold: str, moved: set[str]) -> None:
    """Given another number, then it stands once in each of their expressions, in place of the default."""
    number: float = 0.125 if threshold == "failureRatio" else 123456789012
    (default,) = (one for name, one in defaults().items() if name == threshold)
    before, after = alerts(FILE), alerts(installed({"thresholds": {threshold: number}}))

    assert {name for name, rule in after.items() if rule != before[name]} == moved
    for name in moved:
        assert after[name]["expr"].count(f" {number}") == 1
        assert after[name] | {"expr": ""} == before[name] | {"expr": ""}
        assert before[name]["expr"] in {
            after[name]["expr"].replace(f"{sign} {number}", f"{sign} {default}") for sign in (">", ">=", "<")
        }


def test_every_threshold_of_the_values_moves_something() -> None:
    """Or it would be a promise that nobody keeps."""
    for name, default in defaults().items():
        assert installed({"thresholds": {name: default / 2 if name == "failureRatio" else default + 1}}) != FILE, name


def defaults() -> dict[str, Any]:
    """The thresholds of values.yaml."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = values["metrics"]["rules"]["thresholds"]
    return found


def test_numbers_that_become_equal_stay_those_of_their_phases() -> None:
    """Given both times of silence exchanged, then each phase has the other's."""
    expression = alerts(installed({"thresholds": {"silenceSeconds": 36000, "serverSilenceSeconds": 3600}}))[
        "OmeroImportStalled"
    ]["expr"]
    assert [line.rpartition("> ")[2] for line in expression.split(" or ")] == ["36000", "3600"]


@pytest.mark.parametrize("base", [RUNBOOK, f"{RUNBOOK}/"])
def test_links_to_the_runbook_lead_to_where_people_read_it(base: str) -> None:
    """With or without a slash at its end."""
    for name, rule in alerts(installed({"runbookBase": base})).items():
        path = alerts(FILE)[name]["annotations"]["runbook_url"]
        assert rule["annotations"] == alerts(FILE)[name]["annotations"] | {"runbook_url": f"{RUNBOOK}/{path}"}


def test_alerts_that_are_not_wanted_are_left_out() -> None:
    """And nothing else is."""
    unwanted = ["OmeroImportSlow", "OmeroImportPlateParked"]
    spec = installed({"disabled": unwanted})

    assert alerts(spec) == {name: rule for name, rule in alerts(FILE).items() if name not in unwanted}
    assert recorded(spec) == recorded(FILE)


@pytest.mark.parametrize(
    "change",
    [
        {"disabled": ["OmeroImportSlwo"]},
        {"thresholds": {"requestAge": 1}},
        {"thresholds": {"failureRatio": 20}},
        {"thresholds": {"freeBytes": "50G"}},
        {"runbookBase": "docs"},
    ],
)
def test_what_is_no_alert_threshold_or_address_is_refused(change: Values) -> None:
    """Before anything is installed."""
    with pytest.raises(helm_python.HelmValuesError):
        rendered(merged(case("minimal"), {"metrics": {"rules": change}}))


def test_what_is_installed_is_what_prometheus_understands(tmp_path: Path) -> None:
    """Given everything changed, then its operator and Prometheus accept it."""
    change = {"runbookBase": RUNBOOK, "disabled": ["OmeroImportSlow"], "thresholds": {"freeBytes": 10**12}}
    spec = installed(change)
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(spec), encoding="utf-8")
    done = subprocess.run([promtool(), "check", "rules", file], capture_output=True, check=False, timeout=60)

    jsonschema.validate(spec, crd_schema("PrometheusRule"))
    assert (done.returncode, done.stderr) == (0, b"")

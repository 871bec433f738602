"""Where pods run: every component can be told, hooks and tests included."""

from __future__ import annotations

from typing import Final

import pytest

from support.chart import Values, case, merged, of_kind, one_of, pod_of

PLACEMENT: Final[Values] = {
    "nodeSelector": {"storage": "near"},
    "tolerations": [{"key": "imaging", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "imports",
}


def placed(pod: Values) -> Values:
    """What a pod says of its place."""
    return {name: pod[name] for name in PLACEMENT if name in pod}


def pod_of_test(values: Values, name: str) -> Values:
    """A pod of `helm test`."""
    (found,) = (one["spec"] for one in of_kind(values, "Pod") if one["metadata"]["name"] == f"fleet-test-{name}")
    pod: Values = found
    return pod


@pytest.mark.parametrize(
    ("change", "component"),
    [
        ({"worker": PLACEMENT}, "worker"),
        ({"worker": PLACEMENT}, "worker-inplace"),
        ({"workerClasses": {"inplace": PLACEMENT}}, "worker-inplace"),
        ({"exporter": PLACEMENT}, "exporter"),
        ({"notify": PLACEMENT}, "notify"),
        ({"producers": {"phenix1": PLACEMENT}}, "producer-phenix1"),
    ],
)
def test_a_component_runs_where_its_values_say(change: Values, component: str) -> None:
    """A class of workers says it itself, or has it from worker."""
    assert placed(pod_of(merged(bare(), change), component)) == PLACEMENT


def test_the_hook_runs_where_topology_says() -> None:
    """In a cluster whose nodes are all tainted it would never start otherwise."""
    job = one_of(merged(bare(), {"topology": PLACEMENT}), "Job", "topology")
    assert placed(job["spec"]["template"]["spec"]) == PLACEMENT


@pytest.mark.parametrize(("part", "name"), [("worker", "worker"), ("exporter", "metrics"), ("topology", "topology")])
def test_a_test_runs_where_what_it_tests_does(part: str, name: str) -> None:
    """So it sees the same network and shares."""
    assert placed(pod_of_test(merged(bare(), {part: PLACEMENT}), name)) == PLACEMENT


def test_nothing_is_said_of_a_place_unasked() -> None:
    """The cluster chooses."""
    for component in ("worker", "exporter", "notify", "producer-phenix1"):
        assert placed(pod_of(bare(), component)) == {}


def bare() -> Values:
    """The full case without what it says of places."""
    return without_places(case("full"))


def without_places(part: Values) -> Values:
    """Values, or a part of them, without what says where pods run."""
    kept = {key: value for key, value in part.items() if key not in PLACEMENT}
    return {key: without_places(value) if isinstance(value, dict) else value for key, value in kept.items()}

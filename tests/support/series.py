"""Reads metrics of a registry in tests."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from fleet_common.instruments import PREFIX


def total(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """The sum of all series of one of the fleet's metrics that have these labels; fails when there is none."""
    found = [
        sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == f"{PREFIX}_{name}" and labels.items() <= sample.labels.items()
    ]
    assert found, f"no series {name} {labels}"
    return sum(found)

"""The cases of the benchmark: their names, how they are chosen, and what the fleet's side reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_bench import fleetside, material, registry
from fleet_bench.targets import WANTED


def test_every_comparison_that_has_a_target_is_measured() -> None:
    names = [case.name for case in registry.CASES]
    assert len(names) == len(set(names))
    assert set(WANTED) <= set(names)


def test_cases_are_chosen_by_the_beginning_of_their_names() -> None:
    assert [case.name for case in registry.chosen("many-, big")] == ["many-1x1", "many-4x4", "many-best", "big"]
    assert registry.chosen("") == registry.CASES


def test_an_unknown_case_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="no case begins with many-5x5: there are around-rest"):
        registry.chosen("many-5x5")


def test_many_are_four_filesets_of_101_files(tmp_path: Path) -> None:
    """The shape that the importer's own authors measured: 404 files."""
    made = material.many(tmp_path)
    assert [len(one.files) for one in made] == [101] * 4
    assert all(one.entry.name == "Index.idx.xml" and one.entry.exists() for one in made)


def test_the_fleets_run_adds_up_the_phases_of_its_requests() -> None:
    results = [
        {"files": 2, "bytes": 10, "seconds": {"upload": 1.5, "verify": 0.5}},
        {"files": 3, "bytes": 20, "seconds": {"upload": 2.0}},
    ]
    text = json.dumps({"requests": [{"status": {"result": result}} for result in results]})
    run = fleetside.read(text, 9.0)
    assert (run.whole_seconds, run.upload_seconds, run.files, run.bytes) == (9.0, 3.5, 5, 30)
    assert run.parts == {"verify": 0.5}

"""The plate imported with links instead of copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fleet_bench.cases import plate
from fleet_bench.comparison import Comparison
from fleet_bench.model import Case
from fleet_bench.stage import SHARE, Stage

_TITLE: Final = "the plate in place (ln_s), {}; without thumbnails and minima, which only the server would work at"


def _settings(stage: Stage) -> Mapping[str, Mapping[str, Any]]:
    return {"in_place": {"repository": str(stage.repository), "shares": {SHARE: str(stage.share)}}}


def _comparison(name: str, algorithm: str) -> Comparison:
    checksum = f"--checksum-algorithm={algorithm}"
    return Comparison(
        name,
        _TITLE.format(algorithm),
        plate.make,
        "Screen",
        uploads=8,
        filesets=1,
        fleet_options=(checksum, "--skip=minmax", "--skip=thumbnails"),
        # As omero import translates --skip.
        importer_options=("--transfer=ln_s", checksum, "--no-stats-info", "--no-thumbnails"),
        settings=_settings,
        floor=False,
        budget_seconds=120,
    )


_ALL: Final = (_comparison("in-place-size", "File-Size-64"), _comparison("in-place-sha1", "SHA1-160"))
CASES: Final = tuple(Case(one.name, one.title, one.measure, minutes=4) for one in _ALL)

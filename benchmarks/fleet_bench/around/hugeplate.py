"""Plates of 10,000 to 100,000 files: what a worker's transfer takes for each file, and how much memory.

A server would work for hours on such a plate, so a stand-in takes the files: it reads each in chunks and hashes it as
a worker does, and sends nothing. All else is the worker's: it decodes the request, reads the plate's index, lists and
measures the files, compares them with the manifest, and uploads with its pool. Each plate has a process of its own,
:mod:`hugeworker`, which has loaded all that a worker loads. Threading: one thread and the pool.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fleet_bench.around.figures import figure
from fleet_bench.model import Case, Curve, Effort, Result, Target
from fleet_bench.stage import GROUP, LANE, SHARE, USER, Stage
from fleet_common.assembling import Order
from fleet_common.messages import Batch, Options, Owner, Priority, SubmittedBy, encode
from fleet_common.storage import Share, Shares
from fleet_producer.prepare import prepare
from fleet_stack.fleet import clean_environment
from fleet_stack.plates import MadePlate, PlateSpec, make_plate, tiff

NAME: Final = "around-huge-plate"
_TITLE: Final = "plates of 10,000 to 100,000 files, against a stand-in for the server"
_WELLS: Final = 384
_CHANNELS: Final = 3
_FIELDS: Final = (9, 26, 87)
_QUICK_FIELDS: Final = (1, 2, 4)
_MS: Final = 1000.0
_MEGABYTE: Final = 1e6


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one plate took.

    Attributes:
        files: All of them.
        listing_seconds: From the request to its files, measured and compared with the manifest.
        transfer_seconds: From the first to the last file.
        memory_bytes: The most that the process ever had.
    """

    files: int
    listing_seconds: float
    transfer_seconds: float
    memory_bytes: int


def measure(stage: Stage, effort: Effort) -> Result:
    """Make, transfer and remove one plate after the other."""
    done = [_one(stage, fields) for fields in (_QUICK_FIELDS if effort.quick else _FIELDS)]
    each = {one.files: one.transfer_seconds / one.files * _MS for one in done}
    listing = {one.files: one.listing_seconds / one.files * _MS for one in done}
    memory = {one.files: one.memory_bytes / _MEGABYTE for one in done}
    small, large = min(each), max(each)
    return Result(
        case=NAME,
        title=_TITLE,
        figures=(
            figure(f"memory at {large:,} files", "MB", [memory[large]], Target(limit=400)),
            figure(f"time of a file, {large:,} by {small:,}", "x", [each[large] / each[small]], Target(limit=1.2)),
            *(figure(f"a file of {files:,}", "ms", [value]) for files, value in each.items()),
            *(figure(f"listing a file of {files:,}", "ms", [value]) for files, value in listing.items()),
        ),
        curves=(_curve("transfer", "ms a file", each), _curve("memory", "MB", memory)),
        notes=("a stand-in for the server reads and hashes the files, and keeps nothing",),
    )


def _curve(name: str, unit: str, values: dict[int, float]) -> Curve:
    return Curve(name=name, x="files", y=unit, points=tuple((float(files), value) for files, value in values.items()))


def _one(stage: Stage, fields: int) -> Transfer:
    root = stage.share / "huge"
    spec = PlateSpec(name=f"huge-{fields}", wells=_WELLS, fields=fields, channels=_CHANNELS, size=8)
    try:
        plate = make_plate(root, spec, write_images=same_images)
        request = stage.layout.state / "huge-request.json"
        request.write_bytes(request_for(plate.folder, stage.share))
        command = [sys.executable, "-m", "fleet_bench.around.hugeworker", str(request), str(stage.share)]
        environment = clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[2])}
        told = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment).stdout
        return Transfer(**json.loads(told))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def same_images(plate: MadePlate) -> None:
    """Write the same image for every plane: nobody looks at their pixels."""
    first, *others = plate.tiffs.values()
    content = tiff(first, size=plate.spec.size).read_bytes()
    for path in others:
        path.write_bytes(content)


def request_for(folder: Path, share: Path) -> bytes:
    """What a producer publishes for a plate."""
    order = Order(
        owner=Owner(user=USER, group=GROUP),
        target="Screen:+name:Benchmark",
        lane=LANE,
        priority=Priority.NORMAL,
        batch=Batch(id=uuid.uuid4(), name="benchmark"),
        submitted_by=SubmittedBy(host="benchmark"),
        options=Options(),
    )
    shares = Shares([Share(SHARE, share)])
    return encode(prepare(folder, shares, order, lambda: datetime.now(UTC)).request)


CASE: Final = Case(NAME, _TITLE, measure, minutes=4)

"""Imports through the fleet as its users do: ``omero-fleet submit --wait``, with workers that are running already.

Threading: one thread, one process at a time.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fleet_bench.model import Run
from fleet_bench.stage import GROUP, USER
from fleet_stack.console import StackError
from fleet_stack.fleet import Fleet, clean_environment

_DEADLINE_SECONDS: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Submitter:
    """A producer that submits and waits for every outcome.

    Attributes:
        target: In OMERO's grammar.
        options: More options of ``omero-fleet submit``.
    """

    fleet: Fleet
    target: str
    options: tuple[str, ...] = ()

    def run(self, paths: Sequence[Path]) -> Run:
        """Import these paths and say how long it took: reading plates, spool and queue count.

        Raises:
            StackError: One of them was not imported.
        """
        words = self.fleet.command(
            self.fleet.lanes[0], "submit", *map(str, paths), "--target", self.target, "--user", USER, "--group", GROUP,
            "--again", "--wait", "--timeout", str(_DEADLINE_SECONDS), "--json", *self.options,
        )  # fmt: skip
        began = time.monotonic()
        done = subprocess.run(words, env=clean_environment(), capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        if done.returncode:
            raise StackError(f"submit ended with {done.returncode}: {done.stderr}{done.stdout[-3000:]}")
        return read(done.stdout, seconds)


def read(text: str, seconds: float) -> Run:
    """What ``omero-fleet submit --wait --json`` told of its requests, which took so long together."""
    results: list[dict[str, Any]] = [request["status"]["result"] for request in json.loads(text)["requests"]]
    phases: dict[str, float] = {}
    for result in results:
        for phase, took in result.get("seconds", {}).items():
            phases[phase] = phases.get(phase, 0.0) + took
    return Run(
        whole_seconds=seconds,
        upload_seconds=phases.get("upload", 0.0),
        files=sum(result["files"] for result in results),
        bytes=sum(result["bytes"] for result in results),
        parts={name: took for name, took in phases.items() if name != "upload"},
    )

"""Runs the official importer as its users do: one Java process, from the jar that the stack's server is made of.

Neighbours: `importerlog` reads what it says. Threading: one thread, one process at a time.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet_bench import importerlog
from fleet_bench.model import Run
from fleet_bench.stage import USER, Stage
from fleet_stack.console import StackError
from fleet_stack.omero import java, packages

MAIN: Final = "ome.formats.importer.cli.CommandLineImporter"
_DEADLINE_SECONDS: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Importer:
    """The importer with its settings.

    Attributes:
        port: The server's TLS port, or that of a proxy before it; data go over plain TCP after the login.
        options: More of its options, such as ``--transfer=ln_s``.
    """

    stage: Stage
    parallel_upload: int
    parallel_fileset: int
    target: tuple[str, int]
    options: tuple[str, ...] = ()
    port: int = 0

    def run(self, paths: Sequence[Path]) -> Run:
        """Import these paths and say how long it took.

        Raises:
            StackError: It failed, or imported fewer filesets than it was given; with the end of its log.
        """
        command = self._command(paths)
        began, began_at = time.monotonic(), time.time()
        done = subprocess.run(
            command, env=java.environment(), capture_output=True, text=True, timeout=_DEADLINE_SECONDS, check=False
        )
        seconds = time.monotonic() - began
        told = importerlog.read(done.stderr, paths, began_at)
        # It ends with 0 when no reader can open a file.
        if done.returncode or told.filesets != len(paths):
            raise StackError(
                f"the importer ended with {done.returncode}, {told.filesets} filesets: {done.stderr[-3000:]}"
            )
        parts = {"start and scan": told.scan_seconds, "login": told.login_seconds}
        return Run(whole_seconds=seconds, upload_seconds=told.upload_seconds, files=told.files, parts=parts)

    def run_each(self, paths: Sequence[Path]) -> Run:
        """Import these paths with one run each, one after the other, as cron jobs do."""
        runs = [self.run([path]) for path in paths]
        return Run(
            whole_seconds=sum(run.whole_seconds for run in runs),
            upload_seconds=sum(run.upload_seconds for run in runs),
            files=sum(run.files for run in runs),
            parts={name: sum(run.parts[name] for run in runs) for name in runs[0].parts},
        )

    def _command(self, paths: Sequence[Path]) -> list[str]:
        installed = packages.require(self.stage.layout.cache)
        omero = self.stage.description.omero
        kind, identity = self.target
        # Its own class path is the jar's manifest; log lines carry the milliseconds that its phases are read from.
        return [
            "java", *java.QUIET, *java.OPTIONS, f"-Dlogback.configurationFile={installed.client / 'logback-cli.xml'}",
            "-cp", str(installed.jar), MAIN,
            "-s", omero.host, "-p", str(self.port or omero.ssl_port), "-u", USER, "-w", self.stage.password(),
            kind, str(identity), f"--parallel-upload={self.parallel_upload}",
            f"--parallel-fileset={self.parallel_fileset}", *self.options, *map(str, paths),
        ]  # fmt: skip

"""Prometheus and its tools, unpacked from Debian's package: nothing is installed, no service but our own is started.

Role: `promtool` for tests of metrics, and a private server that scrapes a fleet. Neighbours: `rabbitmq.packages`
downloads, `processes` starts. Threading: one process at a time fetches, by a lock file; a server may be asked from any
thread.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fleet_stack import processes
from fleet_stack.console import StackError, step
from fleet_stack.layout import cache_root, locked
from fleet_stack.processes import wait_until
from fleet_stack.rabbitmq.packages import PrivateApt, host_codename

PROGRAM: Final = "usr/bin/promtool"
SERVER: Final = "usr/bin/prometheus"
_READY_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 30.0


def promtool(cache: Path | None = None) -> Path:
    """The path of promtool, fetched on first use (about 40 MB).

    Raises:
        StackError: this is no Debian, or the package cannot be downloaded.
    """
    return _fetched(cache or cache_root()) / PROGRAM


@dataclass(slots=True)
class Prometheus:
    """A private server, on loopback, whose data are gone with its folder.

    Attributes:
        folder: Of configuration, data and log.
        port: Where it listens.
        process: Its identity; None while it does not run.
    """

    folder: Path
    port: int
    process: str | None = None

    def start(self, targets: Mapping[str, Sequence[int]], rules: Path, *, every_seconds: int = 1) -> None:
        """Scrape processes on this machine and evaluate rules; returns when it is ready.

        Args:
            targets: Ports of processes by the name of their job.
            rules: A file of rules.
            every_seconds: Between two scrapes, and between two evaluations.

        Raises:
            StackError: it cannot be fetched, or does not start.
        """
        program = _fetched(cache_root()) / SERVER
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "prometheus.json"
        # JSON is YAML, too.
        settings.write_text(json.dumps(_settings(targets, rules, every_seconds)), encoding="utf-8")
        words: list[str | Path] = [
            program,
            f"--config.file={settings}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        log = self.folder / "prometheus.log"
        self.process = processes.detached(words, env={"PATH": os.environ["PATH"]}, cwd=self.folder, log=log)
        wait_until(self._ready, _READY_SECONDS, f"Prometheus on port {self.port}", self.process)

    def stop(self) -> None:
        """End it."""
        processes.end(self.process, 20.0)
        self.process = None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that a query gives right now, each with ``metric`` and ``value``.

        Raises:
            StackError: Prometheus does not understand it; with what it says.
        """
        found = self._ask("query", {"query": expression})["result"]
        return found if isinstance(found, list) and all(isinstance(one, dict) for one in found) else [{"value": found}]

    def firing(self) -> set[str]:
        """The names of all alerts that fire."""
        return {one["labels"]["alertname"] for one in self._ask("alerts", {})["alerts"] if one["state"] == "firing"}

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with ``name``, ``health`` and ``lastError``."""
        return [rule for group in self._ask("rules", {})["groups"] for rule in group["rules"]]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004  the code means what it says
        except OSError:
            return False

    def _ask(self, what: str, parameters: Mapping[str, str]) -> Any:
        where = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(where, timeout=_ANSWER_SECONDS) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise StackError(f"Prometheus answers {error.code} to {parameters}: {error.read().decode()}") from error


def _settings(targets: Mapping[str, Sequence[int]], rules: Path, every_seconds: int) -> dict[str, Any]:
    every = f"{every_seconds}s"
    return {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            for job, ports in targets.items()
        ],
    }


def _fetched(cache: Path) -> Path:
    """The folder with the unpacked package."""
    folder = cache / "prometheus"
    with locked(folder.with_suffix(".lock")):
        if not (folder / PROGRAM).exists():
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    debian = host_codename()
    if debian is None:
        raise StackError(
            "promtool is fetched from Debian's package prometheus: install promtool by hand on this system"
        )
    with step("fetch promtool"):
        apt = PrivateApt(folder.with_suffix(".apt"), debian)
        apt.update()
        apt.unpack(["prometheus"], folder)

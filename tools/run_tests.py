"""Run the folders of tests in lanes side by side, show what each says, and say at the end how each went.

    python tools/run_tests.py                 all folders
    python tools/run_tests.py --maxfail=1     what pytest is told besides

Each folder has a pytest of its own, so that its servers end with it. The unit tests want processors and hurry nobody,
so they give way; the tests on servers mostly wait. A line of output has its folder's name before it; whole and
undivided it is in build/tests/FOLDER.txt. Ends with 1 when a folder failed or had no test. Threading: one thread per
lane, owned by `run`; lines of different folders never mix.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOGS: Final = ROOT / "build" / "tests"
LANES: Final = (("unit",), ("e2e", "omero"), ("broker", "faults"))
"""Folders of one lane run one after the other. The lanes of servers take about as long as each other.

While broker mostly waits, e2e and unit have the processors; the last of faults, which asks the most of a machine, is
alone on it.
"""
GIVING_WAY: Final = frozenset({"unit"})
"""What is fast enough with the processors that the others leave it."""
_SAYING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Ended:
    """How the tests of a folder went.

    Attributes:
        folder: Below tests.
        code: pytest's exit code; 0 when all passed.
        seconds: How long it took.
        last: The last line that it said: how many tests passed and failed.
    """

    folder: str
    code: int
    seconds: float
    last: str

    def __str__(self) -> str:
        verdict = "passed" if self.code == 0 else f"FAILED ({self.code})"
        return f"{self.folder:8} {verdict:11} {self.seconds:5.0f} s  {self.last.strip('= ')}"


Command = Callable[[str], Sequence[str]]
"""What runs the tests of a folder."""


def pytest_of(folder: str, options: Sequence[str]) -> list[str]:
    """The command that runs a folder's tests; without pytest's cache, which knows one run at a time."""
    polite = ["nice", "-n", "10"] if folder in GIVING_WAY else []
    return [*polite, sys.executable, "-u", "-m", "pytest", "-p", "no:cacheprovider", *options, f"tests/{folder}"]


def run(lanes: Sequence[Sequence[str]], command: Command, logs: Path) -> list[Ended]:
    """Run all folders, and say what became of them in the order of the lanes; all run to their end."""
    logs.mkdir(parents=True, exist_ok=True)
    stopping = threading.Event()
    with ThreadPoolExecutor(len(lanes), thread_name_prefix="lane") as pool:
        futures = [pool.submit(_one_after_the_other, lane, command, logs, stopping) for lane in lanes]
        try:
            return [ended for future in futures for ended in future.result()]
        except KeyboardInterrupt:
            # The terminal interrupts every pytest, too, and each takes its servers down; no other folder begins.
            stopping.set()
            raise


def _one_after_the_other(lane: Sequence[str], command: Command, logs: Path, stopping: threading.Event) -> list[Ended]:
    return [_folder(folder, command(folder), logs / f"{folder}.txt") for folder in lane if not stopping.is_set()]


def _folder(folder: str, command: Sequence[str], log: Path) -> Ended:
    began, last = time.monotonic(), ""
    with (
        log.open("w", encoding="utf-8") as whole,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        for line in process.stdout or ():
            whole.write(line)
            whole.flush()
            last = line.strip() or last
            _say(f"{folder:8}| {line.rstrip()}")
    return Ended(folder, process.returncode, time.monotonic() - began, last)


def _say(text: str) -> None:
    with _SAYING:
        print(text, flush=True)


def main(options: Sequence[str]) -> int:
    """Run everything; 1 when any folder failed."""
    began = time.monotonic()
    results = run(LANES, lambda folder: pytest_of(folder, options), LOGS)
    code = int(any(ended.code for ended in results))
    everything = Ended("all", code, time.monotonic() - began, f"on {os.cpu_count()} processors")
    _say("\n".join(["", *map(str, results), str(everything)]))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

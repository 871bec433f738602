"""A program that stands in for the scan's Java child: it does what the file that it is asked about is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOREVER_SECONDS = 3600


def found(number: int, path: str, **changes: Any) -> dict[str, Any]:
    """A good answer, with some fields changed."""
    series = [{"x": 8, "y": 6, "z": 1, "c": 2, "t": 1}]
    good = {"id": number, "reader": "loci.formats.in.FakeReader", "files": [path], "series": series, "plate": False}
    return good | changes


def group_of(path: str) -> list[str]:
    """The files of a set, ``set-1.a`` and ``set-1.b``, whichever was asked about."""
    return sorted(str(one) for one in Path(path).parent.glob(f"{Path(path).stem}.*"))


def spawn() -> str:
    """Start a program that outlives its parent, and give its process id."""
    return str(subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOREVER_SECONDS})"]).pid)


def surroundings() -> str:
    """Environment and open descriptors of this process."""
    folder = str(Path.cwd())
    descriptors = [one.name for one in Path("/proc/self/fd").iterdir()]
    return json.dumps({"env": dict(os.environ), "fds": descriptors, "folder": folder})


def say(line: object) -> None:
    """One line of output."""
    print(line if isinstance(line, str) else json.dumps(line), flush=True)  # noqa: T201  this is its pipe


def answer(number: int, path: str) -> None:
    """Do what the name says."""
    name = Path(path).name.partition("-")[0].partition(".")[0]
    if name == "hang":
        time.sleep(FOREVER_SECONDS)
    elif name == "die":
        os._exit(7)
    elif name == "orphan":
        say({"id": number, "error": spawn()})
    else:
        says = {
            "garbage": "this is no JSON",
            "stranger": found(number + 1, path),
            "endless": "x" * 3000,
            "unknown": {"id": number, "unknown": True},
            "broken": {"id": number, "error": "java.io.IOException: bad\nheader"},
            "surroundings": {"id": number, "error": surroundings()},
            "outside": found(number, path, files=[path, "/etc/passwd"]),
            "plate": found(number, path, plate=True),
            "set": found(number, path, files=group_of(path)),
        }
        say(says.get(name, found(number, path)))


def main() -> None:
    """Answer line by line; the first argument may be another first line."""
    say(sys.argv[1] if len(sys.argv) > 1 else {"version": "6.7.0"})
    for line in sys.stdin:
        asked = json.loads(line)
        answer(asked["id"], asked["path"])


if __name__ == "__main__":
    main()

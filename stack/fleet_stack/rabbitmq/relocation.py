"""Makes an unpacked Erlang run from a folder that is not /usr, and on another Debian release than its own.

Role: edits scripts and programs below one root, once, right after unpacking. Neighbours: `fetch`. Threading: the caller
holds the lock of the root.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet_stack.console import StackError, run

MAGIC: Final = b"\x7fELF"
ROOT_LINE: Final = re.compile(r"^(\s*ROOTDIR=).*$", re.MULTILINE)
LOADER: Final = "ld-linux*"


@dataclass(frozen=True, slots=True)
class Move:
    """Where files are now, and where they will be when they run.

    Attributes:
        now: the root as it is while we edit.
        later: the same root after it was renamed into place.
    """

    now: Path
    later: Path

    def then(self, path: Path) -> Path:
        """The later name of a path below the root."""
        return self.later / path.relative_to(self.now)


def point_scripts(move: Move) -> None:
    """Tell Erlang's start scripts where Erlang is."""
    erlang = move.now / "usr/lib/erlang"
    scripts = (erlang / "bin/erl", erlang / "bin/start_erl", *erlang.glob("erts-*/bin/erl"))
    for script in scripts:
        if script.is_file() and not script.is_symlink() and not is_program(script):
            text = script.read_text()
            script.write_text(ROOT_LINE.sub(rf"\g<1>{move.then(erlang)}", text))


def point_programs(move: Move, patchelf: Path) -> None:
    """Make Erlang's programs use the C library that was unpacked beside them.

    A program of a newer Debian release does not run with an older C library, so each one is told its own loader and
    its own folders of libraries.

    Raises:
        StackError: the C library was not unpacked.
    """
    loader = move.then(_loader(move.now))
    folders = {move.then(path.parent) for path in move.now.glob("**/usr/lib/*-linux-gnu*/**/lib*.so*")}
    search = ":".join(sorted(map(str, folders)))
    for path in (move.now / "usr/lib/erlang").rglob("*"):
        if path.is_file() and not path.is_symlink() and is_program(path):
            command: list[str | Path] = [patchelf, "--force-rpath", "--set-rpath", search]
            if _has_interpreter(path, patchelf):
                command += ["--set-interpreter", loader]
            run([*command, path])


def is_program(path: Path) -> bool:
    """Whether a file is an ELF program or library."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _loader(root: Path) -> Path:
    libraries = sorted({path.parent for path in root.glob("**/libc.so.6")})
    loaders = [path for folder in libraries for path in folder.glob(LOADER) if path.is_file()]
    if not loaders:
        raise StackError(f"no C library was unpacked below {root}: remove it and try again")
    return loaders[0]


def _has_interpreter(path: Path, patchelf: Path) -> bool:
    try:
        run([patchelf, "--print-interpreter", path])
    except StackError:
        return False  # a shared library
    return True

"""Build the zeroc-ice 3.6.5 wheel that omero-py needs, once per Python version, into a cache folder.

PyPI carries zeroc-ice 3.6.5 as source only, and omero-py accepts no newer series. The source compiles on one core,
and not at all on Python 3.11 and later. This takes the source with pip, checks its digest, makes the edits listed in
EDITS, compiles on every core (about 2 minutes on 2) and leaves the wheel in the cache. Where the wheel is already
there it does nothing. It needs only the standard library: it runs before anything is installed, on a developer's
machine and in the worker's image alike.

    python tools/build_ice.py                      prints the path of the wheel
    python tools/build_ice.py --cache DIR

Needs a C++ compiler and the headers of OpenSSL and bzip2 (Debian: g++ libssl-dev libbz2-dev). On macOS, Windows and
other platforms install zeroc-ice 3.6 from conda-forge or from the wheels of Glencoe Software
(https://github.com/glencoesoftware?q=zeroc-ice-py) into the same environment, and leave this step out.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VERSION: Final = "3.6.5"
SOURCE: Final = f"zeroc-ice-{VERSION}.tar.gz"
SOURCE_SHA256: Final = "4235ffeb605bcd4e22e716577f7d61e4aa1bc82f65276bb542701a81b7933356"
BUILD_REQUIRES: Final = ("setuptools==75.8.2", "wheel==0.45.1")
PROGRESS_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Edit:
    """One replacement in the source; ``old`` must occur exactly ``times`` times, or the edits need another look."""

    file: str
    old: str
    new: str
    times: int = 1


_AS_READ_BUFFER = """using namespace IceUtilInternal;

static int
asReadBuffer(PyObject* object, const void** start, Py_ssize_t* length)
{
    Py_buffer view;
    if(PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) != 0)
    {
        return -1;
    }
    *start = view.buf;
    *length = view.len;
    PyBuffer_Release(&view);
    return 0;
}
"""

_PARALLEL_COMPILE = """import sys, os, shutil, fnmatch
from concurrent.futures import ThreadPoolExecutor
from distutils.ccompiler import CCompiler

def compile_in_parallel(self, sources, output_dir=None, macros=None, include_dirs=None, debug=0,
                        extra_preargs=None, extra_postargs=None, depends=None):
    macros, objects, extra_postargs, options, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs)
    arguments = self._get_cc_args(options, debug, extra_preargs)
    def compile_one(target):
        source, extension = build[target]
        self._compile(target, source, extension, arguments, extra_postargs, options)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, [target for target in objects if target in build]))
    return objects

CCompiler.compile = compile_in_parallel
"""

EDITS: Final = (
    # Python 3.11 moved eval.h away; Python.h declares PyEval_EvalCode.
    Edit("src/Slice.cpp", "#include <eval.h>", "#include <Python.h>"),
    # Python 3.11 made the frame of a thread state private.
    Edit("src/Util.cpp", "PyThreadState_GET()->frame", "PyEval_GetFrame()"),
    # Python 3.13 removed PyEval_CallObject; PyObject_CallObject is the same call.
    Edit("src/Types.cpp", "PyEval_CallObject(", "PyObject_CallObject(", times=2),
    Edit("src/Util.cpp", "PyEval_CallObject(", "PyObject_CallObject("),
    # Python 3.13 removed PyObject_AsReadBuffer; this is what it did.
    Edit("src/Types.cpp", "PyObject_AsReadBuffer(p", "asReadBuffer(p", times=2),
    Edit("src/Types.cpp", "using namespace IceUtilInternal;\n", _AS_READ_BUFFER),
    # Python 3.12 removed imp; types.ModuleType is what imp.new_module called.
    Edit("lib/Ice.py", "import sys, string, imp, os,", "import sys, string, types, os,"),
    Edit("lib/Ice.py", "imp.new_module(curr)", "types.ModuleType(curr)"),
    # About 200 source files, one at a time otherwise.
    Edit("setup.py", "import sys, os, shutil, fnmatch\n", _PARALLEL_COMPILE),
)


class BuildError(Exception):
    """The wheel could not be built; the text says why and what to do."""


def wheel_name() -> str:
    """The file name of the wheel for the running Python."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"zeroc_ice-{VERSION}-{tag}-{tag}-{platform}.whl"


def default_cache() -> Path:
    """The package cache of the project: ``FLEET_CACHE``, else a system folder for root, else the user's cache."""
    if "FLEET_CACHE" in os.environ:
        return Path(os.environ["FLEET_CACHE"])
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/cache/omero-import-fleet")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omero-import-fleet"


def build(cache: Path) -> Path:
    """The wheel in the cache, built if it is not there yet.

    Raises:
        BuildError: No compiler, a source with another digest, or a failed compilation.
    """
    target = cache / "wheels" / wheel_name()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_suffix(".lock")):
        if not target.exists():
            _require_compiler()
            with tempfile.TemporaryDirectory(prefix="zeroc-ice-") as scratch:
                _build_into(target, Path(scratch))
    return target


def edit_source(source: Path, edits: tuple[Edit, ...] = EDITS) -> None:
    """Make the edits in an unpacked source.

    Raises:
        BuildError: A text does not occur as often as expected.
    """
    for edit in edits:
        path = source / edit.file
        text = path.read_text(encoding="utf-8")
        found = text.count(edit.old)
        if found != edit.times:
            raise BuildError(f"{edit.file}: {edit.old!r} occurs {found} times, expected {edit.times}")
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _require_compiler() -> None:
    if not sys.platform.startswith("linux"):
        raise BuildError(f"no build for {sys.platform}: install a zeroc-ice 3.6 wheel for it, see --help")
    if shutil.which("g++") is None:
        raise BuildError("g++ is missing; on Debian: apt-get install g++ libssl-dev libbz2-dev")


def _build_into(target: Path, scratch: Path) -> None:
    source = _fetch_source(scratch)
    edit_source(source)
    requires = ", ".join(f'"{requirement}"' for requirement in BUILD_REQUIRES)
    (source / "pyproject.toml").write_text(
        f'[build-system]\nrequires = [{requires}]\nbuild-backend = "setuptools.build_meta"\n', encoding="utf-8"
    )
    environment = dict(os.environ, CFLAGS="-O2 -g0", CXXFLAGS="-O2 -g0", LDFLAGS="-s")
    out = scratch / "out"
    with _progress(f"building zeroc-ice {VERSION} on {os.cpu_count()} cores, once, about 2 minutes on 2"):
        _pip("wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", str(out), str(source), environment=environment)
    _keep(out / target.name, target)


def _fetch_source(folder: Path) -> Path:
    _pip("download", "--no-deps", "--no-binary", "zeroc-ice", "--dest", str(folder), f"zeroc-ice=={VERSION}")
    archive = folder / SOURCE
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SOURCE_SHA256:
        raise BuildError(f"{SOURCE}: the digest is {digest}, expected {SOURCE_SHA256}; nothing was unpacked")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / f"zeroc-ice-{VERSION}"


def _keep(built: Path, target: Path) -> None:
    if not built.exists():
        raise BuildError(f"expected {built.name}, got {sorted(path.name for path in built.parent.iterdir())}")
    # Beside the target first, so that a copy that was cut never looks like a wheel.
    partial = target.with_suffix(".partial")
    shutil.copyfile(built, partial)
    partial.replace(target)


def _pip(*arguments: str, environment: dict[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False
    )
    if done.returncode:
        raise BuildError(f"{done.stdout[-6000:]}\npip {arguments[0]} failed with {done.returncode}")


@contextlib.contextmanager
def _progress(what: str) -> Iterator[None]:
    began = time.monotonic()
    done = threading.Event()

    def tell() -> None:
        while not done.wait(PROGRESS_SECONDS):
            print(f"  {what}: {time.monotonic() - began:.0f} s so far", file=sys.stderr, flush=True)

    print(f"  {what} ...", file=sys.stderr, flush=True)
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        print(f"  {what}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    """Build the wheel and print its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder for the wheel (%(default)s)")
    try:
        print(build(parser.parse_args().cache))
    except BuildError as error:
        sys.exit(f"build_ice: {error}")


if __name__ == "__main__":
    main()

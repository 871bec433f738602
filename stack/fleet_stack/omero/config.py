"""The configuration files of a stack's OMERO.server, written anew at every start.

From ``OmeroSettings``, the layout and the packages to files in ``<state>/omero/etc``. Used by ``server``. No threads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fleet_stack import certificates
from fleet_stack.layout import Layout, Ports
from fleet_stack.omero import database, icegrid, java
from fleet_stack.omero.data import DATA
from fleet_stack.omero.folders import Folders
from fleet_stack.omero.packages import OMERO_VERSION, Packages
from fleet_stack.omero.settings import OmeroSettings
from fleet_stack.secrets import secret

BACKGROUND_HEAP: Final = "512m"
PROCESSES: Final = ("Blitz-0", "Indexer-0", "PixelData-0")


def write(layout: Layout, settings: OmeroSettings, packages: Packages) -> icegrid.Grid:
    """Write all files and say what IceGrid is to run."""
    folders = Folders.of(layout)
    folders.make()
    grid = icegrid.Grid(
        folders=folders,
        certificates=certificates.ensure(layout).server.parent,
        ports=layout.ports,
        as_root=os.geteuid() == 0,
        indexer=settings.indexer,
        pixeldata=settings.pixeldata,
    )
    for name in ("beanRefContext.xml", "logback.xml"):
        shutil.copyfile(DATA / name, folders.etc / name)
    values = properties(folders, layout.ports, secret(layout, "omero-database"), settings.properties)
    _write(folders.etc / "omero.properties", as_text(values))
    _write(folders.etc / "node.cfg", icegrid.node_config(grid))
    _write(folders.etc / "app.xml", icegrid.application(grid))
    for name in PROCESSES:
        _write(folders.etc / f"{name}.args", as_argument_file(java_arguments(name, folders, settings, packages.jar)))
    return grid


def properties(folders: Folders, ports: Ports, password: str, chosen: Mapping[str, str]) -> dict[str, str]:
    """The server's settings: what follows from the stack, and what was chosen on top."""
    return {
        "omero.version": OMERO_VERSION,
        "omero.data.dir": str(folders.data),
        "omero.managed.dir": str(folders.managed),
        "omero.db.profile": "psql",
        "omero.db.host": database.HOST,
        "omero.db.port": str(ports.postgres),
        "omero.db.name": database.NAME,
        "omero.db.user": database.USER,
        "omero.db.pass": password,
        "omero.router.insecure": f"OMERO.Glacier2/router:tcp -p {ports.omero_tcp} -h {icegrid.HOST}",
        **chosen,
    }


def as_text(values: Mapping[str, str]) -> str:
    """Settings as a Java properties file."""
    escape = str.maketrans({"\\": "\\\\", "\n": "\\n"})
    return "".join(f"{name}={value.translate(escape)}\n" for name, value in values.items())


def java_arguments(name: str, folders: Folders, settings: OmeroSettings, jar: Path) -> list[str]:
    """The options of one Java process, for a file that ``java @file`` reads."""
    is_blitz = name == "Blitz-0"
    return [
        f"-Xmx{settings.heap if is_blitz else BACKGROUND_HEAP}",
        *java.QUIET,
        f"-Djava.io.tmpdir={folders.temporary}",
        *java.OPTIONS,
        f"-Dlogback.configurationFile={folders.etc}/logback.xml",
        f"-Domero.logfile={folders.log}/{name}.log",
        f"-Domero.name={name}",
        *(settings.java_options if is_blitz else ()),
        "-cp",
        java.classpath([folders.etc, jar]),
    ]


def as_argument_file(arguments: Sequence[str]) -> str:
    """Arguments as a file for ``java @file``, each in quotes: folders may have blanks in their names."""
    escape = str.maketrans({"\\": "\\\\", '"': '\\"'})
    return "".join(f'"{argument.translate(escape)}"\n' for argument in arguments)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

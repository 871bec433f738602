"""What IceGrid is told to run: Blitz, Glacier2 and IceStorm, as OMERO's own templates do it, without the file watchers.

Pure functions from plain values to the text of ``app.xml`` and ``node.cfg``; everything listens on 127.0.0.1. Used by
``config``. IceGrid is Debian's Ice 3.7, which speaks with the Ice 3.6 of server and clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from fleet_stack.layout import Ports
from fleet_stack.omero.folders import Folders

HOST: Final = "127.0.0.1"
ANY_PORT: Final = f"tcp -h {HOST}"
MESSAGE_SIZE_KILOBYTES: Final = 250_000

# OpenSSL allows anonymous ciphers at level 0 only. Clients of OMERO 5.6.3's time, its importer among them, offer no
# others; clients of today take the certificate.
CIPHERS: Final = "HIGH:ADH:@SECLEVEL=0"

Properties = Mapping[str, object]

COMMON: Final[Properties] = {
    "Ice.MessageSizeMax": MESSAGE_SIZE_KILOBYTES,
    "Ice.CacheMessageBuffers": 0,
    "Ice.Override.ConnectTimeout": 5000,
}
MANY_THREADS: Final[Properties] = {
    "Ice.ThreadPool.Client.Size": 2,
    "Ice.ThreadPool.Client.SizeMax": 50,
    "Ice.ThreadPool.Server.Size": 10,
    "Ice.ThreadPool.Server.SizeMax": 100,
}
ONE_THREAD: Final[Properties] = {
    f"Ice.ThreadPool.{side}.{size}": 1 for side in ("Client", "Server") for size in ("Size", "SizeMax")
}


@dataclass(frozen=True, slots=True)
class Grid:
    """What the two files depend on.

    Attributes:
        folders: Where the server lives.
        certificates: The folder with ``server.pem`` and ``server.key``.
        ports: The stack's ports.
        as_root: Whether root starts IceGrid, which would otherwise run its servers as ``nobody``.
        indexer: Whether to run the full text indexer.
        pixeldata: Whether to run the maker of pyramids.
    """

    folders: Folders
    certificates: Path
    ports: Ports
    as_root: bool
    indexer: bool = False
    pixeldata: bool = False

    @property
    def locator(self) -> str:
        """How processes and ``icegridadmin`` find the registry."""
        return f"IceGrid/Locator:tcp -h {HOST} -p {self.ports.ice_registry}"


def node_config(grid: Grid) -> str:
    """The text of ``node.cfg``: one node with the registry inside, reachable from this machine only."""
    settings: Properties = {
        "IceGrid.InstanceName": "IceGrid",
        "IceGrid.Registry.Client.Endpoints": f"{ANY_PORT} -p {grid.ports.ice_registry}",
        "IceGrid.Registry.Server.Endpoints": ANY_PORT,
        "IceGrid.Registry.Internal.Endpoints": ANY_PORT,
        "IceGrid.Registry.LMDB.Path": grid.folders.ice / "registry",
        "IceGrid.Registry.AdminPermissionsVerifier": "IceGrid/NullPermissionsVerifier",
        "IceGrid.Registry.DynamicRegistration": 1,
        "IceGrid.Node.CollocateRegistry": 1,
        "IceGrid.Node.Endpoints": ANY_PORT,
        "IceGrid.Node.Name": "master",
        "IceGrid.Node.Data": grid.folders.ice / "node",
        "IceGrid.Node.Output": grid.folders.log,
        "IceGrid.Node.RedirectErrToOut": 1,
        "IceGrid.Node.AllowRunningServersAsRoot": 1,
        "IceGrid.Node.WaitTime": 60,
        "Ice.Default.Locator": grid.locator,
        "Ice.Default.Host": HOST,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def application(grid: Grid) -> str:
    """The text of ``app.xml``."""
    root = Element("icegrid")
    app = SubElement(root, "application", name="OMERO")
    group = SubElement(app, "replica-group", id="BlitzAdapters")
    SubElement(group, "load-balancing", {"type": "adaptive", "load-sample": "5", "n-replicas": "2"})
    SubElement(group, "object", identity="BlitzVerifier", type="::Glacier2::PermissionVerifier")
    SubElement(group, "object", identity="BlitzManager", type="::Glacier2::SessionManager")
    node = SubElement(app, "node", name="master")
    _add_blitz(node, grid)
    _add_router(node, grid)
    _add_icestorm(node, grid)
    _add_background(node, grid)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _add_blitz(node: Element, grid: Grid) -> None:
    server = _add_java(node, grid, "Blitz-0")
    adapter = {"name": "BlitzAdapter", "replica-group": "BlitzAdapters", "endpoints": ANY_PORT}
    SubElement(server, "adapter", adapter)
    _add_properties(server, {**COMMON, "Ice.Default.CollocationOptimized": 0, **MANY_THREADS})


def _add_router(node: Element, grid: Grid) -> None:
    server = _add_process(node, grid, "server", "OMERO.Glacier2", "glacier2router")
    doors = f"ssl -p {grid.ports.omero_ssl} -h {HOST}:tcp -p {grid.ports.omero_tcp} -h {HOST}"
    router: Properties = {
        "Glacier2.Client.Endpoints": doors,
        "Glacier2.Server.Endpoints": ANY_PORT,
        "Glacier2.InstanceName": "OMERO.Glacier2",
        "Glacier2.SessionTimeout": 600,
        "Glacier2.PermissionsVerifier": "BlitzVerifier@BlitzAdapters",
        "Glacier2.SessionManager": "BlitzManager@BlitzAdapters",
        "Glacier2.Client.ForwardContext": 1,
        "Glacier2.Filter.Category.Accept": "ProcessCallback ProcessorCallback",
    }
    _add_properties(server, {**COMMON, **router, **_tls(grid)})


def _tls(grid: Grid) -> Properties:
    return {
        "Ice.Plugin.IceSSL": "IceSSL:createIceSSL",
        "IceSSL.DefaultDir": grid.certificates,
        "IceSSL.CertFile": "server.pem",
        "IceSSL.KeyFile": "server.key",
        "IceSSL.VerifyPeer": 0,
        "IceSSL.Ciphers": CIPHERS,
    }


def _add_icestorm(node: Element, grid: Grid) -> None:
    box = _add_process(node, grid, "icebox", "OMERO.IceStorm", "icebox")
    service = SubElement(box, "service", name="OMERO.IceStorm", entry="IceStormService,37:createIceStorm")
    topics = {"name": "${service}.TopicManager", "id": "OMERO.IceStorm.TopicManager", "endpoints": ANY_PORT}
    adapter = SubElement(service, "adapter", topics)
    SubElement(adapter, "object", identity="OMERO.IceStorm/TopicManager", type="::IceStorm::TopicManager")
    SubElement(service, "adapter", name="${service}.Publish", endpoints=ANY_PORT)
    storm: Properties = {
        "OMERO.IceStorm.InstanceName": "OMERO.IceStorm",
        "OMERO.IceStorm.LMDB.Path": grid.folders.ice / "storm",
        "OMERO.IceStorm.Flush.Timeout": 1000,
    }
    _add_properties(service, storm)
    _add_properties(box, {"IceBox.InheritProperties": 1, "Ice.Override.ConnectTimeout": 5000})


def _add_background(node: Element, grid: Grid) -> None:
    if grid.indexer:
        server = _add_java(node, grid, "Indexer-0", "ome.fulltext")
        SubElement(server, "adapter", name="IndexerAdapter", endpoints=ANY_PORT)
        _add_properties(server, {**COMMON, **ONE_THREAD})
    if grid.pixeldata:
        server = _add_java(node, grid, "PixelData-0", "ome.pixeldata")
        SubElement(server, "adapter", name="PixelDataAdapter", endpoints=ANY_PORT)
        _add_properties(server, {**COMMON, **ONE_THREAD, "omero.repo.dir": ""})


def _add_java(node: Element, grid: Grid, name: str, *context: str) -> Element:
    server = _add_process(node, grid, "server", name, "java")
    for option in (f"@{grid.folders.etc}/{name}.args", "ome.services.blitz.Entry", *context):
        SubElement(server, "option").text = option
    return server


def _add_process(node: Element, grid: Grid, kind: str, name: str, program: str) -> Element:
    attributes = {"id": name, "exe": program, "activation": "always", "pwd": str(grid.folders.home)}
    return SubElement(node, kind, attributes | ({"user": "root"} if grid.as_root else {}))


def _add_properties(parent: Element, properties: Properties) -> None:
    group = SubElement(parent, "properties")
    for name, value in properties.items():
        SubElement(group, "property", name=name, value=str(value))

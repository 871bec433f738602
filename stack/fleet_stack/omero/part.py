"""OMERO with its database, as one part of the stack.

What the stack's commands and the tests call; see ``fleet_stack.parts.Part`` for the promises. No threads: one caller at
a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fleet_stack import certificates
from fleet_stack.layout import Layout
from fleet_stack.omero import packages, users
from fleet_stack.omero.database import Database
from fleet_stack.omero.packages import OMERO_VERSION
from fleet_stack.omero.server import OmeroServer
from fleet_stack.omero.settings import OmeroSettings
from fleet_stack.parts import PartStatus


class OmeroPart:
    """PostgreSQL and OMERO.server of one stack, with the accounts of a facility.

    Args:
        layout: The stack.
        settings: Any ``omero.*`` settings of the server, or an ``OmeroSettings`` with more choices.

    Attributes:
        database: To be started and stopped alone, where a test wants that.
        server: OMERO.server alone: ``start``, ``stop``, ``kill_blitz``, ``ready``; the database stays as it is.
    """

    name: Final = "omero"

    def __init__(self, layout: Layout, settings: OmeroSettings | Mapping[str, str] | None = None) -> None:
        chosen = settings if isinstance(settings, OmeroSettings) else OmeroSettings(settings or {})
        self._layout = layout
        self.database = Database(layout, unsafe=chosen.unsafe_db)
        self.server = OmeroServer(layout, chosen)

    def install(self) -> None:
        """Fetch and build the packages; about a minute on a fresh machine, nothing later."""
        packages.install(self._layout.cache)

    def initialise(self) -> None:
        """Create certificate and database; leaves PostgreSQL running, for ``start`` follows."""
        certificates.ensure(self._layout)
        self.database.initialise(packages.require(self._layout.cache))

    def start(self) -> None:
        """Start PostgreSQL and OMERO, wait until one can log in, and create missing accounts."""
        self.database.start()
        self.server.start()
        users.ensure(self._layout)

    def stop(self) -> None:
        """Stop OMERO, then PostgreSQL."""
        self.server.stop()
        self.database.stop()

    def kill(self) -> None:
        """End OMERO's processes at once, as a power cut would; PostgreSQL stays."""
        self.server.kill()

    def status(self) -> PartStatus:
        """Ready when one can log in."""
        running = self.server.node() is not None
        ready = running and self.server.ready()
        ports = self._layout.ports
        doors = f"OMERO.server {OMERO_VERSION} on port {ports.omero_ssl} (TLS) and {ports.omero_tcp} (plain)"
        return PartStatus(self.name, running, ready, doors if ready else "starting" if running else "not running")

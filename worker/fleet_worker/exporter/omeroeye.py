"""What OMERO says of itself, to an account that only reads. Threading: one thread looks."""

from __future__ import annotations

from fleet_worker.exporter.board import Seen
from fleet_worker.exporter.views import OmeroState, of_omero
from fleet_worker.omero.gateway import Gateway


class OmeroEye:
    """Asks OMERO through the service account; logs in when it must.

    Args:
        gateway: Owned by the exporter.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def look(self) -> Seen:
        """Space, threads, imports and sessions.

        Raises:
            RequestError: OMERO is away, or refuses the account.
        """
        self._gateway.open()
        return of_omero(
            OmeroState(
                limits=self._gateway.limits(),
                read_only=self._gateway.read_only(),
                free_bytes=self._gateway.free_bytes(),
                running_imports=self._gateway.running_imports(),
                open_sessions=self._gateway.open_sessions(),
            )
        )

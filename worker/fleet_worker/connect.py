"""Makes OMERO's address of the settings; the only bridge between the two."""

from __future__ import annotations

from fleet_common.settings import OmeroSettings
from fleet_worker.omero.address import OmeroAddress


def omero_address(settings: OmeroSettings) -> OmeroAddress:
    """The address with the account's password.

    Raises:
        UsageError: The password is missing or cannot be read.
    """
    return OmeroAddress(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.read_password(),
        verify_tls=settings.verify_tls,
        ca_file=settings.ca_file,
        tls=settings.tls,
    )

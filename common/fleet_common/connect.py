"""Makes broker address and names of the settings; the only bridge between the two."""

from __future__ import annotations

from fleet_common.broker import BrokerAddress, Names
from fleet_common.settings import BrokerSettings


def broker_address(settings: BrokerSettings) -> BrokerAddress:
    """The address with its password.

    Raises:
        UsageError: The password is missing or cannot be read.
    """
    return BrokerAddress(
        host=settings.host,
        port=settings.port,
        vhost=settings.vhost,
        user=settings.user,
        password=settings.read_password(),
        tls=settings.tls,
        ca_file=settings.ca_file,
    )


def broker_names(settings: BrokerSettings) -> Names:
    """The names of everything that the fleet has in this broker."""
    return Names(tiers_seconds=settings.retry_tiers_seconds)

"""Where the spool is on this host, when the settings do not say; pure, but for one look at the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from fleet_common.errors import UsageError
from fleet_common.settings import Settings
from fleet_producer.spool import Spool


def spool_of(settings: Settings) -> Spool:
    """The spool of these settings.

    Raises:
        UsageError: The settings name none, and this user has no home folder.
    """
    producer, broker = settings.producer, settings.broker
    folder = producer.spool or default_folder(broker.host, broker.vhost, os.environ, windows=os.name == "nt")
    return Spool(folder, producer.spool_quota_bytes)


def default_folder(host: str, vhost: str, environment: Mapping[str, str], *, windows: bool) -> Path:
    """The folder for one broker: what was meant for a trial must never be sent to another broker later.

    Args:
        host: Of the broker.
        vhost: Of the fleet.
        environment: ``XDG_STATE_HOME`` counts when it is absolute, as the XDG base directory specification says.
        windows: Whether the folder for the application data of this host's users counts instead.

    Raises:
        UsageError: There is neither such a variable nor a home folder.
    """
    return _state(environment, windows=windows) / "omero-fleet" / "spool" / quote(f"{vhost}@{host}", safe="@")


def _state(environment: Mapping[str, str], *, windows: bool) -> Path:
    named = environment.get("LOCALAPPDATA" if windows else "XDG_STATE_HOME", "")
    if Path(named).is_absolute():
        return Path(named)
    try:
        home = Path.home()
    except RuntimeError as error:
        raise UsageError(f"this user has no home folder: let producer.spool name a folder ({error})") from error
    return home / ("AppData/Local" if windows else ".local/state")

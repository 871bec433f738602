"""Times as people write them on a command line. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from fleet_common.errors import UsageError

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"(?:[0-9]{1,6}[smhdw])+")


def parse_duration(text: str) -> timedelta:
    """A time such as ``90s``, ``30m``, ``2h``, ``3d``, ``1w`` or ``1d12h``.

    Raises:
        UsageError: It is no such time.
    """
    if not _DURATION.fullmatch(text):
        raise UsageError(f"{text!r} is no duration: write for example 90s, 30m, 2h, 3d or 1d12h")
    parts = re.findall(r"([0-9]+)([smhdw])", text)
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))

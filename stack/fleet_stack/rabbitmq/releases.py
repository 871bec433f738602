"""Which RabbitMQ a stack can have, and where Debian carries it.

Role: the table of versions. Neighbours: `fetch` downloads them. Threading: plain data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fleet_stack.console import StackError

DEFAULT: Final = "4.0"


@dataclass(frozen=True, slots=True)
class Release:
    """One choice of `--rabbitmq`.

    Attributes:
        version: the word the user chooses by, and the folder in the cache.
        debian: the Debian release that carries it.
        expected: what the broker's own version must look like.
    """

    version: str
    debian: str
    expected: re.Pattern[str]


RELEASES: Final = {
    release.version: release
    for release in (
        Release("3.10", "bookworm", re.compile(r"3\.10\.")),
        Release("4.0", "trixie", re.compile(r"4\.0\.")),
        # A moving target: what it was when this machine fetched it. Remove it from the cache to get a newer one.
        Release("newest", "sid", re.compile(r"4\.")),
    )
}


def release(version: str) -> Release:
    """The release of this name.

    Raises:
        StackError: there is none.
    """
    if version not in RELEASES:
        raise StackError(f"there is no RabbitMQ {version!r} to choose: use one of {', '.join(RELEASES)}")
    return RELEASES[version]

"""What all watched folders share: data only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleet_common.watching import WatchSettings
from fleet_producer.watch.keeping import Keeper
from fleet_producer.watch.resting import Breath
from fleet_producer.watch.store import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """What all folders share.

    Attributes:
        keeper: Puts complete plates into the spool.
        store: The state.
        settings: How often to look.
        monotonic: A clock in seconds that nobody can set.
        breath: Told of all work; rests.
        defect: Called when a look failed as no rule foresees.
        pulse: Called again and again while a plate is looked at, before each file and after each plate; whatever
            should not wait for the end of a round is done in it. Raises :class:`Stopped` to end the round.
    """

    keeper: Keeper
    store: Store
    settings: WatchSettings
    monotonic: Callable[[], float]
    breath: Breath
    defect: Callable[[], None]
    pulse: Callable[[], None]

"""Whose turn it is: deficit round robin over classes, and in each class over lanes.

A round credits every class with its quantum, and in each class every lane with the same small one. Whoever has credit
may be taken from; what is taken is paid for afterwards, because only a request itself says what it costs, so a credit
may fall below zero, and is then paid off by later rounds (Shreedhar and Varghese, "Efficient fair queuing using deficit
round robin", 1996, with the debt allowed). A new round begins when nobody who waits has credit left, so it costs no
time, and a credit never exceeds one quantum, so who had nothing waiting saves nothing up.

Role: pure bookkeeping in whole numbers, without clock or chance. The state is one worker's own and lives in memory:
each worker is fair in what it takes itself, so all together are. Neighbours: ``lanes`` looks in this order, ``costs``
says what a request costs. Threading: of the taking thread alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Generic, TypeVar

from fleet_common.broker.costs import CAP_BYTES, FLOOR_BYTES
from fleet_common.messages import Priority

K = TypeVar("K")

CLASS_WEIGHTS: Final[Mapping[Priority, int]] = {Priority.URGENT: 16, Priority.NORMAL: 4, Priority.BULK: 1}
"""How the classes share a worker, by cost, while all of them have requests waiting."""

CLASS_QUANTUM_BYTES: Final = CAP_BYTES // 4
"""What one unit of weight is credited with per round: urgent may go first for four large plates."""

LANE_QUANTUM_BYTES: Final = FLOOR_BYTES
"""What a lane is credited with per round: one small image uses it up, so lanes really take turns."""


def always(_lane: str) -> bool:
    """Every lane is open."""
    return True


class Credits(Generic[K]):
    """The credits of some rivals for one resource.

    Args:
        quanta: What each is credited with per round, above zero; who stands first goes first among equals.
        in_turn: Whether who was served goes behind its equals.
    """

    def __init__(self, quanta: Mapping[K, int], *, in_turn: bool) -> None:
        self._quanta = dict(quanta)
        self._in_turn = in_turn
        self._credit = dict(self._quanta)
        self._line = list(self._quanta)

    def order(self) -> list[K]:
        """All rivals, those first whose credit needs the fewest further rounds to be above zero."""
        return sorted(self._line, key=self._rounds_to_go)

    def charge(self, served: K, cost: int, present: Collection[K]) -> None:
        """Book that one was served, after all that stand before it in :meth:`order` had nothing to take.

        Args:
            served: Who was served.
            cost: Above zero.
            present: Who takes part in the rounds that have begun thereby.
        """
        rounds = self._rounds_to_go(served)
        for rival in present:
            quantum = self._quanta[rival]
            self._credit[rival] = min(quantum, self._credit[rival] + rounds * quantum)
        self._credit[served] -= cost
        if self._in_turn:
            self._line.remove(served)
            self._line.append(served)

    def forgive(self) -> None:
        """Credit everyone with one quantum, whatever was owed."""
        self._credit.update(self._quanta)

    def _rounds_to_go(self, rival: K) -> int:
        credit = self._credit[rival]
        return 0 if credit > 0 else -credit // self._quanta[rival] + 1


class Turns:
    """In which order a worker looks at the queues of its lanes.

    Urgent goes first until its quantum is used up, then normal, then bulk; in each class the lanes take turns. A lane
    with something waiting is passed over for no more than a bounded cost, whatever all others send.

    Args:
        lanes: Each named once.
    """

    def __init__(self, lanes: Sequence[str]) -> None:
        self._open = self._lanes = tuple(dict.fromkeys(lanes))
        quanta = {priority: weight * CLASS_QUANTUM_BYTES for priority, weight in CLASS_WEIGHTS.items()}
        self._classes = Credits(quanta, in_turn=False)
        self._in_class = {
            priority: Credits(dict.fromkeys(self._lanes, LANE_QUANTUM_BYTES), in_turn=True) for priority in Priority
        }

    def order(self, is_open: Callable[[str], bool] = always) -> tuple[tuple[str, Priority], ...]:
        """Where to look, one after the other, until something is found there.

        Args:
            is_open: Whether a lane may be taken from; asked once per lane. A closed one gets no credit either.
        """
        self._open = tuple(lane for lane in self._lanes if is_open(lane))
        return tuple(
            (lane, priority)
            for priority in self._classes.order()
            for lane in self._in_class[priority].order()
            if lane in self._open
        )

    def charge(self, lane: str, priority: Priority, cost: int) -> None:
        """Book that something was found at this place of the last :meth:`order`, and nothing before it.

        Args:
            lane: Where it was taken from.
            priority: Its class.
            cost: In bytes, from :data:`FLOOR_BYTES` to :data:`CAP_BYTES`.
        """
        self._classes.charge(priority, cost, tuple(Priority))
        self._in_class[priority].charge(lane, cost, self._open)

    def rest(self) -> None:
        """Book that nothing was found anywhere: nobody was kept waiting, so nobody owes anything."""
        self._classes.forgive()
        for in_class in self._in_class.values():
            in_class.forgive()

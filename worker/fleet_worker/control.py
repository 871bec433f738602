"""What operators ordered, known in every moment: paused lanes and cancelled requests.

Role: folds the control log from its start, then follows it. Nothing may be taken before the first fold is complete
(:attr:`ControlWatch.problem`): a pause survives the restart of everything. Afterwards an outage of the broker changes
nothing: what was known holds. Every ten minutes the log is folded anew over a fresh connection, so that a log that was
deleted and declared again, or a reader that the broker forgot, heals by itself.

Neighbours: ``broker.controllog`` reads; taker and attempts ask. Threading: the watch owns the thread ``control``, from
:meth:`ControlWatch.start` to :meth:`ControlWatch.stop`; every other method may be called from any thread and never
waits for the broker.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from typing import Final

import structlog

from fleet_common.broker import BrokerFailure, OrderReader
from fleet_common.control import Order, Orders
from fleet_common.errors import Reason
from fleet_common.logwatch import end_reading

_LOG = structlog.get_logger()
NOT_READ: Final = "the control log was not read yet"
ROUND_SECONDS: Final = 600.0
"""How long one fold is followed before the log is folded anew."""
_CONNECT_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 2.0


def _nothing() -> None:
    """Nobody wants to know."""


class ControlWatch:
    """Knows what operators ordered.

    Args:
        open_reader: Makes a reader with a connection of its own, which this watch starts and stops.
        on_change: Called on the watch's thread after every order and every fold; must return at once and not raise.
        round_seconds: How long one fold is followed.
        again_seconds: About how long to wait after a failure.
    """

    def __init__(
        self,
        open_reader: Callable[[], OrderReader],
        *,
        on_change: Callable[[], None] = _nothing,
        round_seconds: float = ROUND_SECONDS,
        again_seconds: float = _AGAIN_SECONDS,
    ) -> None:
        self._open_reader = open_reader
        self._on_change = on_change
        self._round_seconds = round_seconds
        self._again_seconds = again_seconds
        self._lock = threading.Lock()
        self._orders = Orders()
        self._reader: OrderReader | None = None
        self._known = threading.Event()
        self._problem = NOT_READ
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="control", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why it is not known what operators ordered; None once the log was read completely, whatever comes later."""
        return None if self._known.is_set() else self._problem

    def start(self) -> None:
        """Begin to read; returns at once."""
        self._thread.start()

    def stop(self, deadline_seconds: float = 5.0) -> None:
        """Read no more; what is known stays known."""
        self._stopping.set()
        end_reading(self._thread, lambda: self._reader, deadline_seconds)

    def wait_known(self, deadline_seconds: float) -> bool:
        """Wait until the log was read once; False when it was not by the deadline."""
        return self._known.wait(deadline_seconds)

    def is_paused(self, lane: str) -> bool:
        """Whether nothing may be taken from a lane."""
        with self._lock:
            return self._orders.is_paused(lane)

    def cancelled(self, request_id: uuid.UUID, batch_id: uuid.UUID | None = None) -> str | None:
        """Who cancelled a request or its batch, and why, as one sentence; None when it is not cancelled."""
        with self._lock:
            order = self._orders.cancelled(request_id, batch_id)
        return order.text if order is not None else None

    # --- on the watch's thread ---

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                self._round()
            except BrokerFailure as error:
                self._note(str(error))
            except Exception as defect:
                # The boundary of the watch's thread: without it no order would ever be heard again.
                _LOG.exception("the control log could not be read because of a defect")
                self._note(f"{Reason.INTERNAL_ERROR}: {type(defect).__name__}: {defect}")
            else:
                continue
            self._stopping.wait(self._again_seconds * random.uniform(0.5, 1.5))  # noqa: S311  spreads load

    def _round(self) -> None:
        """Fold the log to its end, make that what is known, and follow."""
        reader = self._reader = self._open_reader()
        reader.start(_CONNECT_SECONDS)
        try:
            orders = Orders()
            for order in reader.read_all():
                orders.add(order)
            self._learn(orders)
            for order in reader.follow(stop=self._stopping.is_set, deadline_seconds=self._round_seconds):
                self._hear(order)
        finally:
            reader.stop()

    def _learn(self, orders: Orders) -> None:
        with self._lock:
            self._orders = orders
        if not self._known.is_set():
            paused = [pause.lane or "all lanes" for pause in orders.paused]
            _LOG.info("the control log was read", paused=paused)
        self._problem = ""
        self._known.set()
        self._on_change()

    def _hear(self, order: Order) -> None:
        with self._lock:
            is_new = self._orders.add(order)
        if is_new:
            _LOG.info("an operator's order", order=order.model_dump(mode="json", exclude_none=True))
            self._on_change()

    def _note(self, problem: str) -> None:
        """Keep what is wrong, and say so once."""
        text = f"the control log cannot be read: {problem}"
        if text != self._problem:
            _LOG.warning("the control log cannot be read; what is known holds", problem=problem)
        self._problem = text

"""What operators tell all workers: pause and resume lanes, cancel requests; and the fold that makes a state of it.

Orders are appended to the control log and never changed. Only the broker's permission to write to the exchange
``import.control`` makes somebody an operator (docs/how-to/broker-users.md); ``by`` is informative. What holds is a pure
function of the orders in the order of the log; the clocks of operators decide nothing.

Neighbours: ``broker.controllog`` reads and publishes, the worker's control watch and the commands fold. Threading:
plain data; an :class:`Orders` belongs to whoever locks it.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self

import pydantic
from pydantic import Field

from fleet_common.errors import Permanent, Reason
from fleet_common.messages import Model, Moment, Name, Text, explain

MAX_ORDER_BYTES: Final = 16 * 1024
_MAX_LANES: Final = 100


class Verb(enum.StrEnum):
    """What an order asks for."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    UNCANCEL = "uncancel"


_DONE: Final[Mapping[Verb, str]] = MappingProxyType(
    {Verb.PAUSE: "paused", Verb.RESUME: "resumed", Verb.CANCEL: "cancelled", Verb.UNCANCEL: "no longer cancelled"}
)
_ABOUT_LANES: Final = frozenset({Verb.PAUSE, Verb.RESUME})


class Order(Model):
    """One order: about lanes (pause, resume), or about a request or a batch (cancel, uncancel)."""

    version: Literal[1] = 1
    order_id: uuid.UUID
    verb: Verb
    lanes: Annotated[tuple[Name, ...], Field(max_length=_MAX_LANES)] = ()
    everything: bool = False
    """All lanes, those too that do not exist yet; instead of ``lanes``."""
    request_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None
    """All requests of this batch, also those that are submitted later."""
    at: Moment
    by: Text
    """``person@host``; informative."""
    why: Text | None = None

    @pydantic.model_validator(mode="after")
    def _says_what_it_is_about(self) -> Self:
        lanes = bool(self.lanes) or self.everything
        requests = self.request_id is not None or self.batch_id is not None
        if self.verb in _ABOUT_LANES and (requests or bool(self.lanes) == self.everything):
            raise ValueError(f"{self.verb} must name lanes or everything, and nothing else")
        if self.verb not in _ABOUT_LANES and (lanes or not requests):
            raise ValueError(f"{self.verb} must name a request or a batch, and nothing else")
        return self

    @property
    def text(self) -> str:
        """What was done, by whom, and why: ``cancelled by alice@desk: wrong plate``."""
        return f"{_DONE[self.verb]} by {self.by}" + (f": {self.why}" if self.why else "")


def encode_order(order: Order) -> bytes:
    """The order as it goes over the wire."""
    return order.model_dump_json(exclude_none=True).encode()


def decode_order(body: bytes) -> Order:
    """Read an order.

    Raises:
        Permanent: The body is no order of a known version; readers of the log count and skip it.
    """
    try:
        return Order.model_validate_json(body[: MAX_ORDER_BYTES + 1])
    except pydantic.ValidationError as error:
        raise Permanent(Reason.INVALID_REQUEST, f"not an order: {explain(error)}") from error


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause that holds.

    Attributes:
        lane: The lane; None for all lanes.
        order: The order that paused it.
        but: Lanes that were resumed after all were paused.
    """

    lane: str | None
    order: Order
    but: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Numbered:
    """An order and its place among all others."""

    number: int
    order: Order


class Orders:
    """What holds after the orders so far; they must be added in the order of the log."""

    def __init__(self) -> None:
        self._seen: set[uuid.UUID] = set()
        self._all: Order | None = None
        self._lanes: dict[str, Order] = {}
        self._requests: dict[uuid.UUID, _Numbered] = {}
        self._batches: dict[uuid.UUID, _Numbered] = {}

    def add(self, order: Order) -> bool:
        """Take in the next order; False for one that is there already, which changes nothing.

        A publisher that lost the connection before the confirm has sent the same order twice.
        """
        if order.order_id in self._seen:
            return False
        self._seen.add(order.order_id)
        if order.everything:
            self._all = order
            self._lanes.clear()
        self._lanes.update(dict.fromkeys(order.lanes, order))
        numbered = _Numbered(len(self._seen), order)
        if order.request_id is not None:
            self._requests[order.request_id] = numbered
        if order.batch_id is not None:
            self._batches[order.batch_id] = numbered
        return True

    def is_paused(self, lane: str) -> bool:
        """Whether the latest order that concerns the lane, by name or as one of all, is a pause."""
        return _pauses(self._lanes.get(lane, self._all))

    def cancelled(self, request_id: uuid.UUID, batch_id: uuid.UUID | None = None) -> Order | None:
        """The order that cancels a request; None when the latest one that concerns it or its batch does not."""
        found = self._requests.get(request_id)
        of_batch = None if batch_id is None else self._batches.get(batch_id)
        if of_batch is not None and (found is None or found.number < of_batch.number):
            found = of_batch
        return found.order if found is not None and found.order.verb is Verb.CANCEL else None

    @property
    def paused(self) -> tuple[Paused, ...]:
        """Every pause that holds, that of all lanes first."""
        named = tuple(Paused(lane, order) for lane, order in sorted(self._lanes.items()) if _pauses(order))
        if self._all is None or not _pauses(self._all):
            return named
        but = tuple(sorted(lane for lane, order in self._lanes.items() if not _pauses(order)))
        return (Paused(None, self._all, but), *named)


def _pauses(order: Order | None) -> bool:
    return order is not None and order.verb is Verb.PAUSE

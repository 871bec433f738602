"""One function for each layer: why it does not agree yet, or nothing. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from fleet_common.plates import End, describe
from fleet_producer.completeness.model import History, Layer, Look, Policy

_LEAST_LOOKS: Final = 2


class Wait(NamedTuple):
    """A layer that does not agree.

    Attributes:
        layer: Which one.
        why: In words for people.
        passes: Whether time alone can make it agree.
    """

    layer: Layer
    why: str
    passes: bool = False


def waits(history: History, look: Look, policy: Policy) -> tuple[Wait, ...]:
    """Every layer that does not agree.

    Args:
        history: With this look in it.
        look: The last one.
        policy: Of the instrument.
    """
    return tuple(found for layer in _LAYERS for found in layer(history, look, policy))


def _entry(_history: History, look: Look, _policy: Policy) -> Iterator[Wait]:
    if look.unreadable:
        yield Wait(Layer.ENTRY, look.unreadable)


def _end(_history: History, look: Look, _policy: Policy) -> Iterator[Wait]:
    if look.unreadable:
        return
    if look.end is End.RUNNING:
        yield Wait(Layer.END, "the instrument has not said that it is done")
    if look.awaited:
        yield Wait(Layer.END, f"the file {look.awaited} is not there yet")


def _files(_history: History, look: Look, _policy: Policy) -> Iterator[Wait]:
    if look.absent:
        more = f"; and {look.absent_more} more files" if look.absent_more else ""
        yield Wait(Layer.FILES, f"{describe(look.absent)}{more}")


def _quiet(history: History, _look: Look, policy: Policy) -> Iterator[Wait]:
    if history.looks < _LEAST_LOOKS or history.quiet_seconds < policy.settle_seconds:
        yield Wait(
            Layer.QUIET,
            f"nothing has changed for {history.quiet_seconds:.0f} of {policy.settle_seconds:.0f} s",
            passes=True,
        )


def _names(_history: History, look: Look, _policy: Policy) -> Iterator[Wait]:
    if look.temporary:
        yield Wait(Layer.NAMES, f"files with temporary names are there: {', '.join(look.temporary)}")
    if look.held:
        yield Wait(Layer.NAMES, f"another program has {look.held} open")


def _whole(_history: History, look: Look, _policy: Policy) -> Iterator[Wait]:
    if look.damaged is None:
        yield Wait(Layer.WHOLE, "its files are not looked into yet", passes=True)
    elif look.damaged:
        yield Wait(Layer.WHOLE, describe(look.damaged))


_LAYERS: Final[tuple[Callable[[History, Look, Policy], Iterator[Wait]], ...]] = (
    _entry,
    _end,
    _files,
    _names,
    _quiet,
    _whole,
)

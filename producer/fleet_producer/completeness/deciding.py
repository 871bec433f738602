"""From the layers to a state: a pure function that tests enumerate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleet_common.plates import End
from fleet_producer.completeness.layers import Wait, waits
from fleet_producer.completeness.model import Decision, History, Layer, Look, Policy, State

_PARTIAL: Final = (
    "Copy or export the plate again; or, to import what is there, decide so: "
    "omero-fleet submit --partial, which is recorded."
)
_IGNORE: Final = "If this is no plate, let the first rule ignore its folder; otherwise copy or export it again."


def decide(history: History, look: Look, policy: Policy) -> Decision:
    """Say where a plate is.

    A plate is never called complete before its entry file was read to its end, the instrument does not say that it is
    still running, every listed file is there, not empty and whole, no name is temporary, and two looks separated by the
    settle time were equal.

    Args:
        history: With this look in it.
        look: The last one.
        policy: Of the instrument.
    """
    found = waits(history, look, policy)
    state = _state(found, history, look, policy)
    waiting = state in {State.DISCOVERED, State.ACQUIRING, State.SETTLING, State.COMPLETE}
    return Decision(
        state=state,
        why=_why(state, found, history, look),
        next_action="" if waiting else (look.advice or _IGNORE) if look.unreadable else _PARTIAL,
        done=look.present,
        of=look.listed,
        eta_seconds=history.eta_seconds(look) if state is State.ACQUIRING else None,
        check_due=look.damaged is None and [one.layer for one in found] == [Layer.WHOLE],
        problems=(*look.absent, *(look.damaged or ())),
    )


def _state(found: Sequence[Wait], history: History, look: Look, policy: Policy) -> State:
    if not found:
        return State.COMPLETE
    if all(one.passes for one in found):
        return State.SETTLING
    if history.still_seconds >= policy.deadline_seconds:
        return State.ABORTED if look.end is End.RUNNING and not look.unreadable else State.INCOMPLETE
    if look.unreadable:
        return State.DISCOVERED
    stuck = {one.layer for one in found if not one.passes}
    return State.SETTLING if stuck == {Layer.NAMES} else State.ACQUIRING


def _why(state: State, found: Sequence[Wait], history: History, look: Look) -> str:
    if state is State.COMPLETE:
        return f"all {look.listed} files are there and whole{_errors(look)}"
    told = "; ".join(one.why for one in found if state is State.SETTLING or not one.passes)
    if state in {State.INCOMPLETE, State.ABORTED}:
        return f"nothing has changed for {history.still_seconds:.0f} s, and {told}{_errors(look)}"
    return told


def _errors(look: Look) -> str:
    return f"; the instrument recorded {look.errors} errors" if look.errors else ""

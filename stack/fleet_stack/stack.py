"""All parts of a stack together.

Role: brings parts up side by side, takes them down, asks them, and removes everything. Neighbours: `__main__` is its
face on the command line; tests call it directly, and take single parts down and up with `parts.part`. Threading: one
thread per chain of parts (RabbitMQ in one, OMERO and OMERO.web in the other), owned by `side_by_side`; two commands on
the same stack exclude each other with a lock file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fleet_stack.console import StackError, note
from fleet_stack.description import record, recorded_parts
from fleet_stack.fleet import stop_recorded
from fleet_stack.layout import RECORD, Layout, cache_root, locked, state_root
from fleet_stack.parts import NAMES, Options, Part, PartStatus, part

if TYPE_CHECKING:
    from fleet_stack.description import StackDescription

# OMERO.web is of no use before OMERO; RabbitMQ needs neither.
CHAINS: Final = (("rabbitmq",), ("omero", "web"))


@dataclass(frozen=True, slots=True)
class StackStatus:
    """How a stack is; ready when every part that was brought up is."""

    name: str
    parts: tuple[PartStatus, ...]

    @property
    def ready(self) -> bool:
        """Whether there is at least one part and all are ready."""
        return bool(self.parts) and all(status.ready for status in self.parts)


def up(name: str, wanted: Sequence[str] = NAMES, options: Options | None = None) -> StackDescription:
    """Bring parts of a stack up; those that are up stay as they are.

    Raises:
        StackError: a part did not come up; the others were waited for and are left as they are.
    """
    layout = Layout.claim(name)
    with _alone(layout):
        parts = {chosen: part(layout, chosen, options) for chosen in NAMES if chosen in wanted}
        known = recorded_parts(layout)
        description = record(layout, tuple(one for one in NAMES if one in parts or one in known))
        if not layout.cache.exists():
            note(f"first start on this machine: what is downloaded now is kept in {layout.cache}")
        side_by_side(_chains(parts), _bring_up)
    return description


def install(wanted: Sequence[str] = NAMES, options: Options | None = None) -> None:
    """Fetch what parts need into the cache, without making a stack; does nothing when all is there.

    Raises:
        StackError: something could not be fetched.
    """
    layout = Layout.for_name("install")
    parts = {chosen: part(layout, chosen, options) for chosen in NAMES if chosen in wanted}
    side_by_side(_chains(parts), lambda one: one.install())


def down(name: str) -> tuple[str, ...]:
    """Stop every part of a stack and return their names; data stay."""
    layout = Layout.for_name(name)
    if not layout.record.exists():
        return ()
    with _alone(layout):
        return _stop_all(layout)


def status(name: str) -> StackStatus:
    """Ask every part that was ever brought up how it is."""
    layout = Layout.for_name(name)
    return StackStatus(name, tuple(part(layout, one).status() for one in recorded_parts(layout)))


def wipe(name: str) -> bool:
    """Stop a stack and remove its folder; False when there was none.

    Raises:
        StackError: something could not be removed.
    """
    layout = Layout.for_name(name)
    if not layout.state.exists():
        return False
    with _alone(layout):
        _stop_all(layout)
        try:
            shutil.rmtree(layout.state)
        except OSError as error:
            raise StackError(f"cannot remove {layout.state}: {error}; run the command as who brought it up") from error
    return True


def purge() -> tuple[str, ...]:
    """Wipe every stack, remove the cache, and return the names of the stacks that there were.

    Raises:
        StackError: something could not be removed.
    """
    root = state_root()
    names = tuple(sorted(record.parent.name for record in root.glob(f"*/{RECORD}")))
    for name in names:
        wipe(name)
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(cache_root(), ignore_errors=True)
    left = [str(folder) for folder in (root, cache_root()) if folder.exists()]
    if left:
        raise StackError(f"cannot remove {' and '.join(left)}: run the command as who brought the stacks up")
    return names


def side_by_side(chains: Sequence[Sequence[Part]], act: Callable[[Part], None]) -> None:
    """Do something with the parts of every chain in order, all chains at once, and wait for all of them.

    Raises:
        StackError: with what every failed chain said.
    """
    with ThreadPoolExecutor(max_workers=max(len(chains), 1), thread_name_prefix="part") as pool:
        futures = [pool.submit(_in_order, chain, act) for chain in chains]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, StackError):
            raise error
    if errors:
        raise StackError("\n".join(map(str, errors))) from errors[0]


def _in_order(chain: Sequence[Part], act: Callable[[Part], None]) -> None:
    for one in chain:
        act(one)


def _chains(parts: dict[str, Part]) -> list[list[Part]]:
    chains = [[parts[name] for name in chain if name in parts] for chain in CHAINS]
    return [chain for chain in chains if chain]


def _bring_up(one: Part) -> None:
    one.install()
    one.initialise()
    one.start()


def _stop_all(layout: Layout) -> tuple[str, ...]:
    stop_recorded(layout)
    parts = {name: part(layout, name) for name in recorded_parts(layout)}
    side_by_side([chain[::-1] for chain in _chains(parts)], lambda one: one.stop())
    return tuple(parts)


def _alone(layout: Layout) -> AbstractContextManager[None]:
    return locked(layout.state / "lock")

"""What every part of a stack can do, and how to get one by its name.

Role: the common face of RabbitMQ, OMERO (with its database) and OMERO.web. Neighbours: `stack` runs parts together,
tests take single ones down and up. Threading: one part is used by one thread at a time; different parts may run side by
side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from fleet_stack.console import StackError

if TYPE_CHECKING:
    from fleet_stack.layout import Layout

NAMES: Final = ("rabbitmq", "omero", "web")


@dataclass(frozen=True, slots=True)
class PartStatus:
    """How a part is: ready is what counts, the rest is for people."""

    name: str
    running: bool
    ready: bool
    detail: str


@runtime_checkable
class Part(Protocol):
    """One server, or servers that only make sense together. Every method may be called again at any time."""

    @property
    def name(self) -> str:
        """One of `NAMES`."""
        ...

    def install(self) -> None:
        """Fetch what it needs into the cache; does nothing when it is there."""
        ...

    def initialise(self) -> None:
        """Make its folder in the state; does nothing when it is there."""
        ...

    def start(self) -> None:
        """Start it, wait until it is ready, and see to its users; a running one is left running."""
        ...

    def stop(self) -> None:
        """End it in an orderly way; its data stay."""
        ...

    def status(self) -> PartStatus:
        """Ask it how it is; never raises because it is down."""
        ...


@runtime_checkable
class Killable(Protocol):
    """A part that can be ended as a power cut would."""

    def kill(self) -> None:
        """End it at once, without a chance to write anything."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """What a stack is made of, beyond its name.

    Attributes:
        rabbitmq_version: 3.10, 4.0 or newest; None for what the stack has, or 4.0.
        omero_settings: ``omero.*`` settings of the server.
        optimise_java: Whether OMERO's Java may use its optimising compiler, as a facility's does. Without it a start
            takes less than half of the processor time, which is what tests want, and long imports take longer.
    """

    rabbitmq_version: str | None = None
    omero_settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    optimise_java: bool = False


def part(layout: Layout, name: str, options: Options | None = None) -> Part:
    """The part of this name.

    Raises:
        StackError: there is no such part.
    """
    chosen = options or Options()
    # Imported only when asked for: a stack with RabbitMQ alone needs nothing of OMERO.
    if name == "rabbitmq":
        from fleet_stack.rabbitmq.part import RabbitPart  # noqa: PLC0415  see above

        return RabbitPart(layout, chosen.rabbitmq_version)
    if name == "omero":
        from fleet_stack.omero.part import OmeroPart  # noqa: PLC0415  see above
        from fleet_stack.omero.settings import OmeroSettings  # noqa: PLC0415  see above

        settings = OmeroSettings(chosen.omero_settings)
        return OmeroPart(layout, replace(settings, java_options=()) if chosen.optimise_java else settings)
    if name == "web":
        from fleet_stack.omero.web import WebPart  # noqa: PLC0415  see above

        return WebPart(layout)
    raise StackError(f"there is no part {name!r}: choose from {', '.join(NAMES)}")

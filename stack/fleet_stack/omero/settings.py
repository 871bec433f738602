"""What can be chosen about a stack's OMERO.server; pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet_stack.console import StackError


@dataclass(frozen=True, slots=True)
class OmeroSettings:
    """Choices for one server; they take effect at its next start.

    Attributes:
        properties: Any ``omero.*`` setting, such as ``omero.db.poolsize``; the server's own defaults otherwise.
        heap: Largest Java heap of Blitz, as in ``-Xmx``.
        java_options: More options for the Java of Blitz. By default its optimising compiler is off: a start then takes
            8 instead of 19 seconds of processor time, which a stack seldom lives long enough to earn back.
        unsafe_db: Leave PostgreSQL's writes to the operating system, see ``database.Database``: imports take about half
            of the time, and only a crash of the whole machine loses the data of a stack that is made anew in seconds.
        indexer: Run the full text indexer, too (300 to 400 MB of memory).
        pixeldata: Run the maker of pyramids for planes over 3192 pixels, too (300 to 400 MB of memory).

    Raises:
        StackError: A property is not called ``omero.`` something.
    """

    properties: Mapping[str, str] = field(default_factory=dict)
    heap: str = "1g"
    java_options: tuple[str, ...] = ("-XX:TieredStopAtLevel=1",)
    unsafe_db: bool = True
    indexer: bool = False
    pixeldata: bool = False

    def __post_init__(self) -> None:
        wrong = [name for name in self.properties if not name.startswith("omero.")]
        if wrong:
            raise StackError(f"{wrong[0]!r} is no setting of OMERO.server: their names begin with omero.")

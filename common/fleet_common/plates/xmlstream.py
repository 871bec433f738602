"""Streams a vendor's XML file and hands over its elements, within the bounds of :mod:`boundedxml`.

Nothing of the document is kept here but the text of the element that a receiver asked for: a file of 100 MB costs no
more memory than one of 10 kB. One parser per file, one thread. Harmony has a parser of its own
(:mod:`fleet_common.plates.harmony.xml`), which knows what an index may hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from fleet_common.names import printable
from fleet_common.plates.boundedxml import BoundedParser, Broken
from fleet_common.plates.model import Bytes

__all__ = ["Broken", "Dialect", "Receiver", "number", "parse"]

MAX_ELEMENTS: Final = 20_000_000

_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


class Receiver(Protocol):
    """Takes the elements of one file, in document order; may raise :class:`Broken` or an error of the fleet."""

    @property
    def root(self) -> str:
        """The name of the root element."""

    def start(self, name: str, attributes: Mapping[str, str], line: int) -> bool:
        """An element begins; True to be given its text, and then it may hold no other element."""

    def text(self, name: str, text: str) -> None:
        """An element ends whose text was asked for."""


class Dialect(NamedTuple):
    """How a vendor writes XML.

    Attributes:
        prefixes: Whether prefixes belong to the names of elements and attributes; else they are dropped.
        lone_bracket: Whether one more ``>`` may follow the root, which Bio-Formats drops, too
            (``CV7000Reader.readSanitizedXML``).
    """

    prefixes: bool = True
    lone_bracket: bool = False


def parse(stream: Bytes, path: str, receiver: Receiver, dialect: Dialect = Dialect()) -> None:  # noqa: B008  immutable
    """Read a whole file.

    Args:
        stream: The file, from its beginning.
        path: The name of the file in errors.
        receiver: Gets the elements.
        dialect: Of the vendor.

    Raises:
        Permanent: ``format-broken`` with path, line and element.
    """
    _Parser(path, receiver, dialect).run(stream)


def number(attributes: Mapping[str, str], name: str, least: int, most: int) -> int:
    """A whole number of an element.

    Raises:
        Broken: It is missing, no number, or out of bounds.
    """
    text = attributes.get(name)
    if text is None:
        raise Broken(f"{name} is missing")
    if not _NUMBER.fullmatch(text):
        raise Broken(f"{name} is {printable(text, 40)}, not a whole number")
    if not least <= int(text) <= most:
        raise Broken(f"{name} is {text}, not within {least} and {most}")
    return int(text)


class _Parser(BoundedParser):
    def __init__(self, path: str, receiver: Receiver, dialect: Dialect) -> None:
        super().__init__(path, MAX_ELEMENTS)
        self._receiver = receiver
        self._dialect = dialect
        self._wanted = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._dialect.prefixes:
            name = _local(name)
            attributes = {_local(key): value for key, value in attributes.items()}
        self.enter(name, attributes)
        if self._wanted:
            raise Broken("it stands inside an element that holds only text")
        if len(self._open) == 1 and name != self._receiver.root:
            raise Broken(f"the root element is <{printable(name)[1:-1]}>, not <{self._receiver.root}>")
        if self._receiver.start(name, attributes, self.line):
            self._wanted = True
            self.collect()

    def end(self, name: str) -> None:  # noqa: ARG002  as expat has it, with its prefix
        if self._wanted:
            self._wanted = False
            self._receiver.text(self._open[-1], self.collected())
        self.leave()

    def tail(self, held: bytes) -> bytes:
        return _without_lone_bracket(held) if self._dialect.lone_bracket else held


def _without_lone_bracket(tail: bytes) -> bytes:
    ended = tail.rstrip()
    return ended[:-1] if ended.endswith(b">>") else tail


def _local(name: str) -> str:
    return name.rpartition(":")[2]

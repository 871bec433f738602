"""Streams a vendor's XML file through expat and hands over its elements, within bounds.

Nothing of the document is kept here but the text of the element that a receiver asked for: a file of 100 MB costs no
more memory than one of 10 kB. Refused: a DOCTYPE (and with it every entity), another root element, more elements, more
names, deeper nesting, longer texts or longer tags than such a file can have. One parser per file, one thread. Harmony
has a parser of its own (:mod:`fleet_common.plates.harmony.xml`), which knows what an index may hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, NoReturn, Protocol
from xml.parsers import expat

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.model import Bytes

CHUNK_BYTES: Final = 1 << 16
MAX_BYTES: Final = 4 << 30
MAX_ELEMENTS: Final = 20_000_000
MAX_NAMES: Final = 1_000
MAX_DEPTH: Final = 32
MAX_TEXT_CHARACTERS: Final = 4_096
MAX_TAG_BYTES: Final = 1 << 20

_TAIL_BYTES: Final = 256
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


class Broken(Exception):
    """What is wrong with the element that the parser is at; becomes ``format-broken`` with file and line."""


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


class _Parser:
    def __init__(self, path: str, receiver: Receiver, dialect: Dialect) -> None:
        self._path = path
        self._receiver = receiver
        self._dialect = dialect
        self._open: list[str] = []
        self._names: set[str] = set()
        self._elements = 0
        self._wanted = False
        self._text: list[str] = []
        self._text_length = 0
        self._expat = self._made()

    def _made(self) -> expat.XMLParserType:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        return parser

    def run(self, stream: Bytes) -> None:
        try:
            self._feed(stream)
        except expat.ExpatError as error:
            raise self._broken(expat.errors.messages[error.code], error.lineno) from error
        except Broken as error:
            raise self._broken(str(error), self._expat.CurrentLineNumber) from error

    def _feed(self, stream: Bytes) -> None:
        held, fed_bytes = b"", 0
        while chunk := stream.read(CHUNK_BYTES):
            held += chunk
            # The end of the file is known only once it is read, so that much is always held back.
            part, held = held[:-_TAIL_BYTES], held[-_TAIL_BYTES:]
            self._expat.Parse(part, False)  # noqa: FBT003  expat takes it by position only
            fed_bytes += len(part)
            if fed_bytes - self._expat.CurrentByteIndex > MAX_TAG_BYTES + CHUNK_BYTES:
                raise Broken(f"a tag or comment is longer than {MAX_TAG_BYTES} bytes")
            if fed_bytes > MAX_BYTES:
                raise Broken(f"the file is larger than {MAX_BYTES} bytes")
        self._expat.Parse(_without_lone_bracket(held) if self._dialect.lone_bracket else held, True)  # noqa: FBT003  as above

    def _broken(self, what: str, line: int) -> RequestError:
        element = f" in <{printable(self._open[-1])[1:-1]}>" if self._open else ""
        return failure(Reason.FORMAT_BROKEN, f"{self._path}, line {line}{element}: {what}")

    def _doctype(self, *_: object) -> NoReturn:
        raise Broken("it has a DOCTYPE, which no such file has: entities are not read")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._dialect.prefixes:
            name = _local(name)
            attributes = {_local(key): value for key, value in attributes.items()}
        self._open.append(name)
        self._check_bounds(name, attributes)
        if self._wanted:
            raise Broken("it stands inside an element that holds only text")
        if len(self._open) == 1 and name != self._receiver.root:
            raise Broken(f"the root element is <{printable(name)[1:-1]}>, not <{self._receiver.root}>")
        if self._receiver.start(name, attributes, self._expat.CurrentLineNumber):
            self._wanted = True
            self._text.clear()
            self._text_length = 0
            self._expat.CharacterDataHandler = self._characters

    def _check_bounds(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._open) > MAX_DEPTH:
            raise Broken(f"elements are nested deeper than {MAX_DEPTH}")
        if self._elements > MAX_ELEMENTS:
            raise Broken(f"it has more than {MAX_ELEMENTS} elements")
        self._names.add(name)
        self._names.update(attributes)
        if len(self._names) > MAX_NAMES:
            raise Broken(f"its elements and attributes have more than {MAX_NAMES} different names")

    def _characters(self, text: str) -> None:
        self._text_length += len(text)
        if self._text_length > MAX_TEXT_CHARACTERS:
            raise Broken(f"its text is longer than {MAX_TEXT_CHARACTERS} characters")
        self._text.append(text)

    def _end(self, _: str) -> None:
        if self._wanted:
            self._wanted = False
            self._expat.CharacterDataHandler = None
            self._receiver.text(self._open[-1], "".join(self._text))
        self._open.pop()


def _without_lone_bracket(tail: bytes) -> bytes:
    ended = tail.rstrip()
    return ended[:-1] if ended.endswith(b">>") else tail


def _local(name: str) -> str:
    return name.rpartition(":")[2]

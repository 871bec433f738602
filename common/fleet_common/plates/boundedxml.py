"""Runs expat over a stream within bounds: what all parsers of vendors' XML share.

Refused: a DOCTYPE (and with it every entity), more elements, more names, deeper nesting, longer texts or longer tags
than such a file can have. Nothing of the document is kept but the text of the element at hand, if a parser wants it.
One parser per file, one thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final, NoReturn
from xml.parsers import expat

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.model import Bytes

CHUNK_BYTES: Final = 1 << 16
MAX_BYTES: Final = 4 << 30
MAX_NAMES: Final = 1_000
MAX_DEPTH: Final = 32
MAX_TEXT_CHARACTERS: Final = 4_096
MAX_TAG_BYTES: Final = 1 << 20

_TAIL_BYTES: Final = 256


class Broken(Exception):
    """What is wrong with the element that the parser is at; becomes ``format-broken`` with file and line."""


class BoundedParser(ABC):
    """Feeds a file to expat; a subclass says what to do with its elements.

    Args:
        path: The name of the file in errors.
        max_elements: How many it may have.
    """

    def __init__(self, path: str, max_elements: int) -> None:
        self._path = path
        self._max_elements = max_elements
        self._open: list[str] = []
        self._names: set[str] = set()
        self._elements = 0
        self._text: list[str] = []
        self._text_length = 0
        self._expat = self._made()

    def run(self, stream: Bytes) -> None:
        """Read a whole file, from its beginning.

        Raises:
            Permanent: ``format-broken`` with path, line and element.
        """
        try:
            self._feed(stream)
        except expat.ExpatError as error:
            raise self._broken(expat.errors.messages[error.code], error.lineno) from error
        except Broken as error:
            raise self._broken(str(error), self._expat.CurrentLineNumber) from error
        except (LookupError, ValueError) as error:
            # What expat says of an encoding that Python does not know, or that has characters of several bytes.
            if "encoding" not in str(error):
                raise
            raise self._broken(str(error), self._expat.CurrentLineNumber) from error

    @property
    def line(self) -> int:
        """Where the parser is."""
        return self._expat.CurrentLineNumber

    @abstractmethod
    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins; a subclass enters it first."""

    @abstractmethod
    def end(self, name: str) -> None:
        """An element ends; a subclass leaves it last."""

    def tail(self, held: bytes) -> bytes:
        """What counts of the last bytes of a file."""
        return held

    def enter(self, name: str, attributes: Mapping[str, str]) -> None:
        """Count an element and its names."""
        self._open.append(name)
        self._elements += 1
        if len(self._open) > MAX_DEPTH:
            raise Broken(f"elements are nested deeper than {MAX_DEPTH}")
        if self._elements > self._max_elements:
            raise Broken(f"it has more than {self._max_elements} elements")
        if name not in self._names or attributes:
            self._names.add(name)
            self._names.update(attributes)
            if len(self._names) > MAX_NAMES:
                raise Broken(f"its elements and attributes have more than {MAX_NAMES} different names")

    def leave(self) -> None:
        """The element at hand has ended."""
        self._open.pop()

    def collect(self) -> None:
        """Keep the text of the element at hand."""
        self._text.clear()
        self._text_length = 0
        self._expat.CharacterDataHandler = self._characters

    def collected(self) -> str:
        """The text that was kept."""
        self._expat.CharacterDataHandler = None
        return "".join(self._text)

    def _made(self) -> expat.XMLParserType:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.StartDoctypeDeclHandler = self._doctype
        return parser

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
        self._expat.Parse(self.tail(held), True)  # noqa: FBT003  as above

    def _broken(self, what: str, line: int) -> RequestError:
        element = f" in <{printable(self._open[-1])[1:-1]}>" if self._open else ""
        return failure(Reason.FORMAT_BROKEN, f"{self._path}, line {line}{element}: {what}")

    def _doctype(self, *_: object) -> NoReturn:
        raise Broken("it has a DOCTYPE, which no such file has: entities are not read")

    def _characters(self, text: str) -> None:
        self._text_length += len(text)
        if self._text_length > MAX_TEXT_CHARACTERS:
            raise Broken(f"its text is longer than {MAX_TEXT_CHARACTERS} characters")
        self._text.append(text)

"""Streams a Harmony index through expat and hands over its records, within bounds.

Nothing of the document is kept but the text of the elements in :data:`_TREE`, one record at a time: an index of 800 MB
costs no more memory than one of 8 kB. Refused: a DOCTYPE (and with it every entity), more elements, other names, deeper
nesting, longer texts or longer tags than an index can have. One parser per index, used by one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn, Protocol
from xml.parsers import expat

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.model import Bytes

CHUNK_BYTES: Final = 1 << 16
MAX_BYTES: Final = 4 << 30
MAX_ELEMENTS: Final = 100_000_000
MAX_NAMES: Final = 1_000
MAX_DEPTH: Final = 32
MAX_TEXT_CHARACTERS: Final = 4_096
MAX_TAG_BYTES: Final = 1 << 20

_TEXT: Final[dict[str, Any]] = {}
"""Marks an element whose text is kept."""

_PLATE: Final = (
    "PlateID",
    "MeasurementID",
    "MeasurementStartTime",
    "Name",
    "PlateTypeName",
    "PlateRows",
    "PlateColumns",
)
_IMAGE: Final = (
    "State",
    "URL",
    "Row",
    "Col",
    "FieldID",
    "PlaneID",
    "TimepointID",
    "ChannelID",
    "ChannelName",
    "ImageSizeX",
    "ImageSizeY",
)
_ENTRY: Final = ("ChannelName", "ImageSizeX", "ImageSizeY")

_PLATE_NODE: Final[dict[str, Any]] = dict.fromkeys(_PLATE, _TEXT)
_IMAGE_NODE: Final[dict[str, Any]] = dict.fromkeys(_IMAGE, _TEXT)
_ENTRY_NODE: Final[dict[str, Any]] = dict.fromkeys(_ENTRY, _TEXT)
_ROOT_NODE: Final[dict[str, Any]] = {
    "User": _TEXT,
    "InstrumentType": _TEXT,
    "Plates": {"Plate": _PLATE_NODE},
    "Maps": {"Map": {"Entry": _ENTRY_NODE}},
    "Images": {"Image": _IMAGE_NODE},
}
_TREE: Final[dict[str, Any]] = {"EvaluationInputData": _ROOT_NODE}


class Broken(Exception):
    """What is wrong with the element that the parser is at; becomes ``format-broken`` with file and line."""


class Receiver(Protocol):
    """Takes the records of an index, in document order; may raise :class:`Broken` or an error of the fleet."""

    def root(self, namespace: str) -> None:
        """The root element begins."""

    def plate(self, values: Mapping[str, str], line: int) -> None:
        """A ``Plate`` was read."""

    def channel(self, channel_id: str, values: Mapping[str, str]) -> None:
        """An ``Entry`` of ``Maps`` was read."""

    def image(self, values: Mapping[str, str], line: int) -> None:
        """An ``Image`` of ``Images`` was read."""

    def end(self, values: Mapping[str, str]) -> None:
        """The root element was read; the values are those directly below it."""


def parse(stream: Bytes, path: str, receiver: Receiver) -> None:
    """Read a whole index.

    Args:
        stream: The file, from its beginning.
        path: The name of the index in errors.
        receiver: Gets the records.

    Raises:
        Permanent: ``format-broken`` with path, line and element.
    """
    _Parser(path, receiver).run(stream)


class _Parser:
    def __init__(self, path: str, receiver: Receiver) -> None:
        self._path = path
        self._receiver = receiver
        self._nodes: list[dict[str, Any] | None] = [_TREE]
        self._open: list[str] = []
        self._names: set[str] = set()
        self._elements = 0
        self._values: dict[str, str] = {}
        self._root_values: dict[str, str] = {}
        self._text: list[str] = []
        self._text_length = 0
        self._channel_id = ""
        self._line = 0
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
        read_bytes = 0
        while chunk := stream.read(CHUNK_BYTES):
            read_bytes += len(chunk)
            self._expat.Parse(chunk, False)  # noqa: FBT003  expat takes it by position only
            if read_bytes - self._expat.CurrentByteIndex > MAX_TAG_BYTES + CHUNK_BYTES:
                raise Broken(f"a tag or comment is longer than {MAX_TAG_BYTES} bytes")
            if read_bytes > MAX_BYTES:
                raise Broken(f"the index is larger than {MAX_BYTES} bytes")
        self._expat.Parse(b"", True)  # noqa: FBT003  as above

    def _broken(self, what: str, line: int) -> RequestError:
        element = f" in <{printable(self._open[-1])[1:-1]}>" if self._open else ""
        return failure(Reason.FORMAT_BROKEN, f"{self._path}, line {line}{element}: {what}")

    def _doctype(self, *_: object) -> NoReturn:
        raise Broken("it has a DOCTYPE, which no Harmony index has: entities are not read")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._open.append(name)
        self._check_bounds(name, attributes)
        parent = self._nodes[-1]
        if parent is _TEXT:
            raise Broken("it stands inside an element that holds only text")
        node = None if parent is None else parent.get(name)
        self._nodes.append(node)
        if node is _TEXT:
            self._text.clear()
            self._text_length = 0
            self._expat.CharacterDataHandler = self._characters
        elif node is not None:
            self._start_record(node, attributes)
        elif len(self._open) == 1:
            raise Broken(f"the root element is <{printable(name)[1:-1]}>, not <EvaluationInputData>")

    def _check_bounds(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._open) > MAX_DEPTH:
            raise Broken(f"elements are nested deeper than {MAX_DEPTH}")
        if self._elements > MAX_ELEMENTS:
            raise Broken(f"it has more than {MAX_ELEMENTS} elements")
        if name not in self._names or attributes:
            self._names.add(name)
            self._names.update(attributes)
            if len(self._names) > MAX_NAMES:
                raise Broken(f"its elements and attributes have more than {MAX_NAMES} different names")

    def _start_record(self, node: dict[str, Any], attributes: dict[str, str]) -> None:
        if node is _ROOT_NODE:
            self._receiver.root(attributes.get("xmlns", ""))
        elif node is _IMAGE_NODE and "id" in attributes:
            raise Broken("an image is only referred to here, Bio-Formats would leave it out")
        elif node is _ENTRY_NODE:
            self._channel_id = attributes.get("ChannelID", "")
        if node is _PLATE_NODE or node is _IMAGE_NODE or node is _ENTRY_NODE:
            self._values = {}
            self._line = self._expat.CurrentLineNumber

    def _characters(self, text: str) -> None:
        self._text_length += len(text)
        if self._text_length > MAX_TEXT_CHARACTERS:
            raise Broken(f"its text is longer than {MAX_TEXT_CHARACTERS} characters")
        self._text.append(text)

    def _end(self, name: str) -> None:
        node = self._nodes.pop()
        if node is _TEXT:
            self._keep(name)
        elif node is not None:
            self._end_record(node)
        self._open.pop()

    def _keep(self, name: str) -> None:
        self._expat.CharacterDataHandler = None
        values = self._root_values if self._nodes[-1] is _ROOT_NODE else self._values
        if name in values:
            raise Broken("it is given twice")
        values[name] = "".join(self._text)

    def _end_record(self, node: dict[str, Any]) -> None:
        if node is _IMAGE_NODE:
            self._receiver.image(self._values, self._line)
        elif node is _PLATE_NODE:
            self._receiver.plate(self._values, self._line)
        elif node is _ENTRY_NODE:
            self._receiver.channel(self._channel_id, self._values)
        elif node is _ROOT_NODE:
            self._receiver.end(self._root_values)

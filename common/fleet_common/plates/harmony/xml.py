"""Streams a Harmony index and hands over its records, within the bounds of :mod:`fleet_common.plates.boundedxml`.

Nothing of the document is kept but the text of the elements in :data:`_TREE`, one record at a time: an index of 800 MB
costs no more memory than one of 8 kB. One parser per index, used by one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from fleet_common.names import printable
from fleet_common.plates.boundedxml import BoundedParser, Broken
from fleet_common.plates.model import Bytes

MAX_ELEMENTS: Final = 100_000_000

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


class _Parser(BoundedParser):
    def __init__(self, path: str, receiver: Receiver) -> None:
        super().__init__(path, MAX_ELEMENTS)
        self._receiver = receiver
        self._nodes: list[dict[str, Any] | None] = [_TREE]
        self._values: dict[str, str] = {}
        self._root_values: dict[str, str] = {}
        self._channel_id = ""
        self._line = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.enter(name, attributes)
        parent = self._nodes[-1]
        if parent is _TEXT:
            raise Broken("it stands inside an element that holds only text")
        node = None if parent is None else parent.get(name)
        self._nodes.append(node)
        if node is _TEXT:
            self.collect()
        elif node is not None:
            self._start_record(node, attributes)
        elif len(self._open) == 1:
            raise Broken(f"the root element is <{printable(name)[1:-1]}>, not <EvaluationInputData>")

    def _start_record(self, node: dict[str, Any], attributes: dict[str, str]) -> None:
        if node is _ROOT_NODE:
            self._receiver.root(attributes.get("xmlns", ""))
        elif node is _IMAGE_NODE and "id" in attributes:
            raise Broken("an image is only referred to here, Bio-Formats would leave it out")
        elif node is _ENTRY_NODE:
            self._channel_id = attributes.get("ChannelID", "")
        if node is _PLATE_NODE or node is _IMAGE_NODE or node is _ENTRY_NODE:
            self._values = {}
            self._line = self.line

    def end(self, name: str) -> None:
        node = self._nodes.pop()
        if node is _TEXT:
            self._keep(name)
        elif node is not None:
            self._end_record(node)
        self.leave()

    def _keep(self, name: str) -> None:
        text = self.collected()
        values = self._root_values if self._nodes[-1] is _ROOT_NODE else self._values
        if name in values:
            raise Broken("it is given twice")
        values[name] = text

    def _end_record(self, node: dict[str, Any]) -> None:
        if node is _IMAGE_NODE:
            self._receiver.image(self._values, self._line)
        elif node is _PLATE_NODE:
            self._receiver.plate(self._values, self._line)
        elif node is _ENTRY_NODE:
            self._receiver.channel(self._channel_id, self._values)
        elif node is _ROOT_NODE:
            self._receiver.end(self._root_values)

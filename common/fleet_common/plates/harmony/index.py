"""Collects the records of a Harmony index into compact data, and checks what each of them says.

One tuple per image is kept, nothing else: with the plate that is made of it about 0.6 kB per image, a third of what the
index itself has. Used by one thread. The parser beside it (:mod:`xml`) calls it; :mod:`layout` makes the plate of what
it collected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from fleet_common.errors import Reason, failure
from fleet_common.names import printable
from fleet_common.plates.boundedxml import Broken

MAX_IMAGES: Final = 2_000_000
MAX_ROWS_OR_COLUMNS: Final = 256
MAX_ID: Final = 1_000_000
MAX_PIXELS: Final = 100_000
MAX_STATE_CHARACTERS: Final = 200
OK: Final = "Ok"

# That of version 7 begins with a GUID.
_NAMESPACE: Final = re.compile(r"(?:http://www\.perkinelmer\.com/PEHH|[0-9A-F-]{36})/HarmonyV([1-7])")
_NEWER: Final = re.compile(r"HarmonyV(?:[89]|[1-9][0-9]+)\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


class IndexImage(NamedTuple):
    """One image of the index, with the vendor's own numbers; the first six sort it as the reader does.

    Attributes:
        row: Of the well, from 1.
        column: Of the well, from 1.
        field: ``FieldID``.
        t: ``TimepointID``.
        z: ``PlaneID``.
        c: ``ChannelID``.
        url: As written; empty if there is none.
        x: Width in pixels, 0 where only the channel says it.
        y: Height in pixels, as ``x``.
        line: Where the image begins in the index.
        state: ``Ok``, or the instrument's word for what went wrong.
    """

    row: int
    column: int
    field: int
    t: int
    z: int
    c: int
    url: str
    x: int
    y: int
    line: int
    state: str


class Index:
    """What an index says, filled by :func:`fleet_common.plates.harmony.xml.parse`.

    Attributes:
        path: The index, relative to the share.
        version: Of the layout, 1 to 7.
        plate_texts: Texts of the one ``Plate``, by element.
        root_texts: Texts directly below the root, by element.
        channel_names: By ``ChannelID``.
        channel_sizes: Width and height by ``ChannelID``, for indexes that say it once per channel.
        images: In document order.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.version = 0
        self.plate_texts: Mapping[str, str] = {}
        self.root_texts: Mapping[str, str] = {}
        self.channel_names: dict[int, str] = {}
        self.channel_sizes: dict[int, tuple[int, int]] = {}
        self.images: list[IndexImage] = []
        self._shared: dict[str, str] = {}

    @property
    def rows(self) -> int:
        """Rows of the plate."""
        return int(self.plate_texts["PlateRows"])

    @property
    def columns(self) -> int:
        """Columns of the plate."""
        return int(self.plate_texts["PlateColumns"])

    def root(self, namespace: str) -> None:
        """Accept HarmonyV1 to HarmonyV7."""
        if _NEWER.search(namespace):
            raise failure(
                Reason.UNSUPPORTED,
                f"{self.path} is of the layout {printable(namespace)}, which is not known here: export the measurement "
                "in an older layout",
            )
        match = _NAMESPACE.fullmatch(namespace)
        if not match:
            raise Broken(f"its namespace is {printable(namespace)}, not that of HarmonyV1 to HarmonyV7")
        self.version = int(match[1])

    def plate(self, values: Mapping[str, str], line: int) -> None:
        """Accept the one plate, whose extent is known."""
        if self.plate_texts:
            raise Broken(f"a second plate begins in line {line}, and Bio-Formats would mix them: export one at a time")
        for name in ("PlateRows", "PlateColumns"):
            _number(values, name, 1, MAX_ROWS_OR_COLUMNS)
        self.plate_texts = values

    def channel(self, channel_id: str, values: Mapping[str, str]) -> None:
        """Keep name and size of a channel."""
        if not _NUMBER.fullmatch(channel_id):
            return
        if "ChannelName" in values:
            self.channel_names.setdefault(int(channel_id), values["ChannelName"])
        if "ImageSizeX" in values:
            size = _number(values, "ImageSizeX", 1, MAX_PIXELS), _number(values, "ImageSizeY", 1, MAX_PIXELS)
            self.channel_sizes[int(channel_id)] = size

    def image(self, values: Mapping[str, str], line: int) -> None:
        """Keep one image."""
        if len(self.images) == MAX_IMAGES:
            raise Broken(f"it lists more than {MAX_IMAGES} images")
        image = _image(values, line, self._share(values.get("State", OK)[:MAX_STATE_CHARACTERS]))
        if not image.url and image.state == OK:
            raise Broken("an image has no <URL> although its state is Ok")
        self.images.append(image)
        if "ChannelName" in values:
            self.channel_names.setdefault(image.c, values["ChannelName"])

    def end(self, values: Mapping[str, str]) -> None:
        """Accept the whole."""
        self.root_texts = values
        if not self.plate_texts:
            raise Broken("it has no <Plate>")
        if not self.images:
            raise Broken("it lists no image")

    def _share(self, text: str) -> str:
        """The same object for equal texts: nearly every image has the same state."""
        return self._shared.setdefault(text, text) if len(self._shared) < MAX_STATE_CHARACTERS else text


def _image(values: Mapping[str, str], line: int, state: str) -> IndexImage:
    return IndexImage(
        row=_number(values, "Row", 1, MAX_ROWS_OR_COLUMNS),
        column=_number(values, "Col", 1, MAX_ROWS_OR_COLUMNS),
        field=_number(values, "FieldID", 0, MAX_ID),
        t=_number(values, "TimepointID", 0, MAX_ID) if "TimepointID" in values else 0,
        z=_number(values, "PlaneID", 0, MAX_ID),
        c=_number(values, "ChannelID", 0, MAX_ID),
        url=values.get("URL", ""),
        x=_number(values, "ImageSizeX", 1, MAX_PIXELS) if "ImageSizeX" in values else 0,
        y=_number(values, "ImageSizeY", 1, MAX_PIXELS) if "ImageSizeY" in values else 0,
        line=line,
        state=state,
    )


def _number(values: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = values.get(name)
    if text is None:
        raise Broken(f"<{name}> is missing")
    if not _NUMBER.fullmatch(text):
        raise Broken(f"<{name}> is {printable(text, 40)}, not a whole number")
    if not least <= int(text) <= most:
        raise Broken(f"<{name}> is {text}, not within {least} and {most}")
    return int(text)

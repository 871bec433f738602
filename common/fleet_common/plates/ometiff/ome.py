"""Collects what an OME-XML says of images, their planes and files, and of plates, and checks each element.

Everything else in it is passed over. One tuple is kept per image, per ``TiffData`` and per field of a well.
:mod:`fleet_common.plates.xmlstream` calls it, :mod:`layout` makes the plate of what it collected. Used by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from fleet_common.plates.model import WellPosition
from fleet_common.plates.xmlstream import Broken, number
from fleet_common.storage.pixeltypes import PIXEL_TYPES

MAX_IMAGES: Final = 200_000
MAX_TIFF_DATA: Final = 2_000_000
MAX_PLANES: Final = 1_000_000
"""Of one image in one direction."""
MAX_CHANNELS: Final = 1_000
MAX_PIXELS: Final = 10_000_000
MAX_ROWS_OR_COLUMNS: Final = 256
MAX_PLATES: Final = 1_000

_ORDERS: Final = frozenset(("XYZCT", "XYZTC", "XYCZT", "XYCTZ", "XYTZC", "XYTCZ"))


class TiffData(NamedTuple):
    """Where planes are.

    Attributes:
        z: The first plane.
        c: The first channel.
        t: The first time point.
        planes: How many planes follow each other; None for as many as nobody else names.
        uuid: Of the file; empty for the file that holds the OME-XML.
        file: Its name as written; empty if there is none.
        line: Where it stands.
    """

    z: int
    c: int
    t: int
    planes: int | None
    uuid: str
    file: str
    line: int


@dataclass(slots=True)
class OmeImage:
    """One image.

    Attributes:
        id: In the OME-XML.
        order: Of planes, such as ``XYZCT``.
        type: Of its pixels, such as ``uint16``; empty for one that TIFFs do not tell.
        samples: How many samples of a pixel are one channel of the file.
        channels: Names; empty where there is none.
    """

    id: str
    order: str = ""
    type: str = ""
    x: int = 0
    y: int = 0
    z: int = 1
    c: int = 1
    t: int = 1
    samples: int = 1
    channels: list[str] = field(default_factory=list)
    data: list[TiffData] = field(default_factory=list)


@dataclass(slots=True)
class OmePlate:
    """One plate: its images by well, in the order of fields."""

    name: str
    barcode: str
    rows: int
    columns: int
    wells: dict[WellPosition, list[str]] = field(default_factory=dict)


class OmeXml:
    """What an OME-XML says, filled by :func:`fleet_common.plates.xmlstream.parse`.

    Attributes:
        path: The file that holds it, relative to the share.
        uuid: Of that file; empty if not told, like all texts.
        metadata_file: The file that has the metadata, if this one has only pixels.
        acquired: When the first image was acquired.
    """

    root: Final = "OME"

    def __init__(self, path: str) -> None:
        self.path = path
        self.uuid = ""
        self.metadata_file = ""
        self.acquired = ""
        self.operator = ""
        self.instrument = ""
        self.images: list[OmeImage] = []
        self.plates: list[OmePlate] = []
        self._data = 0
        self._well: WellPosition | None = None
        self._in_sample = False
        self._line = 0

    def start(self, name: str, attributes: Mapping[str, str], line: int) -> bool:
        """See Receiver."""
        self._line = line
        if name in _CONTAINERS:
            self._in_sample = name == "WellSample"
        taker = _TAKERS.get(name)
        if taker is not None:
            taker(self, attributes)
        return name in ("UUID", "AcquisitionDate")

    def text(self, name: str, text: str) -> None:
        """See Receiver."""
        if name == "AcquisitionDate":
            self.acquired = self.acquired or text.strip()
            return
        data = self._image().data
        if not data:
            raise Broken("it stands outside a <TiffData>")
        data[-1] = data[-1]._replace(uuid=text.strip())

    def take_root(self, attributes: Mapping[str, str]) -> None:
        """The id of the file."""
        self.uuid = attributes.get("UUID", "").strip()

    def take_binary_only(self, attributes: Mapping[str, str]) -> None:
        """Where the metadata is."""
        self.metadata_file = attributes.get("MetadataFile", "")
        if not self.metadata_file:
            raise Broken("MetadataFile is missing")

    def take_experimenter(self, attributes: Mapping[str, str]) -> None:
        """The first person."""
        self.operator = self.operator or attributes.get("UserName") or attributes.get("LastName", "")

    def take_microscope(self, attributes: Mapping[str, str]) -> None:
        """The first microscope."""
        self.instrument = self.instrument or attributes.get("Model", "")

    def take_image(self, attributes: Mapping[str, str]) -> None:
        """An image begins."""
        if len(self.images) == MAX_IMAGES:
            raise Broken(f"there are more than {MAX_IMAGES} images")
        self.images.append(OmeImage(attributes.get("ID", "")))

    def take_pixels(self, attributes: Mapping[str, str]) -> None:
        """Its extent."""
        image = self._image()
        image.order = attributes.get("DimensionOrder", "")
        if image.order not in _ORDERS:
            raise Broken("DimensionOrder is missing, or is none of the OME model")
        image.type = attributes.get("Type", "") if attributes.get("Type") in PIXEL_TYPES else ""
        image.x, image.y = (number(attributes, f"Size{axis}", 1, MAX_PIXELS) for axis in "XY")
        image.z, image.c, image.t = (number(attributes, f"Size{axis}", 1, MAX_PLANES) for axis in "ZCT")

    def take_channel(self, attributes: Mapping[str, str]) -> None:
        """One of its channels."""
        image = self._image()
        if len(image.channels) == MAX_CHANNELS:
            raise Broken(f"there are more than {MAX_CHANNELS} channels")
        if not image.channels and "SamplesPerPixel" in attributes:
            image.samples = number(attributes, "SamplesPerPixel", 1, MAX_CHANNELS)
        image.channels.append(attributes.get("Name", ""))

    def take_data(self, attributes: Mapping[str, str]) -> None:
        """Where planes of it are."""
        if self._data == MAX_TIFF_DATA:
            raise Broken(f"there are more than {MAX_TIFF_DATA} <TiffData>")
        self._data += 1
        z, c, t = (
            number(attributes, f"First{axis}", 0, MAX_PLANES) if f"First{axis}" in attributes else 0 for axis in "ZCT"
        )
        planes = number(attributes, "PlaneCount", 1, MAX_PLANES) if "PlaneCount" in attributes else None
        self._image().data.append(TiffData(z, c, t, planes, "", "", self._line))

    def take_uuid(self, attributes: Mapping[str, str]) -> None:
        """In which file these are."""
        data = self._image().data
        if data:
            data[-1] = data[-1]._replace(file=attributes.get("FileName", ""))

    def take_plate(self, attributes: Mapping[str, str]) -> None:
        """A plate begins."""
        if len(self.plates) == MAX_PLATES:
            raise Broken(f"there are more than {MAX_PLATES} plates")
        rows, columns = (
            number(attributes, name, 1, MAX_ROWS_OR_COLUMNS) if name in attributes else 0
            for name in ("Rows", "Columns")
        )
        name, barcode = attributes.get("Name", ""), attributes.get("ExternalIdentifier", "")
        self.plates.append(OmePlate(name, barcode, rows, columns))

    def take_well(self, attributes: Mapping[str, str]) -> None:
        """A well of it."""
        row, column = (number(attributes, name, 0, MAX_ROWS_OR_COLUMNS - 1) for name in ("Row", "Column"))
        if not self.plates:
            raise Broken("it stands outside a <Plate>")
        if self.plates[-1].wells.setdefault((row, column), []):
            raise Broken("this well is there twice")
        self._well = row, column

    def take_image_ref(self, attributes: Mapping[str, str]) -> None:
        """The image of a field; other elements refer to images, too."""
        if self._in_sample and self._well is not None:
            self.plates[-1].wells.setdefault(self._well, []).append(attributes.get("ID", ""))

    def _image(self) -> OmeImage:
        if not self.images:
            raise Broken("it stands outside an <Image>")
        return self.images[-1]


# An ImageRef belongs to the last of these.
_CONTAINERS: Final = frozenset(("WellSample", "Dataset", "Folder", "Project", "Image", "Plate", "Well", "ROI"))
_TAKERS: Final[Mapping[str, Callable[[OmeXml, Mapping[str, str]], None]]] = {
    "OME": OmeXml.take_root,
    "BinaryOnly": OmeXml.take_binary_only,
    "Experimenter": OmeXml.take_experimenter,
    "Microscope": OmeXml.take_microscope,
    "Image": OmeXml.take_image,
    "Pixels": OmeXml.take_pixels,
    "Channel": OmeXml.take_channel,
    "TiffData": OmeXml.take_data,
    "UUID": OmeXml.take_uuid,
    "Plate": OmeXml.take_plate,
    "Well": OmeXml.take_well,
    "ImageRef": OmeXml.take_image_ref,
}

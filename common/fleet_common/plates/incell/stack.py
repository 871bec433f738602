"""Collects what an XDCE says into compact data, and checks each element as far as Bio-Formats depends on it.

The order of elements matters, as for Bio-Formats 6.7 (``InCellReader``): wavelengths and the plate come before the
plate map, whose end fixes the numbers of fields, planes and time points, and the images come last. One tuple is kept
per image, nothing else. :mod:`fleet_common.plates.xmlstream` calls it, :mod:`layout` makes the plate of what it
collected. Used by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from fleet_common.plates.model import WellPosition
from fleet_common.plates.xmlstream import Broken, number

MAX_IMAGES: Final = 2_000_000
MAX_ROWS_OR_COLUMNS: Final = 256
MAX_FIELDS: Final = 10_000
MAX_STEPS: Final = 10_000
MAX_WAVES: Final = 64
MAX_PIXELS: Final = 100_000


class StackImage(NamedTuple):
    """One image of the XDCE, all numbers from 0; sorted as the reader takes them.

    Attributes:
        row: Of the well.
        column: Of the well.
        field: In the well.
        t: Time point.
        c: Wavelength.
        z: Plane.
        name: Its file as written.
        thumbnail: Its thumbnail as written; empty if there is none.
        line: Where the image begins.
    """

    row: int
    column: int
    field: int
    t: int
    c: int
    z: int
    name: str
    thumbnail: str
    line: int


class ImageStack:
    """What an XDCE says, filled by :func:`fleet_common.plates.xmlstream.parse`.

    Attributes:
        path: The XDCE, relative to the share.
        uuid: The acquisition's own id; empty if not told, like all texts.
        plate_id: The barcode.
        created: When it began, ISO 8601 without a zone.
        operator: Who acquired it.
        instrument: The program of the instrument.
        camera: Width and height of its images in pixels; 0 if not told.
        rows: Rows of the plate.
        columns: Columns of the plate.
        fields: In each well.
        slices: Planes of a stack, at least 1.
        waves: How many wavelengths are acquired; fused ones do not count.
        channels: Names of emission filters, one per wavelength.
        waves_by_time: How many wavelengths each time point lists, also where the schedule is off; 0 stands for all.
        time_points: At least 1.
        scheduled: Whether the schedule is on.
        total: How many images it says that there are.
        images: In document order.
        wells: Those that were acquired.
        excluded: Those that were marked as not acquired; None if nothing was marked.
    """

    root: Final = "ImageStack"

    def __init__(self, path: str) -> None:
        self.path = path
        self.uuid = ""
        self.plate_id = ""
        self.created = ""
        self.operator = ""
        self.instrument = ""
        self.camera = (0, 0)
        self.rows = 0
        self.columns = 0
        self.fields = 0
        self.slices = 1
        self.waves = 0
        self.channels: list[str] = []
        self.waves_by_time: list[int] = []
        self.time_points = 1
        self.scheduled = True
        self.total = 0
        self.images: list[StackImage] = []
        self.wells: set[WellPosition] = set()
        self.excluded: set[WellPosition] | None = None
        self._mapped = False
        self._stacks = True
        self._row = -1
        self._column = -1
        self._name = ""
        self._thumbnail = ""
        self._line = 0

    def start(self, name: str, attributes: Mapping[str, str], line: int) -> bool:
        """See Receiver."""
        taker = _TAKERS.get(name)
        if taker is not None:
            self._line = line if name == "Image" else self._line
            taker(self, attributes)
        return False

    def text(self, name: str, text: str) -> None:
        """See Receiver: never called."""

    def take_root(self, attributes: Mapping[str, str]) -> None:
        """Newer instruments say the barcode here."""
        self.plate_id = attributes.get("PlateID", "")

    def take_uuid(self, attributes: Mapping[str, str]) -> None:
        """The acquisition's own id."""
        self.uuid = attributes.get("value", "")

    def take_application(self, attributes: Mapping[str, str]) -> None:
        """The program of the instrument."""
        self.instrument = attributes.get("name", "")

    def take_creation(self, attributes: Mapping[str, str]) -> None:
        """Date and time."""
        self.created = "T".join(filter(None, (attributes.get("date"), attributes.get("time"))))

    def take_operator(self, attributes: Mapping[str, str]) -> None:
        """By login, or by name."""
        self.operator = attributes.get("login") or attributes.get("name", "")

    def take_camera(self, attributes: Mapping[str, str]) -> None:
        """Width and height of all images."""
        self.camera = number(attributes, "width", 0, MAX_PIXELS), number(attributes, "height", 0, MAX_PIXELS)

    def take_wavelength(self, attributes: Mapping[str, str]) -> None:
        """A channel, unless it is computed of others."""
        if self._mapped:
            raise Broken("it comes after <PlateMap>, and Bio-Formats would fail")
        if "fusion_wave" not in attributes:
            raise Broken("fusion_wave is missing, and Bio-Formats would fail")
        self.waves += attributes["fusion_wave"] == "false"
        if self.waves > MAX_WAVES:
            raise Broken(f"there are more than {MAX_WAVES} wavelengths")
        if "imaging_mode" in attributes:
            self._stacks = attributes["imaging_mode"] == "3-D"

    def take_emission(self, attributes: Mapping[str, str]) -> None:
        """The name of a channel; images tell it again."""
        if len(self.channels) < MAX_WAVES and not self.images and not self._name:
            self.channels.append(attributes.get("name", ""))

    def take_plate(self, attributes: Mapping[str, str]) -> None:
        """The extent of the plate."""
        if self.rows:
            raise Broken("there is a second plate")
        self.rows = number(attributes, "rows", 1, MAX_ROWS_OR_COLUMNS)
        self.columns = number(attributes, "columns", 1, MAX_ROWS_OR_COLUMNS)

    def take_map(self, _: Mapping[str, str]) -> None:
        """Where fields, planes and time points are told."""
        if not self.rows:
            raise Broken("it comes before <Plate>, and Bio-Formats would fail")
        self._mapped = True

    def take_field(self, _: Mapping[str, str]) -> None:
        """A field of every well."""
        self.fields += 1
        if self.fields > MAX_FIELDS:
            raise Broken(f"there are more than {MAX_FIELDS} fields")

    def take_slices(self, attributes: Mapping[str, str]) -> None:
        """The planes of a stack, where wavelengths are acquired in 3-D."""
        told = self._stacks and "number_of_slices" in attributes
        self.slices = max(1, number(attributes, "number_of_slices", 0, MAX_STEPS)) if told else 1

    def take_schedule(self, attributes: Mapping[str, str]) -> None:
        """Whether the time points count."""
        self.scheduled = attributes.get("enabled", "").lower() == "true"

    def take_time_point(self, _: Mapping[str, str]) -> None:
        """A time point; the wavelengths in it follow."""
        self.waves_by_time.append(0)
        if len(self.waves_by_time) > MAX_STEPS:
            raise Broken(f"there are more than {MAX_STEPS} time points")
        self.time_points = len(self.waves_by_time) if self.scheduled else 1

    def take_acquired(self, _: Mapping[str, str]) -> None:
        """A wavelength of a time point."""
        if self.waves_by_time:
            self.waves_by_time[-1] += 1

    def take_excluded(self, attributes: Mapping[str, str]) -> None:
        """A well that was not acquired."""
        row, column = number(attributes, "row", 1, self.rows) - 1, number(attributes, "col", 1, self.columns) - 1
        self.excluded = (self.excluded or set()) | {(row, column)}

    def take_images(self, attributes: Mapping[str, str]) -> None:
        """How many images there are."""
        if not self._mapped:
            raise Broken("it comes before <PlateMap>, and Bio-Formats would fail")
        self.total = number(attributes, "number", 0, MAX_IMAGES)

    def take_image(self, attributes: Mapping[str, str]) -> None:
        """The file of an image; where it belongs follows."""
        self._name = attributes.get("filename", "")
        if not self._name:
            raise Broken("filename is missing")
        if attributes.get("thumbnail") == "":
            # Seen with OMERO 5.6.3: "file ... does not have a unique readable fileset".
            raise Broken("thumbnail is empty: Bio-Formats would take the folder for a file, and OMERO refuses that")
        self._thumbnail = attributes.get("thumbnail", "")
        self._row = self._column = -1

    def take_row(self, attributes: Mapping[str, str]) -> None:
        """The row of an image."""
        self._row = number(attributes, "number", 1, self.rows) - 1

    def take_column(self, attributes: Mapping[str, str]) -> None:
        """The column of an image: its well was acquired."""
        self._column = number(attributes, "number", 1, self.columns) - 1
        if self._row < 0:
            raise Broken("it comes before <Row>, and Bio-Formats would mistake the well")
        self.wells.add((self._row, self._column))

    def take_identifier(self, attributes: Mapping[str, str]) -> None:
        """Where an image belongs."""
        if not self._name or self._column < 0:
            raise Broken("it comes before the file or the well of its image, and Bio-Formats would mistake them")
        if len(self.images) == MAX_IMAGES:
            raise Broken(f"it lists more than {MAX_IMAGES} images")
        t = number(attributes, "time_index", 0, self.time_points - 1)
        image = StackImage(
            row=self._row,
            column=self._column,
            field=number(attributes, "field_index", 0, self.fields - 1),
            t=t,
            c=number(attributes, "wave_index", 0, self.waves_of(t) - 1),
            z=number(attributes, "z_index", 0, self.slices - 1),
            name=self._name,
            thumbnail=self._thumbnail,
            line=self._line,
        )
        self.images.append(image)
        self._column = -1

    def waves_of(self, t: int) -> int:
        """How many wavelengths a time point has."""
        return (self.waves_by_time[t] if self.scheduled and t < len(self.waves_by_time) else 0) or self.waves


_TAKERS: Final[Mapping[str, Callable[[ImageStack, Mapping[str, str]], None]]] = {
    "ImageStack": ImageStack.take_root,
    "UUID": ImageStack.take_uuid,
    "Application": ImageStack.take_application,
    "Creation": ImageStack.take_creation,
    "Operator": ImageStack.take_operator,
    "Size": ImageStack.take_camera,
    "Wavelength": ImageStack.take_wavelength,
    "EmissionFilter": ImageStack.take_emission,
    "Plate": ImageStack.take_plate,
    "PlateMap": ImageStack.take_map,
    "offset_point": ImageStack.take_field,
    "ZDimensionParameters": ImageStack.take_slices,
    "TimeSchedule": ImageStack.take_schedule,
    "TimePoint": ImageStack.take_time_point,
    "AcqWave": ImageStack.take_acquired,
    "Exclude": ImageStack.take_excluded,
    "Images": ImageStack.take_images,
    "Image": ImageStack.take_image,
    "Row": ImageStack.take_row,
    "Column": ImageStack.take_column,
    "Identifier": ImageStack.take_identifier,
}

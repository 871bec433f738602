"""Collects what the four XML files of a Yokogawa measurement say into compact data, and checks each element.

``<plate>.wpi`` names the plate, ``MeasurementData.mlf`` lists a record per plane, ``MeasurementDetail.mrf`` has the
channels, the times and the names of the other files, and the settings (``.mes``) say which action acquires which
channel. Attributes are required where Bio-Formats (``CV7000Reader``) fails without them. One tuple is kept per record,
nothing else. :mod:`fleet_common.plates.xmlstream` calls it, :mod:`layout` makes the plate of what it collected. Used by
one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from fleet_common.plates.model import InstrumentError, well_name
from fleet_common.plates.xmlstream import Broken, number

MAX_RECORDS: Final = 2_000_000
MAX_CHANNELS: Final = 1_000
MAX_ACTIONS: Final = 10_000
MAX_ROWS_OR_COLUMNS: Final = 256
MAX_INDEX: Final = 1_000_000
MAX_PIXELS: Final = 100_000
MAX_STATE_CHARACTERS: Final = 200


class Record(NamedTuple):
    """One record of an image, with the vendor's own numbers less one.

    Attributes:
        row: Of the well, from 0.
        column: Of the well, from 0.
        field: In the well, from 0.
        t: Time point, from 0.
        z: Plane, from 0.
        channel: The instrument's number of the channel, from 1.
        timeline: Which timeline acquired it, from 0.
        action: Which action of that timeline, from 0.
        name: Its file as written; empty if there is none.
        line: Where the record begins.
    """

    row: int
    column: int
    field: int
    t: int
    z: int
    channel: int
    timeline: int
    action: int
    name: str
    line: int


class Channel(NamedTuple):
    """One channel that the instrument knows.

    Attributes:
        number: The instrument's own, from 1.
        camera: The number of its camera.
        x: Width of an image in pixels, 0 if not told.
        y: Height, as ``x``.
        shading: The file that corrects its shading; empty if there is none.
        line: Where it stands in the ``.mrf``.
    """

    number: int
    camera: int
    x: int
    y: int
    shading: str
    line: int


class PlateInfo:
    """``<plate>.wpi``: name, product id and extent of the plate."""

    root: Final = "bts:WellPlate"

    def __init__(self) -> None:
        self.name = ""
        self.product_id = ""
        self.rows = 0
        self.columns = 0

    def start(self, name: str, attributes: Mapping[str, str], line: int) -> bool:  # noqa: ARG002  as the protocol has it
        """See Receiver."""
        if name == self.root:
            self.name = attributes.get("bts:Name", "")
            self.product_id = attributes.get("bts:ProductID", "")
            self.rows = number(attributes, "bts:Rows", 1, MAX_ROWS_OR_COLUMNS)
            self.columns = number(attributes, "bts:Columns", 1, MAX_ROWS_OR_COLUMNS)
        return False

    def text(self, name: str, text: str) -> None:
        """See Receiver: never called."""


class MeasurementData:
    """``MeasurementData.mlf``: images and errors, in the order of acquisition."""

    root: Final = "bts:MeasurementData"

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.errors: list[InstrumentError] = []
        self._attributes: Mapping[str, str] = {}
        self._line = 0

    def start(self, name: str, attributes: Mapping[str, str], line: int) -> bool:
        """See Receiver."""
        if name != "bts:MeasurementRecord":
            return False
        if len(self.records) + len(self.errors) == MAX_RECORDS:
            raise Broken(f"it has more than {MAX_RECORDS} records")
        self._attributes, self._line = attributes, line
        return True

    def text(self, name: str, text: str) -> None:  # noqa: ARG002  as the protocol has it
        """See Receiver."""
        kind = self._attributes.get("bts:Type")
        if kind is None:
            raise Broken("bts:Type is missing")
        if kind == "IMG":
            self.records.append(_record(self._attributes, text if text.strip() else "", self._line))
        else:
            self.errors.append(_error(self._attributes, text.strip() or kind))


class MeasurementDetail:
    """``MeasurementDetail.mrf``: when, by whom, with which channels and files."""

    root: Final = "bts:MeasurementDetail"

    def __init__(self) -> None:
        self.begin = ""
        self.end = ""
        self.operator = ""
        self.system = ""
        self.settings = ""
        self.product = ""
        self.channels: list[Channel] = []

    def start(self, name: str, attributes: Mapping[str, str], line: int) -> bool:
        """See Receiver."""
        if name == self.root:
            self.begin = attributes.get("bts:BeginTime", "")
            self.end = attributes.get("bts:EndTime", "").strip()
            self.operator = attributes.get("bts:OperatorName", "")
            self.system = attributes.get("bts:TargetSystem", "")
            self.settings = _required(attributes, "bts:MeasurementSettingFileName")
        elif name == "bts:MeasurementSamplePlate":
            self.product = attributes.get("bts:WellPlateProductFileName", "")
        elif name == "bts:MeasurementChannel":
            if len(self.channels) == MAX_CHANNELS:
                raise Broken(f"it has more than {MAX_CHANNELS} channels")
            self.channels.append(_channel(attributes, line))
        return False

    def text(self, name: str, text: str) -> None:
        """See Receiver: never called."""


class MeasurementSettings:
    """The ``.mes``: timelines, their actions, and the channels of these.

    Attributes:
        acquired: Timeline and action, both from 0, and the channel's number, in the order of the file.
    """

    root: Final = "bts:MeasurementSetting"

    def __init__(self) -> None:
        self.acquired: list[tuple[int, int, int]] = []
        self._timeline = -1
        self._action = -1

    def start(self, name: str, attributes: Mapping[str, str], line: int) -> bool:  # noqa: ARG002  as the protocol has it
        """See Receiver."""
        if name == "bts:Timeline":
            self._timeline += 1
            self._action = -1
        elif name.startswith("bts:ActionAcquire"):
            self._action += 1
        return name == "bts:Ch"

    def text(self, name: str, text: str) -> None:
        """See Receiver."""
        if len(self.acquired) == MAX_ACTIONS:
            raise Broken(f"its actions name more than {MAX_ACTIONS} channels")
        self.acquired.append((self._timeline, self._action, number({name: text}, name, 1, MAX_CHANNELS)))


def _record(attributes: Mapping[str, str], name: str, line: int) -> Record:
    for position in ("bts:X", "bts:Y", "bts:Z"):
        _required(attributes, position)
    return Record(
        row=number(attributes, "bts:Row", 1, MAX_ROWS_OR_COLUMNS) - 1,
        column=number(attributes, "bts:Column", 1, MAX_ROWS_OR_COLUMNS) - 1,
        field=number(attributes, "bts:FieldIndex", 1, MAX_INDEX) - 1,
        t=number(attributes, "bts:TimePoint", 1, MAX_INDEX) - 1,
        z=number(attributes, "bts:ZIndex", 1, MAX_INDEX) - 1,
        channel=number(attributes, "bts:Ch", 1, MAX_CHANNELS),
        timeline=number(attributes, "bts:TimelineIndex", 1, MAX_INDEX) - 1,
        action=number(attributes, "bts:ActionIndex", 1, MAX_INDEX) - 1,
        name=name,
        line=line,
    )


def _error(attributes: Mapping[str, str], state: str) -> InstrumentError:
    """An error of the instrument: it tells the well, and field, channel, plane and time point where it knows them."""
    row = number(attributes, "bts:Row", 1, MAX_ROWS_OR_COLUMNS) - 1
    column = number(attributes, "bts:Column", 1, MAX_ROWS_OR_COLUMNS) - 1
    named = (("field", "FieldIndex"), ("channel", "Ch"), ("plane", "ZIndex"), ("time point", "TimePoint"))
    places = [
        f"{word} {number(attributes, f'bts:{at}', 1, MAX_INDEX)}" for word, at in named if f"bts:{at}" in attributes
    ]
    return InstrumentError(", ".join((f"well {well_name(row, column)}", *places)), state[:MAX_STATE_CHARACTERS])


def _channel(attributes: Mapping[str, str], line: int) -> Channel:
    for dimension in ("bts:HorizontalPixelDimension", "bts:VerticalPixelDimension"):
        _required(attributes, dimension)
    return Channel(
        number=number(attributes, "bts:Ch", 1, MAX_CHANNELS),
        camera=number(attributes, "bts:CameraNumber", 0, MAX_INDEX),
        x=_pixels(attributes, "bts:HorizontalPixels"),
        y=_pixels(attributes, "bts:VerticalPixels"),
        shading=attributes.get("bts:ShadingCorrectionSource", ""),
        line=line,
    )


def _pixels(attributes: Mapping[str, str], name: str) -> int:
    return number(attributes, name, 0, MAX_PIXELS) if attributes.get(name) else 0


def _required(attributes: Mapping[str, str], name: str) -> str:
    text = attributes.get(name, "")
    if not text.strip():
        raise Broken(f"{name} is {'empty' if name in attributes else 'missing'}, and Bio-Formats needs it")
    return text

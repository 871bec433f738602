"""Writes the XML files of a made Yokogawa measurement.

Elements, attributes and their order are those of a CV8000; where Bio-Formats does not look, they are constants. The
names of all elements and attributes begin with ``bts:``, and readers look for just that. No state, no threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from xml.sax.saxutils import escape, quoteattr

from fleet_stack.plates.spec import PlaneKey, PlateSpec

BEGIN: Final = "2026-01-01T10:00:00+01:00"
END: Final = "2026-01-01T11:30:00+01:00"

_HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>\n'
_SCHEMA: Final = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
_LASERS: Final = (("405nm", 405, "BP447/60"), ("488nm", 488, "BP525/50"), ("561nm", 561, "BP600/37"))

_RECORD: Final = (
    '  <bts:MeasurementRecord bts:Type="IMG" bts:Time="2026-01-01T10:00:00.000+01:00" bts:Column="{column}" '
    'bts:Row="{row}" bts:TimePoint="{t}" bts:FieldIndex="{field}" bts:ZIndex="{z}" bts:TimelineIndex="1" '
    'bts:ActionIndex="{action}" bts:Action="3D" bts:X="{x}" bts:Y="-0.5" bts:Z="{z}.5" bts:Ch="{channel}">'
    "{name}</bts:MeasurementRecord>\n"
)
# As an instrument wrote it: neither field nor plane nor channel.
_ERROR: Final = (
    '  <bts:MeasurementRecord bts:Type="ERR" bts:Time="2026-01-01T10:00:01.000+01:00" bts:Column="{column}" '
    'bts:Row="{row}" bts:TimePoint="1" bts:PartialTileIndex="1" bts:TimelineIndex="1" bts:X="-20.0" bts:Y="25.0">'
    "AF Error at {well} No. 0 ({name})</bts:MeasurementRecord>\n"
)
_CHANNEL: Final = (
    '  <bts:MeasurementChannel bts:Ch="{number}" bts:HorizontalPixelDimension="0.65" '
    'bts:VerticalPixelDimension="0.65" bts:CameraNumber="{camera}" bts:InputBitDepth="16" bts:InputLevel="65535" '
    'bts:HorizontalPixels="{size}" bts:VerticalPixels="{size}" bts:FilterWheelPosition="1" bts:FilterPosition="1" '
    "bts:ShadingCorrectionSource={shading} />\n"
)


@dataclass(frozen=True, slots=True)
class Options:
    """What only this vendor has.

    Attributes:
        actions: The action, from 0, that acquires each channel; the first one where it is not named.
        numbers: The number, from 1, that each channel has at the instrument; counted where it is not named.
        defined: How many channels the instrument knows; at least those that are acquired.
        errors: Wells (row, column, from 0) at which the autofocus failed; nothing was acquired there.
        ended: Whether the measurement is at its end.
        product_id: Bio-Formats takes it for the barcode.
        system: The type of the instrument.
    """

    actions: Mapping[int, int] | None = None
    numbers: tuple[int, ...] = ()
    defined: int = 0
    errors: tuple[tuple[int, int], ...] = ()
    ended: bool = True
    product_id: str = "BC-0815"
    system: str = "CV8000"

    def action_of(self, channel: int) -> int:
        """The action that acquires a channel, both from 0."""
        return (self.actions or {}).get(channel, 0)

    def number_of(self, channel: int) -> int:
        """The number of a channel at the instrument, from 1."""
        return self.numbers[channel] if self.numbers else channel + 1


class Measurement(NamedTuple):
    """All that the XML tells."""

    spec: PlateSpec
    options: Options
    rows: int
    columns: int
    tiffs: Mapping[PlaneKey, Path]

    @property
    def channels(self) -> range:
        """The numbers of all channels that the instrument knows."""
        return range(1, max(self.options.defined, *map(self.options.number_of, range(self.spec.channels))) + 1)


class Paths(Protocol):
    """Where the XML goes."""

    @property
    def entry(self) -> Path: ...  # noqa: D102  the names say it
    @property
    def data(self) -> Path: ...  # noqa: D102
    @property
    def detail(self) -> Path: ...  # noqa: D102
    @property
    def settings(self) -> Path: ...  # noqa: D102
    @property
    def product(self) -> Path: ...  # noqa: D102
    @property
    def shading(self) -> tuple[Path, ...]: ...  # noqa: D102


def write(made: Measurement, paths: Paths) -> None:
    """Write all XML files of a measurement."""
    texts = {
        paths.entry: _plate(made),
        paths.data: "".join(_records(made)),
        paths.detail: _detail(made, paths),
        paths.settings: _settings(made),
        paths.product: f'{_HEAD}<bts:WellPlateProduct bts:Name="Greiner" {_SCHEMA} />\n',
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8-sig", newline="\r\n")


def _plate(made: Measurement) -> str:
    return (
        f'{_HEAD}<bts:WellPlate bts:Version="1.0" bts:Name={quoteattr(made.spec.name)} '
        f'bts:ProductID={quoteattr(made.options.product_id)} bts:Columns="{made.columns}" bts:Rows="{made.rows}" '
        f'bts:Description="" {_SCHEMA} />\n'
    )


def _records(made: Measurement) -> Iterator[str]:
    yield f'{_HEAD}<bts:MeasurementData bts:Version="1.0" {_SCHEMA}>\n'
    for key, path in made.tiffs.items():
        yield _RECORD.format(
            row=key.row + 1,
            column=key.column + 1,
            field=key.field + 1,
            t=key.t + 1,
            z=key.z + 1,
            channel=made.options.number_of(key.c),
            action=made.options.action_of(key.c) + 1,
            x=key.field * 100,
            name=escape(path.name),
        )
    for row, column in made.options.errors:
        well = f"{chr(ord('A') + row)}{column + 1:02d}"
        yield _ERROR.format(row=row + 1, column=column + 1, well=well, name=escape(made.spec.name))
    yield "</bts:MeasurementData>\n"


def _detail(made: Measurement, paths: Paths) -> str:
    end = f'bts:EndTime="{END}" ' if made.options.ended else ""
    channels = "".join(
        _CHANNEL.format(number=n, camera=1 + n % 2, size=made.spec.size, shading=quoteattr(_shading(n, paths)))
        for n in made.channels
    )
    return (
        f'{_HEAD}<bts:MeasurementDetail bts:Version="1.0" bts:OperatorName="demo operator" bts:Title="demo" '
        f'bts:BeginTime="{BEGIN}" {end}bts:MeasurementSettingFileName={quoteattr(paths.settings.name)} '
        f'bts:ColumnCount="{made.columns}" bts:RowCount="{made.rows}" '
        f'bts:TargetSystem={quoteattr(made.options.system)} bts:ReleaseNumber="R1.0" {_SCHEMA}>\n'
        f"  <bts:MeasurementSamplePlate bts:Name={quoteattr(made.spec.name)} "
        f"bts:WellPlateFileName={quoteattr(paths.entry.name)} "
        f"bts:WellPlateProductFileName={quoteattr(paths.product.name)} />\n"
        f"{channels}</bts:MeasurementDetail>\n"
    )


def _shading(number: int, paths: Paths) -> str:
    return paths.shading[number - 1].name if number <= len(paths.shading) else ""


def _settings(made: Measurement) -> str:
    lasers = "".join(
        f'    <bts:LightSource bts:Name="{name}" bts:Type="Laser" bts:WaveLength="{wave}" bts:Power="100" />\n'
        for name, wave, _ in _LASERS
    )
    channels = "".join(_setting(number) for number in made.channels)
    return (
        f'{_HEAD}<bts:MeasurementSetting bts:Version="1.0" bts:ProductID="10" {_SCHEMA}>\n'
        f"  <bts:LightSourceList>\n{lasers}  </bts:LightSourceList>\n"
        f"  <bts:ChannelList>\n{channels}  </bts:ChannelList>\n"
        f'  <bts:Timelapse>\n    <bts:Timeline bts:Name="Timeline 1" bts:InitialTime="0" bts:Period="1" '
        f'bts:Interval="1">\n      <bts:ActionList bts:Run="True" bts:AFSearch="First">\n{_actions(made)}'
        f"      </bts:ActionList>\n    </bts:Timeline>\n  </bts:Timelapse>\n</bts:MeasurementSetting>\n"
    )


def _setting(number: int) -> str:
    name, _, acquired = _LASERS[(number - 1) % len(_LASERS)]
    return (
        f'    <bts:Channel bts:Ch="{number}" bts:Target="Stain {number}" bts:ObjectiveID="4" bts:Objective="40x" '
        f'bts:Magnification="40" bts:Acquisition="{acquired}" bts:ExposureTime="100" bts:Binning="2" '
        f'bts:Color="#FF0000FF"><bts:LightSourceName>{name}</bts:LightSourceName></bts:Channel>\n'
    )


def _actions(made: Measurement) -> str:
    acquired: dict[int, list[int]] = {}
    for channel in range(made.spec.channels):
        acquired.setdefault(made.options.action_of(channel), []).append(made.options.number_of(channel))
    return "".join(
        '        <bts:ActionAcquire3D bts:TopDistance="5" bts:BottomDistance="-5" bts:SliceLength="1">'
        f"{''.join(f'<bts:Ch>{number}</bts:Ch>' for number in numbers)}</bts:ActionAcquire3D>\n"
        for _, numbers in sorted(acquired.items())
    )

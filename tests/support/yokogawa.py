"""Yokogawa measurements for tests: files in memory, and the XML of single records."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from fleet_common.errors import Reason, failure
from fleet_common.plates import End, Names, Plate, problems
from fleet_common.plates.yokogawa import YokogawaFormat

FORMAT = YokogawaFormat()
FOLDER = PurePosixPath("hcs/P1")
ENTRY = FOLDER / "P1.wpi"
DATA, DETAIL, SETTINGS = "MeasurementData.mlf", "MeasurementDetail.mrf", "s.mes"

XMLNS = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
WPI = (
    f'<?xml version="1.0"?>\n<bts:WellPlate bts:Name="P1" bts:ProductID="B1" bts:Rows="8" bts:Columns="12" {XMLNS}/>\n'
)


class Folder:
    """A reader over one folder in memory, which shows that the format needs nothing else."""

    def __init__(self, files: Mapping[str, bytes], folder: PurePosixPath = FOLDER) -> None:
        self.files = dict(files)
        self.folder = folder

    def open(self, path: PurePosixPath) -> io.BytesIO:
        """See Reader."""
        assert path.parent == self.folder
        if path.name not in self.files:
            raise failure(Reason.MANIFEST_DIFFERS, f"{path} is not there")
        if not self.files[path.name]:
            raise failure(Reason.FILE_EMPTY, f"{path} is empty")
        return io.BytesIO(self.files[path.name])

    def names(self, folder: PurePosixPath) -> Names:
        """See Reader."""
        assert folder == self.folder
        return Names(tuple(self.files), ())

    def is_folder(self, path: PurePosixPath) -> bool:
        """See Reader."""
        return path == self.folder

    @property
    def sizes(self) -> dict[str, int]:
        """As they would be measured."""
        return {str(self.folder / name): len(content) for name, content in self.files.items()}


def record(name: str = "a.tif", *, leave: str = "", **changes: object) -> str:
    """One record on one line; ``leave`` names an attribute that it lacks."""
    values: dict[str, object] = {
        "Type": "IMG",
        "Time": "2026-01-01T10:00:00.000+01:00",
        "Column": 1,
        "Row": 1,
        "TimePoint": 1,
        "FieldIndex": 1,
        "ZIndex": 1,
        "TimelineIndex": 1,
        "ActionIndex": 1,
        "X": "-0.5",
        "Y": "0.5",
        "Z": "0.0",
        "Ch": 1,
    }
    values |= changes
    attributes = " ".join(f'bts:{key}="{value}"' for key, value in values.items() if key != leave)
    return f"<bts:MeasurementRecord {attributes}>{name}</bts:MeasurementRecord>\n"


def data(*records: str) -> str:
    """A ``.mlf``; the first record is in line 3."""
    return f'<?xml version="1.0"?>\n<bts:MeasurementData {XMLNS}>\n{"".join(records)}</bts:MeasurementData>\n'


def detail(channels: Iterable[int] = (1,), *, end: str = "2026-01-01T11:00:00+01:00", shading: str = "") -> str:
    """A ``.mrf``."""
    ended = f'bts:EndTime="{end}" ' if end else ""
    listed = "".join(
        f'<bts:MeasurementChannel bts:Ch="{number}" bts:HorizontalPixelDimension="0.65" '
        f'bts:VerticalPixelDimension="0.65" bts:CameraNumber="{number + 10}" bts:HorizontalPixels="20" '
        f'bts:VerticalPixels="10" bts:ShadingCorrectionSource="{shading}"/>\n'
        for number in channels
    )
    return (
        f'<?xml version="1.0"?>\n<bts:MeasurementDetail bts:OperatorName="alice" '
        f'bts:BeginTime="2026-01-01T10:00:00+01:00" {ended}bts:MeasurementSettingFileName="{SETTINGS}" '
        f'bts:TargetSystem="CV8000" {XMLNS}>\n<bts:MeasurementSamplePlate bts:Name="P1" '
        f'bts:WellPlateFileName="P1.wpi" bts:WellPlateProductFileName="p.wpp"/>\n{listed}</bts:MeasurementDetail>\n'
    )


def settings(*timelines: Iterable[Iterable[int]]) -> str:
    """A ``.mes``: the channels of every action of every timeline."""
    listed = "".join(
        f"<bts:Timeline><bts:ActionList>{''.join(map(_action, timeline))}</bts:ActionList></bts:Timeline>"
        for timeline in timelines
    )
    return f'<?xml version="1.0"?>\n<bts:MeasurementSetting {XMLNS}>{listed}</bts:MeasurementSetting>\n'


def _action(channels: Iterable[int]) -> str:
    return f"<bts:ActionAcquire3D>{''.join(f'<bts:Ch>{n}</bts:Ch>' for n in channels)}</bts:ActionAcquire3D>"


def folder(mlf: str, *, mrf: str = "", mes: str = "", others: Mapping[str, bytes] | None = None) -> Folder:
    """A measurement of these texts; every image that is not given is no TIFF."""
    files = {
        "P1.wpi": WPI.encode(),
        DATA: mlf.encode(),
        DETAIL: (mrf or detail()).encode(),
        SETTINGS: (mes or settings([[1]])).encode(),
        "p.wpp": b"x",
    }
    return Folder(files | dict(others or {}))


def read(there: Folder) -> Plate:
    """Find and read the plate."""
    entry = FORMAT.find_entry(there.folder, there)
    assert entry is not None
    return FORMAT.read(entry, there)


def complete(there: Folder) -> bool:
    """Whether nothing is missed and the instrument says that it is done."""
    if FORMAT.find_entry(there.folder, there) is None:
        return False
    plate = read(there)
    return not problems(plate, there.sizes) and plate.end is End.ENDED

"""Yokogawa: plates of CellVoyager CV7000 and CV8000.

A measurement is one folder with ``<plate>.wpi``, ``MeasurementData.mlf``, ``MeasurementDetail.mrf``, the settings
``.mes``, the plate product ``.wpp``, shading corrections, and one TIFF per plane. Opened by
``loci.formats.in.CV7000Reader``. A measurement without ``.mlf``, ``.mrf`` or ``.mes`` is one that is still being
written or copied: it is read, and the missing file is among its files. :mod:`records` keeps what the files of the
instrument say, :mod:`channels` numbers the channels, :mod:`layout` makes wells and planes, :mod:`files` lists the
files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import ClassVar, Final, NamedTuple, TypeVar

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.finding import first_bytes, named
from fleet_common.plates.model import End, Plate, Reader
from fleet_common.plates.tiff import extent_of
from fleet_common.plates.xmlstream import Dialect, Receiver, parse
from fleet_common.plates.yokogawa.files import DATA, DETAIL, file_list, named_by_data, named_by_detail
from fleet_common.plates.yokogawa.layout import Extent, Layout, Measurement, lay_out, plain_planes
from fleet_common.plates.yokogawa.records import MeasurementData, MeasurementDetail, MeasurementSettings, PlateInfo

READER: Final = "loci.formats.in.CV7000Reader"
ENDING: Final = ".wpi"
DIALECT: Final = Dialect(lone_bracket=True)

_SNIFF_BYTES: Final = 1024

_File = TypeVar("_File", bound=Receiver)


class _Folder(NamedTuple):
    """The folder of a measurement and the names of the files in it."""

    path: PurePosixPath
    present: frozenset[str]
    reader: Reader

    def read(self, name: str, receiver: _File) -> _File | None:
        """Read a file; None if it is not there yet, or is empty as a file is that was just begun."""
        if name not in self.present:
            return None
        try:
            with self.reader.open(self.path / name) as stream:
                parse(stream, str(self.path / name), receiver, DIALECT)
        except RequestError as error:
            if error.reason is Reason.FILE_EMPTY:
                return None
            raise
        return receiver


class _Files(NamedTuple):
    """What was read of a measurement; None for what is not there yet."""

    info: PlateInfo
    data: MeasurementData | None
    detail: MeasurementDetail | None
    settings: MeasurementSettings | None


class YokogawaFormat:
    """The plate format ``yokogawa``."""

    name: ClassVar[str] = "yokogawa"

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """Take a ``.wpi`` or the folder that holds it."""
        if not reader.is_folder(path):
            return path if path.name.lower().endswith(ENDING) else None
        names = frozenset(reader.names(path).files)
        found = named(names, ENDING)
        if not found or not ({DATA, DETAIL} & names or _is_plate(path / found[0], reader)):
            return None
        return path / found[0]

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """See :class:`fleet_common.plates.PlateFormat`.

        Raises:
            Transient: ``manifest-differs`` when the ``.mlf`` of a measurement that is not at its end lists no image.
        """
        folder = _Folder(entry.parent, frozenset(reader.names(entry.parent).files), reader)
        _refuse_second_plate(entry, folder.present)
        read = _read(entry, folder)
        files = file_list(entry, folder.present, _named(folder.path, read))
        made = _laid_out(folder, read)
        return Plate(
            format=self.name,
            entry=str(entry),
            reader=READER,
            files=files,
            expected=made.expected,
            identity=_identity(read),
            started_at=read.detail.begin if read.detail else "",
            operator=read.detail.operator if read.detail else "",
            instrument=read.detail.system if read.detail else "",
            planes=made.planes,
            errors=made.errors,
            end=End.ENDED if read.detail and read.detail.end else End.RUNNING,
            needs_bioformats=made.needs_bioformats,
            has_wells=True,
        )


def _is_plate(path: PurePosixPath, reader: Reader) -> bool:
    """Whether a ``.wpi`` without its measurement is one: it may be the first file that was copied."""
    head = first_bytes(path, reader, _SNIFF_BYTES)
    return not head or b"bts:WellPlate" in head


def _refuse_second_plate(entry: PurePosixPath, present: Iterable[str]) -> None:
    found = named(present, ENDING)
    if len(found) > 1:
        names = ", ".join(printable(name) for name in found[:5])
        raise failure(
            Reason.FORMAT_BROKEN,
            f"{entry.parent} holds {len(found)} plates ({names}) and one measurement: leave the {ENDING} that belongs "
            "to it there",
        )


def _read(entry: PurePosixPath, folder: _Folder) -> _Files:
    info = PlateInfo()
    with folder.reader.open(entry) as stream:
        parse(stream, str(entry), info, DIALECT)
    detail = folder.read(DETAIL, MeasurementDetail())
    data = folder.read(DATA, MeasurementData())
    if data is not None and not any(record.name for record in data.records):
        raise _no_image(folder.path / DATA, data, ended=detail is not None and bool(detail.end))
    return _Files(info, data, detail, folder.read(detail.settings, MeasurementSettings()) if detail else None)


def _no_image(path: PurePosixPath, data: MeasurementData, *, ended: bool) -> RequestError:
    told = f"{path} lists no image, and {len(data.errors)} errors of the instrument"
    if ended:
        return failure(Reason.FORMAT_BROKEN, f"{told}: nothing was acquired")
    return failure(Reason.MANIFEST_DIFFERS, f"{told}: the measurement is not at its end, look again later")


def _named(folder: PurePosixPath, read: _Files) -> Iterator[str]:
    yield from (DATA, DETAIL)
    if read.data:
        yield from named_by_data(folder / DATA, read.data)
    if read.detail:
        yield from named_by_detail(folder / DETAIL, read.detail)


def _laid_out(folder: _Folder, read: _Files) -> Layout:
    if not read.data:
        return Layout(None, (), (), ())
    if not read.detail or not read.settings:
        return Layout(None, plain_planes(folder.path, read.data.records), tuple(read.data.errors), ())
    path = str(folder.path / DATA)
    made = Measurement(path, read.info, read.data, read.detail, read.settings.acquired)
    return lay_out(made, _extent(folder, read.data, read.detail))


def _extent(folder: _Folder, data: MeasurementData, detail: MeasurementDetail) -> Extent | None:
    """That of the first TIFF that is there, as Bio-Formats; else what the ``.mrf`` says."""
    first = next((record.name for record in data.records if record.name in folder.present), None)
    if first is not None:
        size = extent_of(folder.path / first, folder.reader)
        if size is not None:
            return Extent(*size)
    return next((Extent(channel.x, channel.y) for channel in detail.channels if channel.x and channel.y), None)


def _identity(read: _Files) -> str:
    """Plate, product id and begin: neither of the first two is another one's alone."""
    if not read.detail or not read.detail.begin:
        return ""
    return f"{read.info.name}/{read.info.product_id}@{read.detail.begin}"

"""Writes the ``Index.idx.xml`` of a made measurement, record by record as Harmony does.

Elements and their order are those of an Opera Phenix export; wherever Bio-Formats does not look, they are constants. No
state, no threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from fleet_stack.plates.spec import MadePlate, PlaneKey, file_name

_HEAD = """<?xml version="1.0" encoding="utf-8"?>
<EvaluationInputData xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" Version="1" \
xmlns="http://www.perkinelmer.com/PEHH/HarmonyV{harmony}">
  <User>demo operator</User>
  <InstrumentType>Phenix</InstrumentType>
  <Plates>
    <Plate>
      <PlateID>{name}</PlateID>
      <MeasurementID>{measurement_id}</MeasurementID>
      <MeasurementStartTime>2026-01-01T10:00:00.0000000+01:00</MeasurementStartTime>
      <Name>{name}</Name>
      <PlateTypeName>{wells} PerkinElmer CellCarrier Ultra</PlateTypeName>
      <PlateRows>{rows}</PlateRows>
      <PlateColumns>{columns}</PlateColumns>
"""

_IMAGE = """    <Image Version="1">
      <id>{id}</id>
      <State>Ok</State>
      <URL>{url}</URL>
      <Row>{row}</Row>
      <Col>{column}</Col>
      <FieldID>{field}</FieldID>
      <PlaneID>{plane}</PlaneID>
      <TimepointID>{t}</TimepointID>
      <ChannelID>{channel}</ChannelID>
      <FlimID>1</FlimID>
      <ChannelName>{channel_name}</ChannelName>
      <ImageType>Signal</ImageType>
      <AcquisitionType>NipkowConfocal</AcquisitionType>
      <IlluminationType>Epifluorescence</IlluminationType>
      <ChannelType>Fluorescence</ChannelType>
      <ImageResolutionX Unit="m">5.979760809567617E-07</ImageResolutionX>
      <ImageResolutionY Unit="m">5.979760809567617E-07</ImageResolutionY>
      <ImageSizeX>{size}</ImageSizeX>
      <ImageSizeY>{size}</ImageSizeY>
      <BinningX>2</BinningX>
      <BinningY>2</BinningY>
      <MaxIntensity>65536</MaxIntensity>
      <CameraType>AndorZylaCam</CameraType>
      <PositionX Unit="m">{position_x}</PositionX>
      <PositionY Unit="m">0</PositionY>
      <PositionZ Unit="m">{position_z}</PositionZ>
      <AbsPositionZ Unit="m">0.134612903</AbsPositionZ>
      <MeasurementTimeOffset Unit="s">{offset_seconds}</MeasurementTimeOffset>
      <AbsTime>2026-01-01T10:00:00.000+01:00</AbsTime>
      <MainExcitationWavelength Unit="nm">{excitation}</MainExcitationWavelength>
      <MainEmissionWavelength Unit="nm">{emission}</MainEmissionWavelength>
      <ObjectiveMagnification Unit="">20</ObjectiveMagnification>
      <ObjectiveNA Unit="">1</ObjectiveNA>
      <ExposureTime Unit="s">0.1</ExposureTime>
      <OrientationMatrix>[[1,0,0,0],[0,1,0,0],[0,0,1,0]]</OrientationMatrix>
    </Image>
"""

_CHANNELS = (("HOECHST 33342", 405, 456), ("Alexa 488", 488, 522), ("Alexa 568", 561, 599), ("Alexa 647", 640, 706))


def write_index(plate: MadePlate) -> None:
    """Write the index of a plate to its entry."""
    with plate.entry.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_parts(plate))


def channel_name(channel: int) -> str:
    """The name of a channel, counted from 0."""
    name = _CHANNELS[channel % len(_CHANNELS)][0]
    return name if channel < len(_CHANNELS) else f"{name} ({channel + 1})"


def _parts(plate: MadePlate) -> Iterator[str]:
    yield _HEAD.format(
        harmony=plate.spec.harmony,
        name=escape(plate.spec.name),
        measurement_id=escape(plate.measurement_id),
        wells=plate.rows * plate.columns,
        rows=plate.rows,
        columns=plate.columns,
    )
    yield from (f"      <Well id={quoteattr(_well_id(*well))} />\n" for well in plate.wells)
    yield "    </Plate>\n  </Plates>\n  <Wells>\n"
    for (row, column), keys in groupby(plate.tiffs, key=lambda key: (key.row, key.column)):
        yield _well(row, column, keys)
    yield "  </Wells>\n  <Maps />\n  <Images>\n"
    yield from (_image(plate, key) for key in plate.tiffs)
    yield "  </Images>\n</EvaluationInputData>\n"


def _well(row: int, column: int, keys: Iterator[PlaneKey]) -> str:
    images = "".join(f"      <Image id={quoteattr(_image_id(key))} />\n" for key in keys)
    return (
        f"    <Well>\n      <id>{_well_id(row, column)}</id>\n"
        f"      <Row>{row + 1}</Row>\n      <Col>{column + 1}</Col>\n{images}    </Well>\n"
    )


def _image(plate: MadePlate, key: PlaneKey) -> str:
    _, excitation, emission = _CHANNELS[key.c % len(_CHANNELS)]
    return _IMAGE.format(
        id=_image_id(key),
        url=file_name(key),
        row=key.row + 1,
        column=key.column + 1,
        field=key.field + 1,
        plane=key.z + 1,
        t=key.t,
        channel=key.c + 1,
        channel_name=channel_name(key.c),
        size=plate.spec.size,
        position_x=f"{key.field * 1e-4:.6g}",
        position_z=f"{key.z * 1e-6:.6g}",
        offset_seconds=key.t * 60,
        excitation=excitation,
        emission=emission,
    )


def _well_id(row: int, column: int) -> str:
    return f"{row + 1:02d}{column + 1:02d}"


def _image_id(key: PlaneKey) -> str:
    return f"{_well_id(key.row, key.column)}K{key.t + 1}F{key.field + 1}P{key.z + 1}R{key.c + 1}"

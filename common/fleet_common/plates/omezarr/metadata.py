"""What the JSON files of an OME-Zarr plate say, as far as files and dimensions depend on it.

Pydantic models of OME-Zarr 0.4 and 0.5 (https://ngff.openmicroscopy.org) and of the arrays of Zarr 2 and 3
(https://zarr-specs.readthedocs.io); unknown fields are passed over. Pure data and parsing, no I/O, no threads.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleet_common.errors import Reason, failure

MAX_WELLS: Final = 65_536
MAX_FIELDS: Final = 10_000
MAX_LEVELS: Final = 32
MAX_AXES: Final = 5
MAX_LENGTH: Final = 10_000_000
"""Of an array in one direction."""

_Model = TypeVar("_Model", bound=BaseModel)

_Length = Annotated[int, Field(ge=1, le=MAX_LENGTH)]
_Lengths = Annotated[tuple[_Length, ...], Field(min_length=2, max_length=MAX_AXES)]
_Index = Annotated[int, Field(ge=0, le=255)]
_Path = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Named(_Part):
    """A row or a column."""

    name: str


class WellRef(_Part):
    """A well of a plate, and the folder of its group."""

    path: _Path
    row: _Index = Field(alias="rowIndex")
    column: _Index = Field(alias="columnIndex")


class Acquisition(_Part):
    """One run of the instrument."""

    starttime: float | None = None
    endtime: float | None = None


class PlateMeta(_Part):
    """The plate."""

    name: str = ""
    rows: Annotated[tuple[Named, ...], Field(min_length=1, max_length=256)]
    columns: Annotated[tuple[Named, ...], Field(min_length=1, max_length=256)]
    wells: Annotated[tuple[WellRef, ...], Field(min_length=1, max_length=MAX_WELLS)]
    acquisitions: tuple[Acquisition, ...] = ()
    version: Literal["0.4", "0.5"] | None = None


class ImageRef(_Part):
    """A field of a well, and the folder of its group."""

    path: _Path


class WellMeta(_Part):
    """A well."""

    images: Annotated[tuple[ImageRef, ...], Field(min_length=1, max_length=MAX_FIELDS)]


class Axis(_Part):
    """A dimension."""

    name: Literal["t", "c", "z", "y", "x"]


class Dataset(_Part):
    """One resolution, and the folder of its array."""

    path: _Path


class Multiscale(_Part):
    """An image in one or more resolutions, the full one first."""

    axes: Annotated[tuple[Axis, ...], Field(min_length=2, max_length=MAX_AXES)]
    datasets: Annotated[tuple[Dataset, ...], Field(min_length=1, max_length=MAX_LEVELS)]


class Channel(_Part):
    """How a channel is shown."""

    label: str = ""


class Omero(_Part):
    """How an image is shown."""

    channels: tuple[Channel, ...] = ()


class Attributes(_Part):
    """What a group says of itself; which parts there are depends on what it is."""

    plate: PlateMeta | None = None
    well: WellMeta | None = None
    multiscales: Annotated[tuple[Multiscale, ...], Field(max_length=100)] = ()
    omero: Omero | None = None


class _Namespaced(_Part):
    ome: Attributes = Attributes()


class Group3(_Part):
    """A group of Zarr 3."""

    zarr_format: Literal[3]
    node_type: Literal["group"]
    attributes: _Namespaced = _Namespaced()


class _Keys(_Part):
    separator: Literal["/", "."] = "/"


class _KeyEncoding(_Part):
    name: Literal["default", "v2"] = "default"
    configuration: _Keys | None = None


class _Grid(_Part):
    chunk_shape: _Lengths


class _ChunkGrid(_Part):
    name: Literal["regular"]
    configuration: _Grid


class Array2(_Part):
    """An array of Zarr 2."""

    zarr_format: Literal[2]
    shape: _Lengths
    chunks: _Lengths
    dtype: Any = ""
    separator: Literal["/", "."] = Field(default=".", alias="dimension_separator")

    def as_array(self) -> Array:
        """The same for both versions."""
        pixels = str(self.dtype).lstrip("<>|=")
        return Array(shape=self.shape, chunks=self.chunks, prefix="", separator=self.separator, pixels=pixels)


class Array3(_Part):
    """An array of Zarr 3. Where chunks are put into shards, the grid is that of the shards, which are the files."""

    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: _Lengths
    data_type: Any = ""
    grid: _ChunkGrid = Field(alias="chunk_grid")
    keys: _KeyEncoding = Field(alias="chunk_key_encoding")

    def as_array(self) -> Array:
        """The same for both versions."""
        by_default = self.keys.name == "default"
        separator = self.keys.configuration.separator if self.keys.configuration else "/" if by_default else "."
        return Array(
            shape=self.shape,
            chunks=self.grid.configuration.chunk_shape,
            prefix=f"c{separator}" if by_default else "",
            separator=separator,
            pixels=str(self.data_type),
        )


class Array(_Part):
    """The shape of an array, and how its chunks are cut and called.

    Attributes:
        prefix: What the name of every chunk begins with.
        separator: Between the numbers in it.
        pixels: Their type as this version of Zarr calls it.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    prefix: str
    separator: str
    pixels: str = ""

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks there can be in each direction."""
        return tuple(-(-length // chunk) for length, chunk in zip(self.shape, self.chunks, strict=True))

    @property
    def chunk_count(self) -> int:
        """How many chunks there can be."""
        return prod(self.grid)

    def chunks_of(self, at: tuple[int, ...]) -> list[str]:
        """The names of the chunks of a plane, given its place in all but the last two directions."""
        first = tuple(place // chunk for place, chunk in zip(at, self.chunks, strict=False))
        rest = (range(many) for many in self.grid[len(at) :])
        return [f"{self.prefix}{self.separator.join(map(str, (*first, *last)))}" for last in product(*rest)]


def parsed(model: type[_Model], content: bytes, path: str) -> _Model:
    """Parse one file.

    Raises:
        Permanent: ``format-broken`` with path and field.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first: dict[str, Any] = dict(error.errors(include_url=False, include_input=False)[0])
        where = ".".join(map(str, first["loc"]))
        raise failure(
            Reason.FORMAT_BROKEN, f"{path}{f' in {where}' if where else ''}: {first['msg'].lower()}"
        ) from error

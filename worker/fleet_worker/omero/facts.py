"""The values that go into and come out of OMERO: frozen, without any Ice type, safe in any thread.

Neighbours: everything in this package makes or takes them; the pipeline decides by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet_common.errors import Reason, Transient
from fleet_common.events import Phase, Transfer
from fleet_common.messages import ChecksumAlgorithm, Skip
from fleet_common.targets import Kind


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the server says of itself.

    Attributes:
        version: Of OMERO.server, for example ``5.6.3-ice36``.
        checksum_algorithms: In the server's order of preference.
        privileges: What the service account may do, for example ``("Sudo",)``.
        repository_uuid: Of the managed repository; OMERO writes it into a file below the repository, too.
    """

    version: str
    checksum_algorithms: tuple[str, ...]
    privileges: tuple[str, ...]
    repository_uuid: str = ""


@dataclass(frozen=True, slots=True)
class OwnerIds:
    """A user and a group that exist and belong together."""

    user: str
    user_id: int
    group: str
    group_id: int


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A container that exists; ``created`` says whether this call made it."""

    kind: Kind
    id: int
    name: str
    created: bool = False

    def __str__(self) -> str:
        """OMERO's own way to name it, for example ``Screen:51``."""
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class SpecFile:
    """One file of an import.

    Attributes:
        client_path: ``share/path``, the same from every worker; becomes ``FilesetEntry.clientPath``.
        size_bytes: As in the manifest.
    """

    client_path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ImportSpec:
    """All that the server needs to know of one import before the first byte.

    Attributes:
        request_id: The key under which every attempt finds what earlier ones left.
        digest: Of the manifest.
        attempt: Counted by the fleet from 1.
        source: ``share/path`` of the entry file.
        format: Name of the plate format.
        files: In the order of upload; the first is the one that Bio-Formats opens.
        reader_class: Java class of the reader; the server asks it how many folders to keep. Needed where files lie in
            folders that part early, see :func:`fleet_worker.omero.register.check_paths`.
        target: Where plates or images go; None leaves them orphaned.
        name: Of plate and images; None names them as OMERO's importer does.
        description: Of plate and images.
        algorithm: Hash on both sides; ``Skip.CHECKSUM`` makes it File-Size-64.
        skip: What the server need not do.
        fleet_version: Goes into the key annotation.
        transfer: ``ln_s`` where OMERO gets links; written on the fileset as OMERO's importer does.
    """

    request_id: str
    digest: str
    attempt: int
    source: str
    format: str
    files: tuple[SpecFile, ...]
    reader_class: str | None = None
    target: ResolvedTarget | None = None
    name: str | None = None
    description: str | None = None
    algorithm: ChecksumAlgorithm = ChecksumAlgorithm.SHA1_160
    skip: tuple[Skip, ...] = ()
    fleet_version: str = "0"
    transfer: Transfer = Transfer.UPLOAD

    @property
    def effective_algorithm(self) -> ChecksumAlgorithm:
        """What ``omero import --skip checksum`` does: the server looks at the size only."""
        return ChecksumAlgorithm.FILE_SIZE_64 if Skip.CHECKSUM in self.skip else self.algorithm


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that the server holds with the same hash.

    Attributes:
        index: In ``ImportSpec.files``.
        hash_hex: As :meth:`RegisteredImport.start` needs it.
        size_bytes: Sent, once.
        sends: 1, or more if the server's hash differed.
        server_hash_seconds: How long the server hashed it.
    """

    index: int
    hash_hex: str
    size_bytes: int
    sends: int = 1
    server_hash_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file of a fileset that is not imported yet.

    Attributes:
        id: Of its row.
        path: Where it belongs below OMERO's managed repository, without a slash in front.
        hash_hex: Of what the server holds; None while it waits for its content.
    """

    id: int
    path: str
    hash_hex: str | None = None


class ChecksumsDiffer(Transient):
    """The server refused the upload: these files are not what was sent; they alone need to be sent again.

    Attributes:
        indexes: In ``ImportSpec.files``.
    """

    def __init__(self, indexes: tuple[int, ...], message: str) -> None:
        super().__init__(Reason.UPLOAD_DIFFERS, message)
        self.indexes = indexes


@dataclass(frozen=True, slots=True)
class ServerStep:
    """The server finished a step of an import.

    Attributes:
        done: Steps that are done, 1 to 5: metadata, pixel data, thumbnails, post-processing, answer.
        phase: What it is doing now.
        seconds: Since the upload was verified, on this worker's clock.
    """

    done: int
    phase: Phase
    seconds: float


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """The server says that the import is done. That proves little: verify follows.

    Attributes:
        fileset_id: Of the fileset.
        pixels: How many images have pixels; one per series.
        plate_ids: Plates that it made.
        image_ids: Images that are in no plate.
        seconds: By phase, as far as they can be told apart.
    """

    fileset_id: int
    pixels: int
    plate_ids: tuple[int, ...]
    image_ids: tuple[int, ...]
    seconds: Mapping[Phase, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file of a fileset, as OMERO holds it.

    Attributes:
        path: As in the share, without its name, and without the leading folders that OMERO cut off: it keeps three,
            or as many as the reader asks for.
        size_bytes: None while it was never saved.
        hash_hex: None while it was never saved.
    """

    id: int
    path: str
    size_bytes: int | None
    hash_hex: str | None


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image with its dimensions, in pixels, planes and time points."""

    id: int
    name: str
    series: int
    pixels_id: int
    pixel_type: str
    size_x: int
    size_y: int
    size_z: int
    size_c: int
    size_t: int

    @property
    def planes(self) -> int:
        """How many planes it has."""
        return self.size_z * self.size_c * self.size_t


@dataclass(frozen=True, slots=True)
class WellFacts:
    """One well; rows and columns count from 0; images in the order of fields."""

    id: int
    row: int
    column: int
    image_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlateFacts:
    """One plate; rows and columns as the file says, None where it does not."""

    id: int
    name: str
    rows: int | None
    columns: int | None
    wells: tuple[WellFacts, ...]
    screen_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ImportedFacts:
    """What OMERO holds for a fileset, read back.

    Attributes:
        fileset_id: Of the fileset.
        files: Sorted by path.
        plates: Sorted by id.
        images: All, those in wells too, in the order of series.
        dataset_images: By Dataset id, how many of the images are in it.
    """

    fileset_id: int
    files: tuple[FileFacts, ...]
    plates: tuple[PlateFacts, ...]
    images: tuple[ImageFacts, ...]
    dataset_images: Mapping[int, int]

    @property
    def planes(self) -> int:
        """Planes of all images."""
        return sum(image.planes for image in self.images)

    @property
    def wells(self) -> int:
        """Wells of all plates that have images."""
        return sum(len(plate.wells) for plate in self.plates)


@dataclass(frozen=True, slots=True)
class Plane:
    """The raw pixels of one plane, row by row.

    Attributes:
        data: In big-endian byte order, whatever the file's was.
        pixel_type: OMERO's name, for example ``uint16``.
    """

    data: bytes
    pixel_type: str
    size_x: int
    size_y: int

"""Whether OMERO holds what was acquired: a pure comparison of what was expected with what was read back.

A fileset id proves nothing: Bio-Formats fills missing files with blank planes and says nothing (ome/bioformats#2827).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from fleet_common.errors import Reason, failure
from fleet_common.plates import Expected, Plate, Sizes, well_name
from fleet_common.storage import ManifestEntry
from fleet_common.targets import Kind
from fleet_worker.omero.facts import FileFacts, ImageFacts, ImportedFacts, PlateFacts, ResolvedTarget
from fleet_worker.omero.foldercut import without_cut_folders

MAX_TOLD = 5


def verify(
    plate: Plate,
    entries: Sequence[ManifestEntry],
    hashes: Sequence[str],
    facts: ImportedFacts,
    target: ResolvedTarget | None,
) -> None:
    """Compare files, hashes, wells, fields, sizes, and where it all is.

    Args:
        plate: What the plate format expects.
        entries: The manifest.
        hashes: What was sent, in the order of ``entries``; empty where another worker sent it.
        facts: What OMERO holds.
        target: Where it was to go; None where another worker imported it, and people may have moved it since.

    Raises:
        NeedsOperator: ``verification-failed`` with the first differences.
    """
    found = [
        *file_problems(entries, hashes, facts.files),
        *image_problems(plate.expected, facts),
        *series_problems(plate.images, facts.images),
        *target_problems(target, facts),
    ]
    if found:
        more = f"; and {len(found) - MAX_TOLD} more" if len(found) > MAX_TOLD else ""
        raise failure(Reason.VERIFICATION_FAILED, f"Fileset:{facts.fileset_id}: {'; '.join(found[:MAX_TOLD])}{more}")


def file_problems(entries: Sequence[ManifestEntry], hashes: Sequence[str], files: Sequence[FileFacts]) -> list[str]:
    """Differences between the manifest and the files of the fileset."""
    if len(entries) != len(files):
        return [f"{len(files)} files instead of {len(entries)}"]
    kept = without_cut_folders((entry.path for entry in entries), (file.path for file in files))
    held = {file.path: file for file in files}
    lost = [entry.path for path, entry in zip(kept, entries, strict=True) if path not in held]
    strangers = sorted(held.keys() - set(kept))
    return [
        *(f"file {other} instead of {path}" for other, path in zip_longest(strangers, lost, fillvalue="none")),
        *(
            text
            for path, entry, digest in zip(kept, entries, hashes or [""] * len(entries), strict=True)
            if path in held
            for text in _file(entry, digest, held[path])
        ),
    ]


def image_problems(expected: Expected | None, facts: ImportedFacts) -> list[str]:
    """Differences between what the plate format expects and plates, wells, fields and sizes."""
    if expected is None:
        return [] if facts.images else ["no image"]
    if len(facts.plates) != 1:
        return [f"{len(facts.plates)} plates instead of 1"]
    images = {image.id: image for image in facts.images}
    return list(_plate(expected, facts.plates[0], images))


def series_problems(sizes: Sequence[Sizes], images: Sequence[ImageFacts]) -> list[str]:
    """Differences between images as Bio-Formats was seen to make them and those of OMERO; none where none are known."""
    if not sizes:
        return []
    if len(sizes) != len(images):
        return [f"{len(images)} images instead of {len(sizes)}"]
    pairs = zip(sizes, images, strict=True)
    return [
        f"image {number} is {_held(image)} instead of {tuple(wanted)} (x, y, z, c, t)"
        for number, (wanted, image) in enumerate(pairs, 1)
        if _held(image) != tuple(wanted)
    ]


def target_problems(target: ResolvedTarget | None, facts: ImportedFacts) -> list[str]:
    """Plates or images that are not in the target: somebody deleted it, or took them out of it, during the import."""
    if target is None:
        return []
    place, gone = f"{target} {target.name!r}", "was that deleted during the import?"
    if target.kind is Kind.SCREEN:
        outside = [plate.id for plate in facts.plates if target.id not in plate.screen_ids]
        return [f"Plate:{number} is not in {place}: {gone}" for number in outside]
    if facts.plates:
        # A single file that turned out to be a plate: OMERO links neither it nor its images to a Dataset.
        return [f"Plate:{plate.id} is not in {place}: a plate goes into a Screen" for plate in facts.plates]
    inside = facts.dataset_images.get(target.id, 0)
    return [] if inside == len(facts.images) else [f"{inside} of {len(facts.images)} images are in {place}: {gone}"]


def _file(entry: ManifestEntry, digest: str, file: FileFacts) -> Iterator[str]:
    if file.size_bytes != entry.size_bytes:
        yield f"{entry.path} has {file.size_bytes} bytes instead of {entry.size_bytes}"
    elif digest and file.hash_hex != digest:
        yield f"{entry.path} has another checksum"


def _plate(expected: Expected, plate: PlateFacts, images: dict[int, ImageFacts]) -> Iterator[str]:
    wells = {(well.row, well.column): well for well in plate.wells}
    for missing in sorted(expected.wells - wells.keys()):
        yield f"well {well_name(*missing)} is missing"
    for extra in sorted(wells.keys() - expected.wells):
        yield f"well {well_name(*extra)} was not expected"
    for position in sorted(expected.wells & wells.keys()):
        fields = wells[position].image_ids
        if len(fields) != expected.fields_per_well:
            yield f"well {well_name(*position)} has {len(fields)} fields instead of {expected.fields_per_well}"
        for number, image_id in enumerate(fields):
            yield from _sizes(expected, (*position, number), images.get(image_id))


def _sizes(expected: Expected, position: tuple[int, int, int], image: ImageFacts | None) -> Iterator[str]:
    wanted = expected.sizes_of(position)
    held = None if image is None else _held(image)
    if held != tuple(wanted):
        row, column, number = position
        yield f"well {well_name(row, column)} field {number + 1} is {held} instead of {tuple(wanted)} (x, y, z, c, t)"


def _held(image: ImageFacts) -> tuple[int, int, int, int, int]:
    return (image.size_x, image.size_y, image.size_z, image.size_c, image.size_t)

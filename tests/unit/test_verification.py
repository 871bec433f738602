"""Whether OMERO holds what was acquired: every difference alone, and none where there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from fleet_common.errors import NeedsOperator, Reason
from fleet_common.plates import Expected, Plate, Sizes
from fleet_common.storage import ManifestEntry
from fleet_common.targets import Kind
from fleet_worker.omero.facts import FileFacts, ImageFacts, ImportedFacts, PlateFacts, ResolvedTarget, WellFacts
from fleet_worker.verification import (
    MAX_TOLD,
    file_problems,
    image_problems,
    series_problems,
    target_problems,
    verify,
)

ENTRIES: Final = (
    ManifestEntry("phenix1/P1/Images/Index.idx.xml", 900),
    ManifestEntry("phenix1/P1/Images/r01c01.tif", 100),
    ManifestEntry("phenix1/P1/Images/r02c03.tif", 200),
)
HASHES: Final = ("aa", "bb", "cc")
FILES: Final = (
    FileFacts(1, "P1/Images/Index.idx.xml", 900, "aa"),
    FileFacts(2, "P1/Images/r01c01.tif", 100, "bb"),
    FileFacts(3, "P1/Images/r02c03.tif", 200, "cc"),
)
EXPECTED: Final = Expected(
    name="P1",
    barcode="",
    rows=2,
    columns=3,
    wells=frozenset({(0, 0), (1, 2)}),
    fields_per_well=2,
    sizes=Sizes(x=8, y=6, z=3, c=2, t=1),
    channels=("DAPI", "GFP"),
)
PLATE: Final = Plate("harmony", ENTRIES[0].path, "reader", tuple(entry.path for entry in ENTRIES), EXPECTED)
SINGLE: Final = Plate("file", ENTRIES[1].path, "", (ENTRIES[1].path,))


def image(number: int, **changes: int) -> ImageFacts:
    """An image as it is expected, with some facts changed."""
    facts = ImageFacts(number, "P1", number, number, "uint16", size_x=8, size_y=6, size_z=3, size_c=2, size_t=1)
    return replace(facts, **changes)  # type: ignore[arg-type]  # only numbers are changed here


WELLS: Final = (WellFacts(1, 0, 0, (101, 102)), WellFacts(2, 1, 2, (103, 104)))
IMAGES: Final = tuple(image(number) for number in (101, 102, 103, 104))
SCREEN: Final = ResolvedTarget(Kind.SCREEN, 5, "Assay 7")
DATASET: Final = ResolvedTarget(Kind.DATASET, 6, "Tuesday")
HELD: Final = ImportedFacts(7, FILES, (PlateFacts(51, "P1", 2, 3, WELLS, (5,)),), IMAGES, {})


def with_wells(*wells: WellFacts) -> ImportedFacts:
    """The plate with other wells."""
    return replace(HELD, plates=(replace(HELD.plates[0], wells=wells),))


def with_image(number: int, **changes: int) -> ImportedFacts:
    """The plate with one other image."""
    return replace(HELD, images=tuple(image(one.id, **(changes if one.id == number else {})) for one in IMAGES))


def with_file(index: int, **changes: object) -> ImportedFacts:
    """The plate with one other file."""
    files = [replace(file, **(changes if place == index else {})) for place, file in enumerate(FILES)]  # type: ignore[arg-type]  # facts of a file
    return replace(HELD, files=tuple(files))


def told(facts: ImportedFacts, plate: Plate = PLATE, hashes: tuple[str, ...] = HASHES) -> list[str]:
    """All differences."""
    return [*file_problems(ENTRIES, hashes, facts.files), *image_problems(plate.expected, facts)]


def test_what_is_as_expected_has_no_difference() -> None:
    """Nothing is raised."""
    assert told(HELD) == []
    verify(PLATE, ENTRIES, HASHES, HELD, SCREEN)
    verify(PLATE, ENTRIES, HASHES, HELD, None)


DIFFERENCES = [
    ("a file less", replace(HELD, files=FILES[:2]), "2 files instead of 3"),
    ("a file more", replace(HELD, files=(*FILES, FILES[0])), "4 files instead of 3"),
    (
        "a renamed file",
        with_file(1, path="P1/Images/r01c01;.tif"),
        "file P1/Images/r01c01;.tif instead of phenix1/P1/Images/r01c01.tif",
    ),
    (
        "a file in another folder",
        with_file(1, path="P2/Images/r01c01.tif"),
        "file P2/Images/r01c01.tif instead of phenix1/P1/Images/r01c01.tif",
    ),
    ("a shorter file", with_file(1, size_bytes=99), "phenix1/P1/Images/r01c01.tif has 99 bytes instead of 100"),
    ("a file never saved", with_file(2, size_bytes=None), "phenix1/P1/Images/r02c03.tif has None bytes instead of 200"),
    ("another checksum", with_file(0, hash_hex="xx"), "phenix1/P1/Images/Index.idx.xml has another checksum"),
    ("no checksum", with_file(0, hash_hex=None), "phenix1/P1/Images/Index.idx.xml has another checksum"),
    ("no plate", replace(HELD, plates=()), "0 plates instead of 1"),
    ("two plates", replace(HELD, plates=HELD.plates * 2), "2 plates instead of 1"),
    ("a well less", with_wells(WELLS[0]), "well B03 is missing"),
    ("a well more", with_wells(*WELLS, WellFacts(3, 0, 1, (101, 102))), "well A02 was not expected"),
    ("a field less", with_wells(WELLS[0], WellFacts(2, 1, 2, (103,))), "well B03 has 1 fields instead of 2"),
    ("another width", with_image(101, size_x=9), "well A01 field 1 is (9, 6, 3, 2, 1) instead of (8, 6, 3, 2, 1)"),
    ("another height", with_image(102, size_y=7), "well A01 field 2 is (8, 7, 3, 2, 1) instead of (8, 6, 3, 2, 1)"),
    ("a plane less", with_image(103, size_z=2), "well B03 field 1 is (8, 6, 2, 2, 1) instead of (8, 6, 3, 2, 1)"),
    ("a channel less", with_image(104, size_c=1), "well B03 field 2 is (8, 6, 3, 1, 1) instead of (8, 6, 3, 2, 1)"),
    ("a time point more", with_image(101, size_t=2), "well A01 field 1 is (8, 6, 3, 2, 2) instead of (8, 6, 3, 2, 1)"),
    (
        "an image that is not there",
        replace(HELD, images=IMAGES[1:]),
        "well A01 field 1 is None instead of (8, 6, 3, 2, 1)",
    ),
]


@pytest.mark.parametrize(("facts", "expected"), [row[1:] for row in DIFFERENCES], ids=[row[0] for row in DIFFERENCES])
def test_every_difference_is_found_alone(facts: ImportedFacts, expected: str) -> None:
    """One thing differs, and exactly that is said."""
    assert [text.removesuffix(" (x, y, z, c, t)") for text in told(facts)] == [expected]
    with pytest.raises(NeedsOperator) as caught:
        verify(PLATE, ENTRIES, HASHES, facts, SCREEN)
    assert caught.value.reason is Reason.VERIFICATION_FAILED
    assert str(caught.value).startswith(f"Fileset:7: {expected}")


def test_a_name_that_only_ends_alike_is_another_name() -> None:
    """Whole components are compared."""
    entries, files = [ManifestEntry("a/r01c01.tif", 1)], [FileFacts(1, "01c01.tif", 1, None)]
    assert file_problems(entries, (), files) == ["file 01c01.tif instead of a/r01c01.tif"]


def test_a_field_more_is_found_and_its_size_is_compared() -> None:
    """A well with three fields where two were measured."""
    wells = (WellFacts(1, 0, 0, (101, 102, 103)), WELLS[1])
    assert told(with_wells(*wells)) == ["well A01 has 3 fields instead of 2"]


def test_single_images_may_have_sizes_of_their_own() -> None:
    """Instruments let z vary by field."""
    other = replace(EXPECTED, other_sizes={(1, 2, 0): Sizes(8, 6, 5, 2, 1)})
    assert told(with_image(103, size_z=5), replace(PLATE, expected=other)) == []
    assert len(told(HELD, replace(PLATE, expected=other))) == 1


def test_files_are_paired_whatever_leading_folders_omero_cut_off() -> None:
    """Entry file and planes keep their own part of the path."""
    for keep in (1, 2, 3, 4):
        files = tuple(
            replace(file, path="/".join(entry.path.split("/")[-keep:]))
            for file, entry in zip(FILES, ENTRIES, strict=True)
        )
        assert told(replace(HELD, files=files)) == []


def test_files_of_one_name_in_two_folders_are_not_mixed_up() -> None:
    """Size and checksum are compared with the right one, in whatever order OMERO lists them."""
    entries = (ManifestEntry("s/a/x.tif", 1), ManifestEntry("s/b/x.tif", 2))
    files = (FileFacts(1, "b/x.tif", 2, "bb"), FileFacts(2, "a/x.tif", 1, "aa"))
    assert file_problems(entries, ("aa", "bb"), files) == []
    assert file_problems(entries, ("bb", "aa"), files) == [
        "s/a/x.tif has another checksum",
        "s/b/x.tif has another checksum",
    ]


def test_a_folder_beside_a_file_of_the_same_name_is_not_mixed_up() -> None:
    """The folder above both was cut off, so one path is the end of the other."""
    entries = [ManifestEntry("p1/a/img.tif", 1), ManifestEntry("p1/img.tif", 2)]
    files = (FileFacts(1, "a/img.tif", 1, "aa"), FileFacts(2, "img.tif", 2, "bb"))
    assert file_problems(entries, ["aa", "bb"], files) == []


def test_a_file_that_nobody_sent_is_found_where_names_are_alike() -> None:
    """Two of ours would be kept under one name, so one of OMERO's belongs to none."""
    entries = [ManifestEntry("a/x.tif", 1), ManifestEntry("b/x.tif", 1)]
    files = (FileFacts(1, "x.tif", 1, None), FileFacts(2, "z.tif", 1, None))
    assert file_problems(entries, (), files) == ["file z.tif instead of none"]


def test_an_adopted_fileset_has_no_checksums_to_compare() -> None:
    """Another worker sent the files; sizes and names are compared all the same."""
    assert told(with_file(0, hash_hex="xx"), hashes=()) == []
    assert told(with_file(0, size_bytes=1), hashes=()) == ["phenix1/P1/Images/Index.idx.xml has 1 bytes instead of 900"]


@pytest.mark.parametrize(("images", "expected"), [((), ["no image"]), (IMAGES[:1], []), (IMAGES, [])])
def test_a_single_file_needs_one_image_at_least(images: tuple[ImageFacts, ...], expected: list[str]) -> None:
    """The fleet knows nothing else of its content."""
    assert image_problems(SINGLE.expected, replace(HELD, images=images)) == expected


def test_many_differences_are_counted_not_listed() -> None:
    """A plate of 100,000 files can differ in all of them."""
    wells = tuple(WellFacts(number, row, 0, ()) for number, row in enumerate(range(10, 20)))
    with pytest.raises(NeedsOperator) as caught:
        verify(PLATE, ENTRIES, HASHES, with_wells(*wells), SCREEN)
    text = str(caught.value)
    assert text.count("well ") == MAX_TOLD
    assert text.endswith("; and 7 more")


# --- where it is --------------------------------------------------------------------------------------------------

GONE_SCREEN: Final = "not in Screen:5 'Assay 7': was that deleted during the import?"
GONE_DATASET: Final = "in Dataset:6 'Tuesday': was that deleted during the import?"


@pytest.mark.parametrize(
    ("screens", "expected"),
    [
        ((5,), []),
        ((4, 5, 6), []),
        ((), [f"Plate:51 is {GONE_SCREEN}"]),
        ((4, 6), [f"Plate:51 is {GONE_SCREEN}"]),
    ],
)
def test_a_plate_must_be_in_its_screen(screens: tuple[int, ...], expected: list[str]) -> None:
    """Whatever other screens people put it into."""
    facts = replace(HELD, plates=(replace(HELD.plates[0], screen_ids=screens),))
    assert target_problems(SCREEN, facts) == expected


def test_each_plate_that_is_not_in_the_screen_is_named() -> None:
    """One file may hold several."""
    plates = (replace(HELD.plates[0], id=51, screen_ids=()), HELD.plates[0], replace(HELD.plates[0], screen_ids=(4,)))
    assert len(target_problems(SCREEN, replace(HELD, plates=plates))) == 2


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ({6: 4}, []),
        ({5: 1, 6: 4}, []),
        ({}, [f"0 of 4 images are {GONE_DATASET}"]),
        ({5: 4}, [f"0 of 4 images are {GONE_DATASET}"]),
        ({6: 3}, [f"3 of 4 images are {GONE_DATASET}"]),
    ],
)
def test_all_images_must_be_in_their_dataset(inside: dict[int, int], expected: list[str]) -> None:
    """Not only the first of a file with many."""
    assert target_problems(DATASET, replace(HELD, plates=(), dataset_images=inside)) == expected


def test_a_single_file_that_is_a_plate_is_in_no_dataset() -> None:
    """OMERO answers OK and leaves the Plate an orphan; that is said, and what to do."""
    told_of_it = ["Plate:51 is not in Dataset:6 'Tuesday': a plate goes into a Screen"]
    assert target_problems(DATASET, replace(HELD, dataset_images={6: 4})) == told_of_it


def test_where_nobody_knows_the_target_it_is_not_compared() -> None:
    """Of an adopted fileset: people may have moved it since."""
    assert target_problems(None, replace(HELD, plates=(replace(HELD.plates[0], screen_ids=()),))) == []


def test_a_target_that_was_deleted_during_the_import_fails_the_verification() -> None:
    """With fileset, plate and target named."""
    facts = replace(HELD, plates=(replace(HELD.plates[0], screen_ids=()),))
    with pytest.raises(NeedsOperator) as caught:
        verify(PLATE, ENTRIES, HASHES, facts, SCREEN)
    assert caught.value.reason is Reason.VERIFICATION_FAILED
    assert str(caught.value) == f"Fileset:7: Plate:51 is {GONE_SCREEN}"


SEEN: Final = tuple(Sizes(8, 6, 3, 2, 1) for _ in IMAGES)


def test_images_as_bioformats_made_them_have_no_difference() -> None:
    """Nor those of which nothing is known."""
    assert series_problems(SEEN, IMAGES) == []
    assert series_problems((), IMAGES) == []
    verify(replace(PLATE, expected=None, images=SEEN), ENTRIES, HASHES, HELD, SCREEN)


def test_an_image_less_than_bioformats_made_is_told() -> None:
    """The server made fewer series of the same files."""
    assert series_problems(SEEN, IMAGES[:3]) == ["3 images instead of 4"]
    with pytest.raises(NeedsOperator, match="4 images instead of 1"):
        verify(replace(PLATE, expected=None, images=SEEN[:1]), ENTRIES, HASHES, HELD, SCREEN)


def test_an_image_of_another_size_than_bioformats_saw_is_told() -> None:
    """By its number in the file."""
    images = (IMAGES[0], image(102, size_z=1), *IMAGES[2:])
    assert series_problems(SEEN, images) == ["image 2 is (8, 6, 1, 2, 1) instead of (8, 6, 3, 2, 1) (x, y, z, c, t)"]

"""A sample of planes: which are chosen, and what is said of those that are blank or copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import LeaseLost, Reason, RequestError, failure
from fleet_common.plates import Plane as PlanePlace
from fleet_common.plates import Plate
from fleet_worker.omero.facts import ImageFacts, ImportedFacts, Plane, PlateFacts, WellFacts
from fleet_worker.sampling import MAX_BYTES, MAX_SECONDS, Look, Sample, choose, is_blank, look

WELLS = ((0, 0), (1, 2))
FIELDS, TIMES, DEPTH, CHANNELS = 2, 2, 3, 2


def name(plane: tuple[int, ...]) -> str:
    """The file of a plane."""
    return f"P1/{'-'.join(map(str, plane))}.tif"


PLACES = [
    (row, column, field, t, z, c)
    for row, column in WELLS
    for field in range(FIELDS)
    for t in range(TIMES)
    for z in range(DEPTH)
    for c in range(CHANNELS)
]
PLANES = tuple(PlanePlace(*place, name(place)) for place in PLACES)
FILES = tuple(map(name, PLACES))
PLATE = Plate("harmony", "P1/Index.idx.xml", "reader", ("P1/Index.idx.xml", *FILES), planes=PLANES)
IMAGES = tuple(
    ImageFacts(100 + number, "P1", number, number, "uint16", 8, 6, DEPTH, CHANNELS, TIMES) for number in range(4)
)
FACTS = ImportedFacts(
    7,
    (),
    (PlateFacts(51, "P1", 8, 12, (WellFacts(1, 0, 0, (100, 101)), WellFacts(2, 1, 2, (102, 103))), (5,)),),
    IMAGES,
    {},
)
TEXTURE = bytes(range(96))
OTHER = bytes(reversed(TEXTURE))
SAMPLE = Sample("well A01", IMAGES[0], ((1, 0, 0), (0, 0, 0)))


def plane(data: bytes, pixel_type: str = "uint16") -> Plane:
    """A plane of 8 x 6 pixels."""
    return Plane(data, pixel_type, 8, 6)


@dataclass
class Pixels:
    """A session that gives these planes, in turn, or fails at some places."""

    gives: Sequence[bytes] = (TEXTURE, OTHER)
    fails: RequestError | None = None
    fails_at: Callable[[tuple[int, int, int]], bool] = lambda _: True
    asked: list[tuple[int, Sequence[tuple[int, int, int]]]] = field(default_factory=list)

    def read_planes(self, image: ImageFacts, places: Sequence[tuple[int, int, int]]) -> tuple[Plane, ...]:
        """As many as are asked for."""
        self.asked.append((image.id, tuple(places)))
        if self.fails and any(map(self.fails_at, places)):
            raise self.fails
        return tuple(plane(data) for data, _ in zip(cycle(self.gives), places, strict=False))


def still() -> float:
    """A clock on which nothing takes time."""
    return 0.0


def never() -> None:
    """Nothing stops the attempt."""


def images_apart(count: int) -> list[Sample]:
    """Samples, each of another image."""
    return [replace(SAMPLE, image=IMAGES[number % 2]) for number in range(count)]


def seen(
    pixels: Pixels,
    samples: Sequence[Sample] = (SAMPLE,),
    check: Callable[[], None] = never,
    monotonic: Callable[[], float] = still,
) -> Look:
    """What is seen of a sample."""
    return look(pixels, samples, check=check, monotonic=monotonic)


class TestChoice:
    """Bounded, even, and only of planes that should hold an image."""

    @given(st.integers(0, 200))
    def test_it_is_never_larger_than_asked_for_and_never_takes_a_plane_twice(self, count: int) -> None:
        """Neither more than there are."""
        chosen = choose(PLATE, FILES, FACTS, count)
        assert len(chosen) == min(count, len(PLANES)) == len({sample.where for sample in chosen})

    def test_it_holds_every_channel(self) -> None:
        """Even the smallest that can."""
        chosen = choose(PLATE, FILES, FACTS, CHANNELS)
        assert {sample.places[0][1] for sample in chosen} == set(range(CHANNELS))

    @pytest.mark.parametrize(("count", "images"), [(1, 1), (2, 1), (3, 2), (4, 2), (8, 4), (50, 4)])
    def test_it_opens_half_as_many_images_as_it_reads_planes(self, count: int, images: int) -> None:
        """All planes of one image come one after the other."""
        chosen = [sample.image.id for sample in choose(PLATE, FILES, FACTS, count)]
        assert len(set(chosen)) == images
        assert chosen == sorted(chosen)

    def test_images_of_one_plane_are_all_opened(self) -> None:
        """Two of each is no reason to look at fewer planes."""
        flat = replace(PLATE, planes=tuple(one for one in PLANES if (one.t, one.z, one.c) == (0, 0, 0)))
        assert [sample.image.id for sample in choose(flat, FILES, FACTS, 4)] == [100, 101, 102, 103]

    def test_a_few_images_are_from_all_over_the_plate(self) -> None:
        """One of each well rather than all of the first."""
        assert {sample.where[:8] for sample in choose(PLATE, FILES, FACTS, 4)} == {"well A01", "well B03"}

    def test_it_is_the_same_every_time(self) -> None:
        """A second attempt tells the same."""
        assert choose(PLATE, FILES, FACTS, 5) == choose(PLATE, reversed(FILES), FACTS, 5)

    def test_it_names_the_image_and_the_neighbour_in_the_stack(self) -> None:
        """The plane below, or the second for the first; of the same channel and time."""
        chosen = {sample.where: sample for sample in choose(PLATE, FILES, FACTS, len(PLANES))}
        first = chosen["well A01, field 2, channel 2, plane 1, time point 2"]
        assert (first.image.id, first.places) == (101, ((0, 1, 1), (1, 1, 1)))
        third = chosen["well B03, field 1, channel 1, plane 3, time point 1"]
        assert (third.image.id, third.places) == (102, ((2, 0, 0), (1, 0, 0)))

    def test_a_plane_without_a_neighbour_is_looked_at_alone(self) -> None:
        """What has no file is black, and no copy."""
        only = [file for file in FILES if "-1-" not in file[6:]]
        flat = replace(PLATE, planes=tuple(one for one in PLANES if one.z == 0))
        assert {len(sample.places) for sample in choose(flat, only, FACTS, 100)} == {1}

    def test_what_was_not_imported_is_not_looked_at(self) -> None:
        """A partial plate is black where it is partial, as a person decided."""
        there = FILES[:2]
        assert len(choose(PLATE, there, FACTS, 100)) == 2
        assert choose(PLATE, (), FACTS, 100) == ()

    def test_what_the_instrument_recorded_as_failed_is_not_looked_at(self) -> None:
        """It has no file."""
        failed = replace(PLATE, planes=tuple(one._replace(path=None) for one in PLANES))
        assert choose(failed, FILES, FACTS, 100) == ()

    def test_a_format_that_lists_no_planes_gives_no_sample(self) -> None:
        """Nobody knows what to expect of a single file."""
        assert choose(Plate("file", "a.tif", "", ("a.tif",)), ["a.tif"], FACTS, 100) == ()

    @pytest.mark.parametrize("held", [{"size_z": 1}, {"size_c": 1}, {"size_t": 1}])
    def test_what_omero_does_not_hold_is_not_asked_for(self, held: dict[str, int]) -> None:
        """The reader's numbers win where they are fewer."""
        facts = replace(FACTS, images=tuple(replace(image, **held) for image in IMAGES))  # type: ignore[arg-type]  # sizes only
        fits = [one for one in PLANES if one.z < facts.images[0].size_z]
        fits = [one for one in fits if one.c < facts.images[0].size_c and one.t < facts.images[0].size_t]
        assert len(choose(PLATE, FILES, facts, 1000)) == len(fits) < len(PLANES)

    def test_planes_that_no_message_could_carry_are_left_out(self) -> None:
        """OMERO would drop the connection."""
        side = int((MAX_BYTES / 2) ** 0.5)
        small = replace(FACTS, images=tuple(replace(image, size_x=side, size_y=side) for image in IMAGES))
        large = replace(FACTS, images=tuple(replace(image, size_x=side + 1, size_y=side + 1) for image in IMAGES))
        assert len(choose(PLATE, FILES, small, 3)) == 3
        assert choose(PLATE, FILES, large, 3) == ()


class TestBlank:
    """All pixels of one value, whatever it is and however wide."""

    @pytest.mark.parametrize("pixel_type", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float", "double"])
    def test_zeros_are_blank(self, pixel_type: str) -> None:
        """This is what Bio-Formats fills gaps with."""
        assert is_blank(plane(bytes(96), pixel_type))

    def test_one_value_of_two_bytes_is_blank(self) -> None:
        """As bytes it is not: 1, 2, 1, 2."""
        assert is_blank(plane(b"\x01\x02" * 48))
        assert not is_blank(plane(b"\x01\x02" * 96, "uint8"))

    @given(st.binary(min_size=4, max_size=40).filter(lambda data: len(data) % 2 == 0))
    def test_it_is_what_comparing_every_pixel_says(self, data: bytes) -> None:
        """Pixel by pixel."""
        pixels = {data[at : at + 2] for at in range(0, len(data), 2)}
        assert is_blank(plane(data)) is (len(pixels) == 1)

    def test_nothing_is_not_blank(self) -> None:
        """There is no pixel of which it could be said."""
        assert not is_blank(plane(b""))


class TestLook:
    """What is seen, and what it costs."""

    def test_planes_with_texture_are_no_warning(self) -> None:
        """Both were asked for at once: to open an image is what takes time."""
        pixels = Pixels()
        assert seen(pixels) == Look(seen=1)
        assert seen(pixels).warnings == ()
        assert pixels.asked[0] == (100, SAMPLE.places)

    def test_a_blank_plane_is_told_by_its_place(self) -> None:
        """With how many were looked at."""
        found = seen(Pixels((bytes(96), TEXTURE)))
        assert found.warnings == ("1 of 1 sampled planes are blank, although their files are there: well A01",)

    def test_a_copy_of_the_neighbour_is_told(self) -> None:
        """An older CV7000 reader makes such."""
        (told,) = seen(Pixels((TEXTURE, TEXTURE))).warnings
        assert told.startswith("1 of 1 sampled planes are equal to their neighbour in the stack")

    def test_two_blank_planes_are_blank_and_no_copies(self) -> None:
        """One warning for one thing."""
        found = seen(Pixels((bytes(96), bytes(96))))
        assert (found.blank, found.repeated) == (("well A01",), ())

    def test_a_plane_that_the_server_cannot_read_is_told(self) -> None:
        """It would be noticed when somebody looks at it, years later (IDR/idr-metadata#700)."""
        (told,) = seen(Pixels(fails=failure(Reason.INTERNAL_ERROR, "FileNotFoundException"))).warnings
        assert told == "1 of 1 sampled planes are not readable in OMERO: well A01"

    def test_one_that_cannot_be_read_is_not_taken_for_others_of_its_image(self) -> None:
        """They were asked for together, and are then asked for alone."""
        pixels = Pixels(fails=failure(Reason.INTERNAL_ERROR, "no such file"), fails_at=lambda place: place[0] == 2)
        found = seen(pixels, [SAMPLE, replace(SAMPLE, where="well A02", places=((2, 0, 0),))])
        assert (found.seen, found.unreadable) == (2, ("well A02",))

    def test_planes_of_one_image_are_read_together(self) -> None:
        """Each is judged by its own neighbour all the same."""
        pixels = Pixels((TEXTURE, OTHER, TEXTURE, TEXTURE))
        found = seen(pixels, [SAMPLE, replace(SAMPLE, where="well A02")])
        assert (found.seen, found.repeated) == (2, ("well A02",))
        assert pixels.asked == [(100, SAMPLE.places * 2)]

    @pytest.mark.parametrize("reason", [Reason.OMERO_UNAVAILABLE, Reason.OMERO_BUSY, Reason.SESSION_LOST])
    def test_a_server_that_is_gone_is_no_fault_of_the_plane(self, reason: Reason) -> None:
        """The attempt ends, and the next one looks again."""
        gone = failure(reason, "gone")
        with pytest.raises(RequestError) as caught:
            seen(Pixels(fails=gone))
        assert caught.value is gone

    def test_many_are_told_by_the_first_three(self) -> None:
        """A black plate must not fill the event log."""
        samples = [replace(SAMPLE, where=f"well A{number:02d}") for number in range(1, 7)]
        (told,) = seen(Pixels((bytes(96), TEXTURE)), samples).warnings
        assert told.endswith(
            "6 of 6 sampled planes are blank, although their files are there: well A01; well A02; well A03; and 3 more"
        )

    def test_a_slow_server_ends_the_sample(self) -> None:
        """What was looked at by then is what is told of."""
        times = iter([0.0, 1.0, MAX_SECONDS, MAX_SECONDS + 1])
        found = seen(Pixels((bytes(96), TEXTURE)), images_apart(9), monotonic=lambda: next(times))
        assert found.seen == 2

    def test_a_lost_lock_ends_it_at_once(self) -> None:
        """Between any two samples."""
        pixels = Pixels()
        orders = iter([None, LeaseLost("gone")])

        def check() -> None:
            if error := next(orders):
                raise error

        with pytest.raises(LeaseLost):
            seen(pixels, images_apart(3), check)
        assert len(pixels.asked) == 1

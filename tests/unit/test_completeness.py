"""The completeness engine: every layer, every state, and that nothing is complete before its last file is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_common.plates import (
    End,
    FileProblem,
    Plane,
    Plate,
    Problem,
    damages,
    describe,
    odd_sizes,
    problems,
)
from fleet_common.storage import Judgement, Wholeness
from fleet_producer.completeness import Decision, History, Look, Mark, Policy, State, decide
from fleet_producer.completeness.layers import waits
from fleet_producer.completeness.model import Layer

POLICY = Policy(settle_seconds=60, deadline_seconds=3600)
MARK = Mark(3, 300, 7, 9, "entry")
MISSING = FileProblem("p/a.tiff", Problem.MISSING, "well A01, field 1")
GOOD = Look(MARK, listed=3, damaged=())
QUIET = History(MARK, looks=2, quiet_seconds=60, still_seconds=60)


def decided(look: Look = GOOD, history: History = QUIET, **changes: Any) -> Decision:
    return decide(history, replace(look, **changes), POLICY)


class TestLayers:
    """Each layer alone keeps a plate back, and says why."""

    def test_a_plate_on_which_all_agree_is_complete(self) -> None:
        found = decided()
        assert found.state is State.COMPLETE
        assert (found.done, found.of, found.next_action) == (3, 3, "")
        assert found.why == "all 3 files are there and whole"

    @pytest.mark.parametrize(
        ("changes", "layer", "state", "word"),
        [
            ({"unreadable": "the index is cut"}, Layer.ENTRY, State.DISCOVERED, "the index is cut"),
            ({"end": End.RUNNING}, Layer.END, State.ACQUIRING, "has not said that it is done"),
            ({"awaited": "IMPORT_READY"}, Layer.END, State.ACQUIRING, "IMPORT_READY"),
            ({"absent": (MISSING,)}, Layer.FILES, State.ACQUIRING, "well A01"),
            ({"temporary": ("a.tmp",)}, Layer.NAMES, State.SETTLING, "a.tmp"),
            ({"held": "p/a.tiff"}, Layer.NAMES, State.SETTLING, "p/a.tiff"),
            ({"damaged": None}, Layer.WHOLE, State.SETTLING, "not looked into"),
            ({"damaged": (MISSING,)}, Layer.WHOLE, State.ACQUIRING, "well A01"),
        ],
    )
    def test_each_keeps_it_back(self, changes: dict[str, Any], layer: Layer, state: State, word: str) -> None:
        look = replace(GOOD, **changes)
        (wait,) = waits(QUIET, look, POLICY)
        assert wait.layer is layer
        found = decided(look)
        assert found.state is state
        assert word in found.why
        assert found.next_action == ""

    @pytest.mark.parametrize("history", [History(), replace(QUIET, looks=1), replace(QUIET, quiet_seconds=59.9)])
    def test_quiet_needs_two_looks_and_the_settle_time(self, history: History) -> None:
        found = decided(history=history)
        assert found.state is State.SETTLING
        assert "of 60 s" in found.why

    @pytest.mark.parametrize("end", [End.UNKNOWN, End.ENDED])
    def test_an_instrument_that_does_not_say_that_it_runs_is_believed(self, end: End) -> None:
        assert decided(end=end).state is State.COMPLETE

    def test_the_files_are_opened_only_when_nothing_else_is_to_do(self) -> None:
        assert decided(damaged=None).check_due
        for changes in ({"absent": (MISSING,)}, {"temporary": ("a",)}, {"unreadable": "x"}, {"held": "a"}):
            assert not decided(damaged=None, **changes).check_due
        assert not decided(damaged=None, history=History()).check_due

    def test_errors_of_the_instrument_are_told_and_stop_nothing(self) -> None:
        found = decided(errors=4)
        assert found.state is State.COMPLETE
        assert "recorded 4 errors" in found.why


class TestDeadline:
    """What does not change any more and is not complete is a person's."""

    OVER = replace(QUIET, still_seconds=3600)

    def test_missing_files_are_incomplete(self) -> None:
        found = decided(absent=(MISSING,), history=self.OVER)
        assert found.state is State.INCOMPLETE
        assert "well A01" in found.why
        assert "submit --partial" in found.next_action
        assert found.problems == (MISSING,)

    def test_an_instrument_that_never_ended_has_aborted(self) -> None:
        """Told apart from files that a copy has lost."""
        assert decided(end=End.RUNNING, absent=(MISSING,), history=self.OVER).state is State.ABORTED
        assert decided(end=End.ENDED, absent=(MISSING,), history=self.OVER).state is State.INCOMPLETE

    def test_what_is_no_plate_may_be_ignored(self) -> None:
        found = decided(unreadable="no index", history=self.OVER)
        assert found.state is State.INCOMPLETE
        assert "ignore" in found.next_action

    def test_what_the_error_advises_is_advised(self) -> None:
        found = decided(unreadable="a link", advice="Replace the link.", history=self.OVER)
        assert found.next_action == "Replace the link."

    def test_a_complete_plate_has_no_deadline(self) -> None:
        assert decided(history=self.OVER).state is State.COMPLETE
        assert decided(history=self.OVER, damaged=None).state is State.SETTLING

    def test_a_wait_for_quiet_alone_has_none_either(self) -> None:
        """After an interruption the quiet is proven anew; that the plate is old is no fault of it."""
        assert decided(history=self.OVER.interrupted()).state is State.SETTLING


class TestHistory:
    """What looks add up to."""

    def test_equal_looks_add_up(self) -> None:
        history = History().after(GOOD, 0)
        for _ in range(3):
            history = history.after(GOOD, 20)
        assert (history.looks, history.quiet_seconds, history.still_seconds) == (4, 60, 60)

    def test_another_look_begins_anew(self) -> None:
        history = QUIET.after(replace(GOOD, mark=MARK._replace(bytes=301)), 30)
        assert (history.looks, history.quiet_seconds, history.still_seconds) == (1, 0, 0)

    @pytest.mark.parametrize("place", range(len(MARK)))
    def test_every_number_of_a_listing_counts(self, place: int) -> None:
        other = Mark(*(1 if number == place else value for number, value in enumerate(MARK)))  # type: ignore[arg-type]  # only compared
        assert QUIET.after(replace(GOOD, mark=other), 1).looks == 1

    def test_an_interruption_is_no_quiet_but_moves_no_deadline(self) -> None:
        history = QUIET.interrupted().after(GOOD, 500)
        assert (history.looks, history.quiet_seconds, history.still_seconds) == (1, 0, 560)

    def test_time_that_runs_backwards_is_no_time(self) -> None:
        assert QUIET.after(GOOD, -1000).quiet_seconds == QUIET.quiet_seconds

    def test_the_rest_takes_as_long_as_what_came(self) -> None:
        """Given 10 of 40 files a minute, then the 20 that are left take two."""
        absent = tuple(replace(MISSING, path=str(number)) for number in range(30))
        history = History().after(replace(GOOD, listed=40, absent=absent), 0)
        look = replace(GOOD, mark=Mark(), listed=40, absent=absent[:20])
        assert history.eta_seconds(look) is None
        assert history.after(look, 60).eta_seconds(look) == pytest.approx(120)

    def test_nobody_can_say_when_nothing_arrives(self) -> None:
        look = replace(GOOD, absent=(MISSING,))
        assert History().after(look, 0).after(look, 60).eta_seconds(look) is None

    def test_looks_without_a_list_do_not_count_files(self) -> None:
        blind = Look(Mark(), unreadable="x")
        assert History().after(blind, 0).after(blind, 60).counted == 0


class TestDamages:
    """Files that are there and not whole."""

    PLATE = Plate(
        format="x",
        entry="p/index",
        reader="",
        files=("p/index", "p/a.tiff", "p/b.tiff", "p/c.tiff", "p/d.tiff"),
        planes=(
            Plane(0, 0, 0, 0, 0, 0, "p/a.tiff"),
            Plane(0, 1, 0, 0, 0, 0, "p/b.tiff"),
            Plane(1, 2, 3, 0, 0, 0, "p/c.tiff"),
            Plane(1, 2, 3, 0, 0, 1, "p/d.tiff"),
            Plane(1, 2, 3, 0, 0, 2, None),
        ),
    )

    def test_cut_files_are_named_with_their_wells(self) -> None:
        judged = {
            "p/a.tiff": Judgement(Wholeness.WHOLE),
            "p/b.tiff": Judgement(Wholeness.UNJUDGED, "too large"),
            "p/c.tiff": Judgement(Wholeness.CUT, "its strip 1 of 1 ends too late"),
            "p/d.tiff": Judgement(Wholeness.NOT_TIFF, "zeros"),
        }
        cut, other = damages(self.PLATE, judged)
        assert str(cut) == (
            "p/c.tiff is cut (well B03, field 4, channel 1, plane 1, time point 1): its strip 1 of 1 ends too late"
        )
        assert other.problem is Problem.NOT_TIFF
        assert "0 files are missing and 0 are empty, 2 are not whole: p/c.tiff" in describe((cut, other))

    def test_an_image_of_another_type_is_named_with_its_well(self) -> None:
        """Readers take one type for the whole plate; what is not judged, not there or no plane is not compared."""
        judged = {
            "p/index": Judgement(Wholeness.WHOLE, pixels="uint8"),
            "p/a.tiff": Judgement(Wholeness.WHOLE, pixels="uint16"),
            "p/b.tiff": Judgement(Wholeness.WHOLE, pixels="uint16"),
            "p/c.tiff": Judgement(Wholeness.WHOLE, pixels="float"),
            "p/d.tiff": Judgement(Wholeness.UNJUDGED),
        }
        (odd,) = damages(self.PLATE, judged)
        assert str(odd) == (
            "p/c.tiff is of another pixel type (well B03, field 4, channel 1, plane 1, time point 1): "
            "float instead of uint16"
        )
        assert "0 files are missing and 0 are empty, 1 differ from the others: p/c.tiff" in describe((odd,))

    def test_an_index_that_tells_the_type_of_an_image_is_believed(self) -> None:
        """Given images of two types, each as the index says; then none is odd, and all are when it says another."""
        judged = {
            "p/a.tiff": Judgement(Wholeness.WHOLE, pixels="uint16"),
            "p/b.tiff": Judgement(Wholeness.WHOLE, pixels="uint8"),
        }
        told = replace(self.PLATE, pixel_types={(0, 0, 0): "uint16", (0, 1, 0): "uint8"})
        assert damages(told, judged) == ()
        other = replace(self.PLATE, pixel_types=dict.fromkeys(told.pixel_types, "float"))
        assert [odd.path for odd in damages(other, judged)] == ["p/a.tiff", "p/b.tiff"]

    def test_a_single_file_that_is_no_tiff_is_left_to_bio_formats(self) -> None:
        single = Plate(format="file", entry="a.tif", reader="", files=("a.tif",))
        assert damages(single, {"a.tif": Judgement(Wholeness.NOT_TIFF)}) == ()
        assert len(damages(single, {"a.tif": Judgement(Wholeness.CUT)})) == 1

    def test_a_file_of_another_size_than_its_channel_is_odd(self) -> None:
        """Another channel may have other sizes, and files that are not there are missing, not odd."""
        sizes = {"p/index": 1, "p/a.tiff": 8, "p/b.tiff": 8, "p/c.tiff": 4, "p/d.tiff": 99}
        (odd,) = odd_sizes(self.PLATE, sizes)
        assert (odd.path, odd.detail) == ("p/c.tiff", "4 bytes instead of 8")
        del sizes["p/c.tiff"]
        assert odd_sizes(self.PLATE, sizes) == ()


# --- the promise: any interleaving ------------------------------------------------------------------------------------

IMAGES = tuple(f"p/{number}.tiff" for number in range(4))
INDEX = "p/index"
FULL_BYTES = 10


@dataclass
class Instrument:
    """A plate that is being written, and a producer that looks at it through the engine, as a watch does.

    ``versions`` are the images that the index lists as it is written again and again; the last one is the final
    manifest.
    """

    versions: tuple[tuple[str, ...], ...]
    says_end: bool
    files: dict[str, int] = field(default_factory=dict)
    version: int = -1
    now: float = 0.0
    looked_at: float | None = None
    history: History = field(default_factory=History)
    damaged: dict[Mark, tuple[FileProblem, ...]] = field(default_factory=dict)
    changes: int = 0

    def plate(self) -> Plate:
        listed = self.versions[self.version]
        return Plate(
            format="x",
            entry=INDEX,
            reader="",
            files=(INDEX, *listed),
            planes=tuple(Plane(0, 0, number, 0, 0, 0, path) for number, path in enumerate(listed)),
            end=End.UNKNOWN if not self.says_end else End.ENDED if self.is_last else End.RUNNING,
        )

    @property
    def is_last(self) -> bool:
        return self.version == len(self.versions) - 1

    @property
    def is_whole(self) -> bool:
        """Whether every file of the final manifest is there, with all its bytes."""
        return self.is_last and all(self.files.get(path) == FULL_BYTES for path in self.versions[-1])

    def write(self, path: str, size: int) -> None:
        self.files[path] = size
        self.changes += 1

    def delete(self, path: str) -> None:
        if self.files.pop(path, None) is not None:
            self.changes += 1

    def write_index(self) -> None:
        if not self.is_last:
            self.version += 1
            self.changes += 1

    def look(self) -> State:
        look = self._seen()
        decision = self._decide(look)
        if decision.check_due:
            self.damaged[look.mark] = damages(self.plate(), self._judged())
            decision = self._decide(replace(look, damaged=self.damaged[look.mark]))
        return decision.state

    def _decide(self, look: Look) -> Decision:
        elapsed = 0.0 if self.looked_at is None else self.now - self.looked_at
        self.history = self.history.after(look, elapsed)
        self.looked_at = self.now
        return decide(self.history, look, POLICY)

    def _seen(self) -> Look:
        mark = Mark(len(self.files), sum(self.files.values()), self.changes, 0, str(self.version))
        if self.version < 0:
            return Look(mark, unreadable="no index")
        plate = self.plate()
        sizes: Mapping[str, int] = self.files | {INDEX: 1}
        absent = problems(plate, sizes)
        return Look(mark, listed=len(plate.files), absent=absent, end=plate.end, damaged=self.damaged.get(mark))

    def _judged(self) -> dict[str, Judgement]:
        return {
            path: Judgement(Wholeness.WHOLE if size == FULL_BYTES else Wholeness.CUT)
            for path, size in self.files.items()
        }


STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(IMAGES)),
    st.tuples(st.just("begin"), st.sampled_from(IMAGES)),
    st.tuples(st.just("delete"), st.sampled_from(IMAGES)),
    st.tuples(st.just("index"), st.just("")),
    st.tuples(st.just("look"), st.just("")),
    st.tuples(st.just("away"), st.just("")),
    st.tuples(st.just("pause"), st.sampled_from(["1", "30", "59", "61", "500", "4000"])),
)


def play(instrument: Instrument, steps: list[tuple[str, str]], longest_pause: float) -> Iterator[State]:
    """Take the steps, and look after each pause; yields what each look has shown."""
    for what, which in steps:
        if what in {"write", "begin"}:
            instrument.write(which, FULL_BYTES if what == "write" else 3)
        elif what == "delete":
            instrument.delete(which)
        elif what == "index":
            instrument.write_index()
        elif what == "away":
            instrument.history = instrument.history.interrupted()
        else:
            instrument.now += min(float(which or 5), longest_pause)
            yield instrument.look()


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=60))
def test_no_interleaving_is_complete_before_the_last_file_of_its_index(steps: list[tuple[str, str]]) -> None:
    """Given an index that is written once, at any time, and pauses of any length."""
    instrument = Instrument((IMAGES,), says_end=False)
    for state in play(instrument, steps, longest_pause=float("inf")):
        assert state is not State.COMPLETE or instrument.is_whole


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=60))
def test_an_index_that_grows_is_complete_at_its_end_when_the_instrument_says_so(steps: list[tuple[str, str]]) -> None:
    """Given a time-lapse whose index lists more and more, with pauses of any length and an end mark."""
    instrument = Instrument((IMAGES[:1], IMAGES[:3], IMAGES), says_end=True)
    for state in play(instrument, steps, longest_pause=float("inf")):
        assert state is not State.COMPLETE or instrument.is_whole


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*IMAGES, "index", "begin"]), max_size=30), st.lists(st.floats(0, 59), min_size=30))
def test_an_index_that_grows_without_an_end_mark_needs_a_settle_time_above_its_pauses(
    steps: list[str], pauses: list[float]
) -> None:
    """Given an instrument that pauses less than the settle time between any two things that it writes."""
    instrument = Instrument((IMAGES[:1], IMAGES[:3], IMAGES), says_end=False)
    for step, pause in zip(steps, pauses, strict=False):
        before = instrument.changes
        if step == "index":
            instrument.write_index()
        else:
            instrument.write(step if step in IMAGES else IMAGES[0], FULL_BYTES if step in IMAGES else 3)
        for part in (pause / 2, pause / 2):
            instrument.now += part
            state = instrument.look()
            assert state is not State.COMPLETE or instrument.is_whole or before == instrument.changes


@settings(max_examples=100, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_what_is_finished_is_complete_in_the_end(steps: list[tuple[str, str]]) -> None:
    """Given any beginning, when all is written and nothing changes any more, then it is complete after all."""
    instrument = Instrument((IMAGES[:2], IMAGES), says_end=True)
    for _ in play(instrument, steps, longest_pause=float("inf")):
        pass
    for path in IMAGES:
        instrument.write(path, FULL_BYTES)
    while not instrument.is_last:
        instrument.write_index()
    states = []
    for _ in range(4):
        instrument.now += 40
        states.append(instrument.look())
    assert states[-1] is State.COMPLETE

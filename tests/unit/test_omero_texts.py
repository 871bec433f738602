"""What leaves the worker as text holds no secret and has an end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleet_worker.omero.redact import MAX_TAIL, redact, sentence, tail, trace


@given(st.uuids(), st.booleans(), st.text(max_size=20))
def test_no_uuid_survives(uuid: object, upper: bool, around: str) -> None:  # noqa: FBT001  drawn by hypothesis
    """A session's uuid is as good as a password, in either case."""
    text = str(uuid).upper() if upper else str(uuid)
    assert text not in redact(f"{around} '{text}' {around}")


def test_passwords_go_and_the_words_around_them_stay() -> None:
    """``Password check failed`` is an error text, not a password."""
    assert (
        redact("omero.pass=geheim password: x; Password check failed")
        == "omero.pass=*** password: *** Password check failed"
    )


@given(st.text(max_size=3000))
def test_a_sentence_is_one_line_of_bounded_length(text: str) -> None:
    """It goes into events and logs."""
    assert len(sentence(text)) <= 600
    assert len(sentence(text).splitlines()) <= 1


def test_a_tail_keeps_the_end_in_whole_lines() -> None:
    """The cause stands at the end of a log."""
    log = "".join(f"line {number}\n" for number in range(2000))
    kept = tail(log)
    assert len(kept) <= MAX_TAIL
    assert kept.startswith("line ")
    assert kept.endswith("line 1999")
    assert tail("x" * 5000) == "x" * MAX_TAIL


def test_a_trace_keeps_what_failed_and_what_caused_it() -> None:
    """The server's own frames below the reader are many and the same each time."""
    frames = "".join(f"\tat ome.services.Frame{number}.run(Frame.java:1)\n" for number in range(300))
    kept = trace(f"java.lang.Outer: no\n\tat loci.formats.in.SomeReader.initFile(S.java:1)\n{frames}Caused by: inner\n")
    assert kept.startswith("java.lang.Outer: no\n\tat loci.formats.in.SomeReader")
    assert kept.endswith("Caused by: inner")
    assert len(kept.splitlines()) == 22

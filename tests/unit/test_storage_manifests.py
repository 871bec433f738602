"""The manifest's digest and summary."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import Permanent, Reason, Transient
from fleet_common.storage import ManifestEntry, ManifestSummary, digest, entries_of, summarise

NAMES = st.text(st.characters(codec="utf-8", min_codepoint=32), min_size=1, max_size=20)
ENTRIES = st.dictionaries(NAMES, st.integers(0, 2**50), max_size=8).map(
    lambda sizes: [ManifestEntry(path, size) for path, size in sizes.items()]
)


def test_the_digest_is_over_the_documented_bytes() -> None:
    """The format is fixed for ever: requests and annotations in OMERO carry it."""
    entries = [ManifestEntry("plate/b.tif", 20), ManifestEntry("plate/ä.tif", 3), ManifestEntry("plate/a.tif", 1)]
    written = b"plate/a.tif\x001\nplate/b.tif\x0020\nplate/\xc3\xa4.tif\x003\n"
    assert digest(entries) == hashlib.sha256(written).hexdigest()
    assert digest(entries) == "18634f8ff4b25e9e67c6410d1f3a66750363cf72f25b7adb188b60aff6e494ef"


@given(ENTRIES, st.randoms())
def test_the_order_does_not_matter(entries: list[ManifestEntry], random: object) -> None:
    """Two hosts list a folder in different orders."""
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis draws a random.Random
    assert digest(shuffled) == digest(entries)


@given(ENTRIES, ENTRIES)
def test_different_manifests_have_different_digests(one: list[ManifestEntry], other: list[ManifestEntry]) -> None:
    """A file more, less, renamed, or of another size shows."""
    assert (digest(one) == digest(other)) == (sorted(one) == sorted(other))


def test_a_size_cannot_pass_for_a_part_of_a_path() -> None:
    """The separators occur in no path."""
    assert digest([ManifestEntry("a1", 2)]) != digest([ManifestEntry("a", 12)])


def test_a_summary_counts_files_and_bytes() -> None:
    """What a request carries."""
    entries = [ManifestEntry("a", 1), ManifestEntry("b", 2)]
    assert summarise(entries) == ManifestSummary(2, 3, digest(entries))


def test_a_file_listed_twice_is_refused() -> None:
    """It would be uploaded twice under one name."""
    with pytest.raises(Permanent, match="names 'b' twice") as caught:
        summarise([ManifestEntry("a", 1), ManifestEntry("b", 2), ManifestEntry("b", 2)])
    assert caught.value.reason is Reason.FORMAT_BROKEN


def test_files_are_paired_with_their_sizes_in_order() -> None:
    """The entry file stays first."""
    assert entries_of(["b", "a"], {"a": 1, "b": 2, "c": 3}) == (ManifestEntry("b", 2), ManifestEntry("a", 1))


def test_a_file_without_a_size_is_not_yet_visible_here() -> None:
    """Worth another try: the mount of a worker can be behind."""
    with pytest.raises(Transient, match="2 of 3 files are not there, the first is 'b'") as caught:
        entries_of(["a", "b", "c"], {"a": 1})
    assert caught.value.reason is Reason.MANIFEST_DIFFERS

"""Relative paths: the one check and the one join."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet_common.errors import Permanent, Reason
from fleet_common.storage import check_relative, join

COMPONENT = st.text(st.characters(categories=("L", "N"), include_characters=" -_.#"), min_size=1, max_size=20).filter(
    lambda name: (
        name not in (".", "..") and name.upper().split(".")[0] not in {"AUX", "CON", "NUL", "PRN", "COM1", "LPT1"}
    )
)
ANY_PATH = st.text(st.sampled_from("ab./\\:\0 \n~$"), max_size=12)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("\\\\nas\\hcs", "absolute"),
        ("C:/data", "drive letter"),
        ("c:data", "drive letter"),
        ("a\\b", "backslash"),
        ("..", ".."),
        ("a/../b", ".."),
        ("a/..", ".."),
        (".", "lone dot"),
        ("./a", "lone dot"),
        ("a//b", "empty component"),
        ("a/", "empty component"),
        ("a/" * 3000 + "b", "longer than 4096"),
    ],
)
def test_an_unsafe_path_is_refused_with_its_reason(path: str, why: str) -> None:
    """Nothing but a plain relative path passes."""
    with pytest.raises(Permanent) as caught:
        check_relative(path)
    assert caught.value.reason is Reason.UNSAFE_PATH
    assert why in str(caught.value)


@pytest.mark.parametrize("path", ["a\0b", "a/b\nc", "plate/x:y.tif", "a/NUL"])
def test_a_component_that_omero_refuses_is_refused_by_name(path: str) -> None:
    """Names are OMERO's business, and its rule is named."""
    with pytest.raises(Permanent) as caught:
        check_relative(path)
    assert caught.value.reason is Reason.NAME_REFUSED


@given(st.lists(COMPONENT, min_size=1, max_size=6))
def test_a_path_of_good_names_is_kept_as_it_is(components: list[str]) -> None:
    """Checking changes nothing, not even what pathlib would tidy up."""
    path = "/".join(components)
    assert str(check_relative(path)) == path


@given(ANY_PATH)
@example("a/..b/c")
@example("...")
def test_what_passes_stays_below_its_folder(path: str) -> None:
    """No accepted text leads out of the share or names anything twice."""
    try:
        checked = check_relative(path)
    except Permanent:
        return
    assert not checked.is_absolute()
    assert ".." not in checked.parts
    assert str(checked) == path


@given(ANY_PATH)
@example("http://host/a.tiff")
@example("file:a.tiff")
@example("//host/a.tiff")
def test_a_joined_reference_stays_below_its_base(reference: str) -> None:
    """What an index refers to lies below the index."""
    base = PurePosixPath("plate/Images")
    try:
        joined = join(base, reference)
    except Permanent:
        return
    assert joined.is_relative_to(base)
    assert joined != base


@pytest.mark.parametrize("reference", ["http://host/a.tiff", "https://x", "file:///etc/passwd", "D:\\a.tiff", "s3:x"])
def test_a_url_in_an_index_is_refused(reference: str) -> None:
    """Nothing is fetched over a network, and no drive is entered."""
    with pytest.raises(Permanent, match="URL or a drive") as caught:
        join(PurePosixPath("plate"), reference)
    assert caught.value.reason is Reason.UNSAFE_PATH


@pytest.mark.parametrize("reference", ["../a.tiff", "/a.tiff", "sub\\a.tiff", "a/../../b", ""])
def test_a_reference_out_of_its_folder_is_refused(reference: str) -> None:
    """The join is as strict as the check."""
    with pytest.raises(Permanent) as caught:
        join(PurePosixPath("plate"), reference)
    assert caught.value.reason is Reason.UNSAFE_PATH


def test_a_reference_into_a_folder_below_is_joined() -> None:
    """Some exports keep each well in a folder."""
    assert join(PurePosixPath("plate"), "r01c01/a.tiff") == PurePosixPath("plate/r01c01/a.tiff")
    assert join(PurePosixPath(), "a.tiff") == PurePosixPath("a.tiff")

"""OMERO's path rules, one component at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import Permanent, Reason
from fleet_common.names import check_component, printable

# What OMERO's importer would write instead, from its tables; kept here in another form than in the code.
SUBSTITUTES = {'"': "'", "*": "x", "/": "!", ":": ";", "<": "[", ">": "]", "?": "%", "\\": "!", "|": "!"}
DEVICES = ["AUX", "CLOCK$", "CON", "NUL", "PRN", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))]


def sanitised(name: str) -> str:
    """What OMERO's importer makes of a name."""
    upper = name.upper()
    if upper in DEVICES:
        name += "_"
    if any(upper.startswith(f"{device}.") for device in DEVICES) or upper.startswith("$"):
        name = f"_{name}"
    return "".join("_" if ord(c) < 32 or 127 <= ord(c) <= 159 else SUBSTITUTES.get(c, c) for c in name)


@pytest.mark.parametrize(
    "name",
    [
        "r01c01f01p01-ch1sk1fk1fl1.tiff",
        "Plätte 1 #2",
        "\N{FULLWIDTH LATIN CAPITAL LETTER A}",
        "COM10",
        "CONSOLE",
        "a.con",
        "com0.tif",
        "a$",
        "-leading",
        ".hidden",
        "trailing.",
        "x" * 255,
    ],
)
def test_a_name_that_omero_keeps_is_accepted(name: str) -> None:
    """Umlauts, spaces, full-width letters and everything that only looks like a device."""
    check_component(name)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a:b", "holds :"),
        ('a"b', 'holds "'),
        ("what?", "holds ?"),
        ("a\\b", "holds \\"),
        ("a/b", "holds /"),
        ("con", "Windows device"),
        ("Com1.tif", "Windows device"),
        ("clock$", "Windows device"),
        ("$MFT", "begins with $"),
        ("a\nb", "U+000A"),
        ("a\x00b", "U+0000"),
        ("a\x9fb", "U+009F"),
        ("a\udcffb", "not valid Unicode"),
        ("x" * 256, "longer than 255 bytes"),
        ("ü" * 128, "longer than 255 bytes"),
    ],
)
def test_a_name_that_omero_would_rewrite_is_refused_by_name_and_rule(name: str, rule: str) -> None:
    """The error says which component and which rule, on one printable line."""
    with pytest.raises(Permanent, match="OMERO cannot keep the name") as caught:
        check_component(name)
    assert caught.value.reason is Reason.NAME_REFUSED
    assert rule in str(caught.value)
    assert printable(name) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_is_no_name_is_an_unsafe_path(name: str) -> None:
    """Nothing, the folder itself and its parent are no names."""
    with pytest.raises(Permanent) as caught:
        check_component(name)
    assert caught.value.reason is Reason.UNSAFE_PATH


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
def test_exactly_the_names_that_the_importer_keeps_are_accepted(name: str) -> None:
    """Accepted is the same as unchanged by OMERO's own transformation."""
    kept = sanitised(name) == name and name not in (".", "..")
    try:
        check_component(name)
    except Permanent:
        assert not kept
    else:
        assert kept


@given(st.sampled_from(DEVICES), st.sampled_from(["", ".", ".tif"]), st.booleans())
def test_every_device_name_is_refused_in_any_case(device: str, ending: str, lower: bool) -> None:  # noqa: FBT001  drawn by hypothesis
    """Windows does not tell letter case apart, and OMERO neither."""
    with pytest.raises(Permanent, match="Windows device"):
        check_component((device.lower() if lower else device) + ending)


@given(st.text(max_size=1000))
def test_a_quoted_text_is_one_bounded_printable_line(text: str) -> None:
    """Whatever a message or an index holds can be shown in an error."""
    shown = printable(text, 50)
    assert shown.isprintable()
    assert "\n" not in shown
    assert len(shown) <= 10 * 53 + 2

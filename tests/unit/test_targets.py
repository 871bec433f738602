"""OMERO's grammar of import targets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.targets import Choice, Container, Kind, Target, parse_target

ACCEPTED = [
    ("Dataset:id:5", Container(Kind.DATASET, Choice.ID, "5")),
    ("Dataset:5", Container(Kind.DATASET, Choice.ID, "5")),
    ("Screen:id:999999999999999999", Container(Kind.SCREEN, Choice.ID, "999999999999999999")),
    ("Screen:name:X", Container(Kind.SCREEN, Choice.NEWEST, "X")),
    ("Screen:+name:X", Container(Kind.SCREEN, Choice.NEWEST, "X")),
    ("Screen:-name:X", Container(Kind.SCREEN, Choice.OLDEST, "X")),
    ("Dataset:%name:X", Container(Kind.DATASET, Choice.UNIQUE, "X")),
    ("Dataset:@name:X", Container(Kind.DATASET, Choice.NEW, "X")),
    ("Dataset:name:a:b/c", Container(Kind.DATASET, Choice.NEWEST, "a:b/c")),
    ("Dataset:name:id:5", Container(Kind.DATASET, Choice.NEWEST, "id:5")),
    ("Screen:+name:Größe µ", Container(Kind.SCREEN, Choice.NEWEST, "Größe µ")),
    ("Screen:name:" + "x" * 255, Container(Kind.SCREEN, Choice.NEWEST, "x" * 255)),
    ("Screen:name:/Dataset:name:X", Container(Kind.SCREEN, Choice.NEWEST, "/Dataset:name:X")),
]


@pytest.mark.parametrize(("text", "container"), ACCEPTED, ids=[row[0][:30] for row in ACCEPTED])
def test_a_target_is_read_as_omero_reads_it(text: str, container: Container) -> None:
    """Kind, choice and value."""
    assert parse_target(text) == Target(container)


@pytest.mark.parametrize(
    ("text", "project", "dataset"),
    [
        ("Project:name:P/Dataset:name:D", (Choice.NEWEST, "P"), (Choice.NEWEST, "D")),
        ("Project:id:3/Dataset:@name:D", (Choice.ID, "3"), (Choice.NEW, "D")),
        ("Project:%name:a/b/Dataset:id:4", (Choice.UNIQUE, "a/b"), (Choice.ID, "4")),
    ],
)
def test_a_dataset_may_lie_in_a_project(text: str, project: tuple[Choice, str], dataset: tuple[Choice, str]) -> None:
    """The images go into the Dataset."""
    expected = Target(Container(Kind.DATASET, *dataset), Container(Kind.PROJECT, *project))
    assert parse_target(text) == expected
    assert parse_target(text).kind is Kind.DATASET


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no target"),
        ("Dataset", "is no target"),
        ("Dataset:", "is no target"),
        ("dataset:id:5", "is no target"),
        ("Image:id:5", "is no target"),
        ("regex:.*", "is no target"),
        ("Well:id:1", "is no target"),
        (" Dataset:id:5", "is no target"),
        ("Dataset:id:0", "is no id of a Dataset"),
        ("Dataset:id:-1", "is no id of a Dataset"),
        ("Dataset:id:05", "is no id of a Dataset"),
        ("Dataset:id:5 ", "is no id of a Dataset"),
        ("Dataset:id:five", "is no id of a Dataset"),
        ("Dataset:id:\u0665", "is no id of a Dataset"),
        ("Dataset:id:" + "9" * 19, "is no id of a Dataset"),
        ("Screen:X", "is no id of a Screen"),
        ("Screen:name:", "is no id of a Screen"),
        ("Screen:!name:X", "is no id of a Screen"),
        ("Screen:name: ", "1 to 255 printable characters"),
        ("Screen:name:a\nb", "1 to 255 printable characters"),
        ("Screen:name:a\0b", "1 to 255 printable characters"),
        ("Screen:name:" + "x" * 256, "1 to 255 printable characters"),
        ("Project:name:P", "a Project cannot hold images"),
        ("Project:id:5", "a Project cannot hold images"),
        ("Project:name:P/Screen:name:S", "a Project cannot hold images"),
        ("Project:name:P/Dataset:", "is no target"),
        ("Project:id:0/Dataset:name:D", "is no id of a Project"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(text: str, says: str) -> None:
    """The sentence goes to whoever typed it."""
    with pytest.raises(ValueError, match=says):
        parse_target(text)


def test_the_refusal_shows_the_accepted_forms() -> None:
    """Nobody should need the manual for a typing error."""
    with pytest.raises(
        ValueError, match="write Dataset:id:5, Screen:\\+name:NAME or Project:name:NAME/Dataset:name:NAME"
    ):
        parse_target("Datset:id:5")


def test_an_id_is_a_number() -> None:
    """As OMERO wants it."""
    assert parse_target("Dataset:id:51").container.id == 51


@given(st.text(max_size=60) | st.text("DatasetScreenProjectidname:+-%@/15 ", max_size=40))
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    """A request's target comes from outside."""
    try:
        target = parse_target(text)
    except ValueError:
        return
    assert target.kind in {Kind.DATASET, Kind.SCREEN}
    assert target.container.value in text

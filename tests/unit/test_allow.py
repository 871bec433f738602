"""The allow-list of a lane: what a request may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_common.errors import Permanent, Reason
from fleet_common.messages import Owner
from fleet_common.settings import LaneRule
from fleet_worker.allow import check_allowed
from support.builders import a_request, a_source

RULE = LaneRule(
    shares={"hcs": ("phenix1/",)}, users=("alice", "guest-?"), groups=("screening",), targets=("Dataset:*",)
)


def allowed(rule: LaneRule = RULE, lane: str = "phenix1", **changes: Any) -> bool:
    """Whether the request passes; a refusal for another reason does not count as one."""
    try:
        check_allowed(a_request(**changes), lane, {"phenix1": rule})
    except Permanent as error:
        return error.reason is not Reason.NOT_ALLOWED
    return True


def rule(**changes: Any) -> LaneRule:
    """The usual allow-list with some fields changed."""
    return RULE.model_copy(update=changes)


def test_what_the_list_names_is_allowed() -> None:
    """Nothing is refused by accident."""
    assert allowed()


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        ("phenix1", "phenix1/cell.tif", True),
        ("phenix1/", "phenix1/cell.tif", True),
        ("/phenix1/", "phenix1/cell.tif", True),
        ("phenix1/", "phenix10/cell.tif", False),
        ("phenix1", "phenix10/cell.tif", False),
        ("phenix1", "phenix1.tif", False),
        ("phenix1", "phenix1", True),
        ("phenix1", "phenix", False),
        ("phenix1", "Phenix1/cell.tif", False),
        ("phenix1", "archive/phenix1/cell.tif", False),
        ("phenix1/2026", "phenix1/2026/cell.tif", True),
        ("phenix1/2026", "phenix1/20261/cell.tif", False),
        ("phenix1/2026", "phenix1/cell.tif", False),
        ("", "anything/cell.tif", True),
        ("/", "anything/cell.tif", True),
        ("*", "anything/cell.tif", False),
        (".", "anything/cell.tif", False),
    ],
)
def test_a_prefix_allows_whole_folders_only(prefix: str, path: str, *, expected: bool) -> None:
    """The folder phenix1 is not the folder phenix10, and a prefix has no wildcards."""
    assert allowed(rule(shares={"hcs": (prefix,)}), source=a_source(path=path)) is expected


@pytest.mark.parametrize(
    ("prefixes", "expected"), [((), False), (("other", "phenix1"), True), (("other", "another"), False)]
)
def test_any_of_several_prefixes_is_enough(prefixes: tuple[str, ...], *, expected: bool) -> None:
    """And none allows nothing."""
    assert allowed(rule(shares={"hcs": prefixes})) is expected


def test_a_share_that_is_not_listed_is_refused() -> None:
    """Even with the same path."""
    assert not allowed(source=a_source(share="archive"))


@pytest.mark.parametrize(
    ("patterns", "value", "expected"),
    [
        (("alice",), "alice", True),
        (("alice",), "alice2", False),
        (("alice",), "Alice", False),
        (("alice",), "bob", False),
        (("bob", "alice"), "alice", True),
        ((), "alice", False),
        (("*",), "anybody", True),
        (("guest-?",), "guest-1", True),
        (("guest-?",), "guest-12", False),
        (("a*e",), "alice", True),
        (("[ab]*",), "alice", False),
        (("lab [x]",), "lab [x]", True),
        (("lab [x]",), "lab x", False),
    ],
)
@pytest.mark.parametrize("what", ["user", "group"])
def test_users_and_groups_are_matched_with_stars_and_question_marks(
    what: str, patterns: tuple[str, ...], value: str, *, expected: bool
) -> None:
    """Letter case counts, brackets are plain, and an empty list names nobody."""
    owner = Owner(user="alice", group="screening").model_copy(update={what: value})
    assert allowed(rule(**{f"{what}s": patterns}), owner=owner) is expected


@pytest.mark.parametrize(
    ("patterns", "target", "expected"),
    [
        (("*",), "Screen:+name:X", True),
        (("Screen:*",), "Screen:+name:X", True),
        (("Screen:*",), "Dataset:id:5", False),
        (("Dataset:*",), "Project:name:P/Dataset:name:D", False),
        (("Dataset:id:5",), "Dataset:id:5", True),
        (("Dataset:id:5",), "Dataset:id:51", False),
        ((), "Dataset:id:5", False),
    ],
)
def test_targets_are_matched_as_they_are_written(patterns: tuple[str, ...], target: str, *, expected: bool) -> None:
    """In OMERO's grammar."""
    assert allowed(rule(targets=patterns), target=target) is expected


@pytest.mark.parametrize(("says", "came_through"), [("phenix1", "cv8000"), ("cv8000", "phenix1"), ("cv8000", "cv8000")])
def test_the_lane_it_came_through_is_what_counts(says: str, came_through: str) -> None:
    """A request's own word for its lane opens nothing, and a lane without a list allows nothing."""
    with pytest.raises(Permanent, match=f"the request says lane '{says}' but came through lane '{came_through}'"):
        check_allowed(a_request(lane=says), came_through, {"phenix1": RULE})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": a_source(share="archive")}, "share 'archive' is not one of this lane's: 'hcs'"),
        (
            {"source": a_source(path="phenix10/x")},
            "path 'phenix10/x' is outside this lane's part of share 'hcs': 'phenix1/'",
        ),
        (
            {"owner": Owner(user="bob", group="screening")},
            "user 'bob' is not one of this lane's: 'alice', 'guest-\\?'",
        ),
        ({"owner": Owner(user="alice", group="lab")}, "group 'lab' is not one of this lane's: 'screening'"),
        ({"target": "Screen:id:5"}, "target 'Screen:id:5' is not one of this lane's: 'Dataset:\\*'"),
    ],
    ids=["share", "path", "user", "group", "target"],
)
def test_a_refusal_says_what_was_asked_and_what_would_be_allowed(changes: dict[str, Any], says: str) -> None:
    """The operator reads it in the dead letter."""
    with pytest.raises(Permanent, match=f"^not allowed: {says}$"):
        check_allowed(a_request(**changes), "phenix1", {"phenix1": RULE})


def test_an_empty_list_says_that_none_is_allowed() -> None:
    """Not just nothing after a colon."""
    with pytest.raises(Permanent, match="user 'alice' is not one of this lane's: none is"):
        check_allowed(a_request(), "phenix1", {"phenix1": rule(users=())})

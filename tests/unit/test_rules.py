"""From a plate to lane, owner, group and target: the first rule that matches, filled in, or a reason to park."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_common.messages import Priority
from fleet_common.targets import parse_target
from fleet_common.watching import PlateRule
from fleet_producer.watch.rules import Facts, Parked, Route, ignoring, route

FACTS = Facts("hcs/phenix1/P1", plate="P1", barcode="ABC-001", operator="LAB\\alice", instrument="Phenix 1")
GIVEN = {"user": "bob", "group": "screening", "target": "Screen:+name:X"}


def rule(**changes: Any) -> PlateRule:
    return PlateRule(**(GIVEN | changes))


def routed(*rules: PlateRule, facts: Facts = FACTS, people: dict[str, str] | None = None) -> Route:
    return route(facts, rules, people or {})


def parked(*rules: PlateRule, facts: Facts = FACTS) -> Parked:
    with pytest.raises(Parked) as caught:
        routed(*rules, facts=facts)
    assert caught.value.next_action
    return caught.value


def test_a_rule_without_patterns_takes_everything() -> None:
    assert routed(rule(lane="phenix1", priority=Priority.BULK)) == Route(
        "1", lane="phenix1", user="bob", group="screening", target="Screen:+name:X", priority=Priority.BULK
    )


@pytest.mark.parametrize(
    ("patterns", "matches"),
    [
        ({"folder": "hcs/phenix1/.*"}, True),
        ({"folder": "hcs/phenix1"}, False),
        ({"barcode": "ABC-[0-9]+"}, True),
        ({"barcode": "ABC"}, False),
        ({"operator": r"LAB\\.*"}, True),
        ({"instrument": "Phenix [12]"}, True),
        ({"barcode": "ABC-.*", "instrument": "Operetta"}, False),
    ],
)
def test_all_patterns_of_a_rule_must_match_the_whole_text(patterns: dict[str, str], matches: bool) -> None:  # noqa: FBT001  a column of the table
    chosen = routed(rule(name="special", **patterns), rule(name="other"))
    assert chosen.rule == ("special" if matches else "other")


def test_the_first_rule_that_matches_decides() -> None:
    assert routed(rule(name="a"), rule(name="b")).rule == "a"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("Screen:+name:{project}", "Screen:+name:ABC"),
        ("Screen:+name:{project} {plate} {instrument}", "Screen:+name:ABC P1 Phenix 1"),
        ("Project:name:{project}/Dataset:name:{barcode}", "Project:name:ABC/Dataset:name:ABC-001"),
        ("Screen:id:5", "Screen:id:5"),
    ],
)
def test_names_in_a_target_are_filled_in(target: str, expected: str) -> None:
    assert routed(rule(barcode="(?P<project>[A-Z]+)-.*", target=target)).target == expected


def test_the_folder_can_name_owner_group_and_lane() -> None:
    chosen = routed(
        rule(folder="hcs/(?P<lane>[^/]+)/(?P<group>[^/]+)", user="{group}-user", group="{group}", lane="{lane}")
    )
    assert (chosen.lane, chosen.user, chosen.group) == ("phenix1", "P1-user", "P1")


def test_the_operator_becomes_a_user_of_omero() -> None:
    assert routed(PlateRule(group="g", target="Screen:id:1"), people={"LAB\\alice": "alice"}).user == "alice"


def test_an_operator_whom_nobody_knows_parks() -> None:
    error = parked(PlateRule(group="g", target="Screen:id:1"))
    assert "alice" in str(error)
    assert "watch.people" in error.next_action


def test_a_plate_without_an_operator_parks() -> None:
    assert "{user}" in str(parked(PlateRule(group="g", target="Screen:id:1"), facts=replace(FACTS, operator="")))


def test_no_rule_parks_with_all_that_is_known() -> None:
    error = parked(rule(barcode="nothing"))
    for word in ("hcs/phenix1/P1", "ABC-001", "alice", "Phenix 1"):
        assert word in str(error)


@pytest.mark.parametrize("missing", ["group", "target", "user"])
def test_a_rule_that_lacks_something_parks(missing: str) -> None:
    assert f"has no {missing}" in str(parked(rule(**{missing: ""})))


def test_a_name_that_the_plate_does_not_have_parks() -> None:
    error = parked(rule(target="Screen:+name:{project}"))
    assert "{project}" in str(error)
    assert "project" in error.next_action


def test_a_target_that_is_none_parks() -> None:
    assert "makes no target" in str(parked(rule(target="Nowhere:{plate}")))


def test_a_rule_may_ignore() -> None:
    assert routed(PlateRule(barcode="ABC.*", ignore=True, name="trash")) == Route("trash", ignore=True)


def test_a_name_adds_no_step_to_a_target() -> None:
    """Given a barcode that looks like the end of a target, then it is parked instead of imported elsewhere."""
    facts = replace(FACTS, barcode="x/Dataset:id:1")
    parked(rule(target="Project:name:{barcode}"), facts=facts)
    parked(rule(target="Project:name:{barcode}/Dataset:name:y"), facts=facts)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_whatever_an_instrument_says_stays_inside_its_step(text: str) -> None:
    """Given any barcode, then the target is the rule's Screen of that name, or the plate is parked."""
    try:
        chosen = routed(rule(target="Screen:+name:{barcode}"), facts=replace(FACTS, barcode=text))
    except Parked:
        return
    target = parse_target(chosen.target)
    assert (target.kind, target.container.choice, target.container.value) == ("Screen", "+name", text.strip())


@pytest.mark.parametrize("pattern", ["(", "[a-", "(?P<1>x)"])
def test_a_pattern_that_is_none_is_refused_with_the_settings(pattern: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="regular expression"):
        PlateRule(barcode=pattern)


UNREAD = Facts("hcs/phenix1/notes", plate="notes", instrument="Phenix 1")
IGNORES = PlateRule(folder=".*/notes", ignore=True, name="notes")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), ""),
        ((IGNORES,), "notes"),
        ((rule(), IGNORES), ""),
        ((rule(folder="other/.*"), IGNORES), "notes"),
        ((rule(barcode="ABC.*"), IGNORES), ""),
        ((rule(barcode="ABC.*", folder="other/.*"), IGNORES), "notes"),
        ((PlateRule(barcode="TEST.*", ignore=True), IGNORES), "notes"),
        ((PlateRule(barcode=".*", ignore=True),), ""),
        ((rule(folder="other/.*"), PlateRule(ignore=True)), "2"),
    ],
)
def test_a_plate_that_nobody_could_read_is_ignored_when_no_rule_may_import_it(
    rules: tuple[PlateRule, ...], expected: str
) -> None:
    assert ignoring(UNREAD, rules, frozenset({"barcode", "operator"})) == expected


def test_of_a_plate_that_was_read_the_first_rule_that_matches_decides() -> None:
    assert ignoring(FACTS, (PlateRule(barcode="ABC.*", ignore=True),)) == "1"
    assert ignoring(FACTS, (rule(barcode="XYZ.*"), PlateRule(ignore=True))) == "2"
    assert ignoring(FACTS, (rule(barcode="ABC.*"), PlateRule(ignore=True))) == ""

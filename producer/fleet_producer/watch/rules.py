"""From what is known of a plate to lane, owner, group and target: the first rule that matches decides. Pure functions.

A rule is an administrator's, what is put into it comes from an instrument: a name in a template stands for itself only
and never adds a step to a target.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from fleet_common.errors import FleetError
from fleet_common.messages import Priority
from fleet_common.names import printable
from fleet_common.targets import parse_target
from fleet_common.watching import PlateRule

_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PATTERNS: Final = ("folder", "barcode", "operator", "instrument")


class Parked(FleetError):
    """A complete plate cannot be published yet.

    Attributes:
        next_action: What a person should do.
    """

    def __init__(self, message: str, next_action: str) -> None:
        super().__init__(message)
        self.next_action = next_action


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules can ask of a plate; empty where nobody knows.

    Attributes:
        folder: ``share/path``.
        plate: Its name.
        barcode: Its own id.
        operator: Who measured, as the instrument knows the person.
        instrument: What measured.
    """

    folder: str
    plate: str = ""
    barcode: str = ""
    operator: str = ""
    instrument: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """What a rule makes of a plate.

    Attributes:
        rule: Its name or number.
        ignore: Whether the plate is not imported; then the rest says nothing.
    """

    rule: str
    ignore: bool = False
    lane: str = ""
    user: str = ""
    group: str = ""
    target: str = ""
    priority: Priority = Priority.NORMAL


def route(facts: Facts, rules: Sequence[PlateRule], people: Mapping[str, str]) -> Route:
    """Find the rule for a plate and fill it in.

    Args:
        facts: Of the plate.
        rules: In their order.
        people: OMERO users by login on the instruments.

    Raises:
        Parked: No rule matches, or the one that does cannot be filled in.
    """
    for number, rule in enumerate(rules, start=1):
        found = _matched(rule, facts)
        if found is not None:
            name = rule.name or str(number)
            return Route(name, ignore=True) if rule.ignore else _filled(rule, name, facts, found, people)
    raise Parked(
        f"no rule matches the folder {printable(facts.folder)}, barcode {printable(facts.barcode)}, operator "
        f"{printable(facts.operator)}, instrument {printable(facts.instrument)}",
        "Add a rule to watch.rules that says who owns such plates and where they go, then restart the watch.",
    )


def ignoring(facts: Facts, rules: Sequence[PlateRule], unknown: AbstractSet[str] = frozenset()) -> str:
    """The name or number of the rule that ignores a plate; empty when none does, or when that cannot be said yet.

    Args:
        facts: Of the plate.
        rules: In their order.
        unknown: What an index would say and nobody has read; a rule that asks for it may match or not, so after one
            that would import the plate no rule ignores it.
    """
    for number, rule in enumerate(rules, start=1):
        asks = any(getattr(rule, field) is not None for field in unknown)
        if _matched(rule.model_copy(update=dict.fromkeys(unknown)), facts) is None or (asks and rule.ignore):
            continue
        return (rule.name or str(number)) if rule.ignore else ""
    return ""


def _matched(rule: PlateRule, facts: Facts) -> dict[str, str] | None:
    """The named groups of all patterns; None when one does not match."""
    names: dict[str, str] = {}
    for field in _PATTERNS:
        pattern = getattr(rule, field)
        if pattern is None:
            continue
        found = re.fullmatch(pattern, getattr(facts, field))
        if found is None:
            return None
        names |= {name: text for name, text in found.groupdict().items() if text is not None}
    return names


def _filled(rule: PlateRule, name: str, facts: Facts, found: Mapping[str, str], people: Mapping[str, str]) -> Route:
    known = {
        "plate": facts.plate,
        "barcode": facts.barcode,
        "operator": facts.operator,
        "instrument": facts.instrument,
        "user": people.get(facts.operator, ""),
        **found,
    }
    filler = _Filler(name, facts, known)
    return Route(
        rule=name,
        lane=filler.fill("lane", rule.lane, required=False),
        user=filler.fill("user", rule.user),
        group=filler.fill("group", rule.group),
        target=filler.target(rule.target),
        priority=rule.priority,
    )


@dataclass(frozen=True, slots=True)
class _Filler:
    """Fills the templates of one rule."""

    rule: str
    facts: Facts
    known: Mapping[str, str]

    def fill(self, field: str, template: str, *, required: bool = True) -> str:
        """The template with its names replaced."""
        if required and not template:
            raise self._parked(f"has no {field}", f"Give the rule a {field}, then restart the watch.")
        return _PLACE.sub(lambda place: self._value(field, place[1]), template)

    def target(self, template: str) -> str:
        """A target, of the same steps as its template."""
        text = self.fill("target", template)
        try:
            parse_target(text)
        except ValueError as error:
            raise self._parked(f"makes no target: {error}", "Correct the target of the rule.") from error
        if text.count("/Dataset:") != template.count("/Dataset:"):
            raise self._parked(f"makes the target {printable(text)}", "Correct the name that holds /Dataset:.")
        return text

    def _value(self, field: str, name: str) -> str:
        value = self.known.get(name, "").strip()
        if value and value.isprintable():
            return value
        if name == "user" and self.facts.operator:
            raise self._parked(
                f"needs the OMERO user of the operator {printable(self.facts.operator)}",
                f"Add {printable(self.facts.operator)} to watch.people, then restart the watch.",
            )
        raise self._parked(
            f"needs {{{name}}} for its {field}, which this plate does not have",
            f"Give the rule a pattern with a group of the name {name}, or another {field}; or submit it by hand.",
        )

    def _parked(self, what: str, next_action: str) -> Parked:
        return Parked(f"the rule {self.rule} {what}", next_action)

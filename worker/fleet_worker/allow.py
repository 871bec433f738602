"""Who may ask for what: the allow-list of a lane, decided before OMERO is called.

A broker user speaks for its lane (``docs/explanation/topology.md``), so the lane says whose request it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from fleet_common.errors import Permanent, Reason
from fleet_common.messages import ImportRequest
from fleet_common.settings import LaneRule


def check_allowed(request: ImportRequest, lane: str, rules: Mapping[str, LaneRule]) -> None:
    """Refuse what the lane's allow-list does not name.

    Args:
        request: What is asked for.
        lane: The lane that the request was taken from; its own word for it does not count.
        rules: The allow-lists by lane.

    Raises:
        Permanent: ``not-allowed``, with what was asked and what would be allowed.
    """
    rule = rules.get(lane)
    if rule is None or request.lane != lane:
        raise _refused(f"the request says lane {request.lane!r} but came through lane {lane!r}")
    _check_source(request, rule)
    _check_name("user", request.owner.user, rule.users)
    _check_name("group", request.owner.group, rule.groups)
    _check_name("target", request.target, rule.targets)


def _check_source(request: ImportRequest, rule: LaneRule) -> None:
    share, path = request.source.share, request.source.path
    prefixes = rule.shares.get(share)
    if prefixes is None:
        raise _refused(f"share {share!r} is not one of this lane's: {_listed(rule.shares)}")
    if not any(_inside(path, prefix) for prefix in prefixes):
        raise _refused(f"path {path!r} is outside this lane's part of share {share!r}: {_listed(prefixes)}")


def _inside(path: str, prefix: str) -> bool:
    # Whole components only: "phenix1" must not allow "phenix10/plate".
    folder = prefix.strip("/")
    return not folder or path == folder or path.startswith(f"{folder}/")


def _check_name(what: str, value: str, patterns: tuple[str, ...]) -> None:
    # Only * and ? are wildcards: the name of a group may hold brackets.
    if not any(fnmatchcase(value, pattern.replace("[", "[[]")) for pattern in patterns):
        raise _refused(f"{what} {value!r} is not one of this lane's: {_listed(patterns)}")


def _listed(allowed: Mapping[str, object] | tuple[str, ...]) -> str:
    return ", ".join(map(repr, allowed)) or "none is"


def _refused(text: str) -> Permanent:
    return Permanent(Reason.NOT_ALLOWED, f"not allowed: {text}")

"""Whether somebody may own an import. Reads only; safe in any thread."""

from __future__ import annotations

from collections.abc import Mapping

from fleet_common.errors import Reason, failure
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import OwnerIds
from fleet_worker.omero.queries import rows
from fleet_worker.omero.translate import translated

_WHAT = "the check of the owner"


def check_owner(connection: Connection, user: str, group: str) -> OwnerIds:
    """The ids of an ordinary, active user and a group that the user is in.

    Administrators are refused, restricted ones too: importing as one would lend the fleet's rights to whoever submits.

    Raises:
        Permanent: ``owner-unknown``, ``group-unknown``, ``owner-not-in-group`` or ``owner-refused``.
    """
    with translated(_WHAT):
        roles = connection.roles
    user_id, named = _memberships(connection, user)
    groups = frozenset(named.values())
    if user_id in {roles.rootId, roles.guestId} or roles.systemGroupId in groups:
        raise failure(Reason.OWNER_REFUSED, f"the fleet never imports for {user!r}: it is an administrator or guest")
    group_id = named[group] if group in named else _group_id(connection, group)
    if group_id in {roles.systemGroupId, roles.userGroupId, roles.guestGroupId}:
        raise failure(Reason.OWNER_REFUSED, f"the fleet never imports into OMERO's own group {group!r}")
    if group_id not in groups:
        raise failure(Reason.OWNER_NOT_IN_GROUP, f"OMERO's user {user!r} is no member of the group {group!r}")
    if roles.userGroupId not in groups:
        raise failure(Reason.OWNER_REFUSED, f"OMERO's user {user!r} is not active and cannot log in")
    return OwnerIds(user, user_id, group, group_id)


def _memberships(connection: Connection, user: str) -> tuple[int, Mapping[str, int]]:
    """The user's id, and the ids of all the user's groups by their names: one call, for every attempt asks."""
    hql = "select e.id, g.name, g.id from Experimenter e left join e.groupExperimenterMap m left join m.parent g"
    found = rows(connection, _WHAT, f"{hql} where e.omeName = :name", {"name": user})
    if not found:
        raise failure(Reason.OWNER_UNKNOWN, f"OMERO has no user {user!r}")
    return int(found[0][0]), {str(row[1]): int(row[2]) for row in found if row[2] is not None}


def _group_id(connection: Connection, group: str) -> int:
    found = rows(connection, _WHAT, "select g.id from ExperimenterGroup g where g.name = :name", {"name": group})
    if not found:
        raise failure(Reason.GROUP_UNKNOWN, f"OMERO has no group {group!r}")
    return int(found[0][0])

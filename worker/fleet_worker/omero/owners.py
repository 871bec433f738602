"""Whether somebody may own an import. Reads only; safe in any thread."""

from __future__ import annotations

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
        roles = connection.admin.getSecurityRoles()
    user_id = _user_id(connection, user)
    groups = _groups_of(connection, user_id)
    if user_id in {roles.rootId, roles.guestId} or roles.systemGroupId in groups:
        raise failure(Reason.OWNER_REFUSED, f"the fleet never imports for {user!r}: it is an administrator or guest")
    group_id = _group_id(connection, group)
    if group_id in {roles.systemGroupId, roles.userGroupId, roles.guestGroupId}:
        raise failure(Reason.OWNER_REFUSED, f"the fleet never imports into OMERO's own group {group!r}")
    if group_id not in groups:
        raise failure(Reason.OWNER_NOT_IN_GROUP, f"OMERO's user {user!r} is no member of the group {group!r}")
    if roles.userGroupId not in groups:
        raise failure(Reason.OWNER_REFUSED, f"OMERO's user {user!r} is not active and cannot log in")
    return OwnerIds(user, user_id, group, group_id)


def _user_id(connection: Connection, user: str) -> int:
    found = rows(connection, _WHAT, "select e.id from Experimenter e where e.omeName = :name", {"name": user})
    if not found:
        raise failure(Reason.OWNER_UNKNOWN, f"OMERO has no user {user!r}")
    return int(found[0][0])


def _group_id(connection: Connection, group: str) -> int:
    found = rows(connection, _WHAT, "select g.id from ExperimenterGroup g where g.name = :name", {"name": group})
    if not found:
        raise failure(Reason.GROUP_UNKNOWN, f"OMERO has no group {group!r}")
    return int(found[0][0])


def _groups_of(connection: Connection, user_id: int) -> frozenset[int]:
    hql = "select m.parent.id from GroupExperimenterMap m where m.child.id = :id"
    return frozenset(int(row[0]) for row in rows(connection, _WHAT, hql, {"id": user_id}))

"""Who is logged in: what the service account may do, and whose an owner session really is. Safe in any thread."""

from __future__ import annotations

from typing import Any, Final

import omero
import omero.rtypes

from fleet_common.errors import Reason, failure
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import OwnerIds, ServerInfo
from fleet_worker.omero.translate import translated

CLOSE_TIMEOUT_MS: Final = 60_000
"""To close a session ends what runs in it, and may wait for that; one that takes longer ends at its idle time-out."""

_MAX_REFERENCES: Final = 50


def check_account(connection: Connection, user: str) -> None:
    """Refuse OMERO's root, and an account that cannot act for others.

    Raises:
        NeedsOperator: ``omero-login-refused``.
    """
    if connection.admin.getEventContext().userId == connection.admin.getSecurityRoles().rootId:
        raise failure(
            Reason.OMERO_LOGIN_REFUSED,
            f"the fleet refuses to run as OMERO's root ({user!r}): give it a restricted administrator with Sudo only",
        )
    if "Sudo" not in _privileges(connection):
        raise failure(
            Reason.OMERO_LOGIN_REFUSED, f"OMERO's account {user!r} cannot act for others: give it the privilege Sudo"
        )


def server_info(connection: Connection) -> ServerInfo:
    """Version, checksum algorithms, the account's privileges, and which repository it is."""
    version = str(connection.config.getVersion())
    algorithms = tuple(str(one.value.val) for one in connection.repository.listChecksumAlgorithms())
    # OMERO keeps the uuid of a repository as the hash of the row that stands for its folder.
    uuid = str(connection.repository.root().hash.val)
    return ServerInfo(version, algorithms, _privileges(connection), uuid)


def identity(connection: Connection, user: str, group: str) -> OwnerIds:
    """Who the new session really is: for an unknown group OMERO falls back to the user's default group."""
    with translated(f"the first call as {user!r} in {group!r}"):
        context: Any = connection.admin.getEventContext()
    if context.isAdmin:
        raise failure(Reason.OWNER_REFUSED, f"the fleet never imports for {user!r}: it is an administrator")
    if (context.userName, context.groupName) != (user, group):
        raise failure(
            Reason.OWNER_NOT_IN_GROUP,
            f"OMERO opened a session for {context.userName!r} in {context.groupName!r}, not for {user!r} in {group!r}",
        )
    return OwnerIds(user, context.userId, group, context.groupId)


def close_session(connection: Connection, uuid: str) -> None:
    """Take away every reference: one is left when the last client has gone, because a service made the session."""
    session = omero.model.SessionI()
    session.uuid = omero.rtypes.rstring(uuid)
    for _ in range(_MAX_REFERENCES):
        try:
            if connection.sessions.ice_invocationTimeout(CLOSE_TIMEOUT_MS).closeSession(session) <= 0:
                return
        except omero.RemovedSessionException:
            return


def _privileges(connection: Connection) -> tuple[str, ...]:
    return tuple(sorted(privilege.value.val for privilege in connection.admin.getCurrentAdminPrivileges()))

"""Creates the accounts of a facility in a running OMERO, as its ``root``.

What is already there stays as it is, but for memberships and privileges: a user is added to the groups described, and
privileges of the importer beyond Sudo are taken away. Used by ``part``; the accounts themselves are in ``accounts``. No
threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import omero.clients  # noqa: F401  omero.rtypes imported first by anybody would leave omero.model empty
from omero.model import ExperimenterGroupI, ExperimenterI, PermissionsI
from omero.rtypes import rbool, rstring

from fleet_stack.console import step
from fleet_stack.layout import Layout
from fleet_stack.omero import login
from fleet_stack.omero.accounts import FACILITY, Facility, Group, User, secret_name
from fleet_stack.secrets import secret

SUDO = "Sudo"

Password = Callable[[str], str]


def ensure(layout: Layout, facility: Facility = FACILITY) -> None:
    """Create what is missing.

    Raises:
        StackError: OMERO does not let ``root`` in.
    """
    with step("create OMERO's groups and users"), login.session(layout, "root") as factory:
        _Maker(factory, lambda user: secret(layout, secret_name(user))).make(facility)


class _Maker:
    """Strictly private: one session of OMERO's ``root``."""

    def __init__(self, factory: Any, password: Password) -> None:
        self._admin = factory.getAdminService()
        self._types = factory.getTypesService()
        self._password = password
        self._groups = {group.name.val: group.id.val for group in self._admin.lookupGroups()}
        self._users = {user.omeName.val: user.id.val for user in self._admin.lookupExperimenters()}

    def make(self, facility: Facility) -> None:
        for group in facility.groups:
            if group.name not in self._groups:
                self._groups[group.name] = self._admin.createGroup(_group(group))
        for user in facility.users:
            self._ensure_user(user)
        self._ensure_importer(facility.importer)

    def _ensure_user(self, user: User) -> None:
        default, *others = [ExperimenterGroupI(self._groups[name], loaded=False) for name in user.groups]
        if user.name in self._users:
            self._admin.addGroups(ExperimenterI(self._users[user.name], loaded=False), [default, *others])
            return
        everybody = ExperimenterGroupI(self._admin.getSecurityRoles().userGroupId, loaded=False)
        password = rstring(self._password(user.name))
        self._admin.createExperimenterWithPassword(_experimenter(user.name), password, default, [everybody, *others])

    def _ensure_importer(self, name: str) -> None:
        sudo = [found for found in self._types.allEnumerations("AdminPrivilege") if found.value.val == SUDO]
        if name in self._users:
            self._admin.setAdminPrivileges(ExperimenterI(self._users[name], loaded=False), sudo)
        else:
            password = rstring(self._password(name))
            self._admin.createRestrictedSystemUserWithPassword(_experimenter(name), sudo, password)


def _group(group: Group) -> Any:
    made = ExperimenterGroupI()
    made.name = rstring(group.name)
    made.ldap = rbool(val=False)
    made.details.permissions = PermissionsI(group.permissions)
    return made


def _experimenter(name: str) -> Any:
    made = ExperimenterI()
    made.omeName = rstring(name)
    made.firstName = rstring(name.capitalize())
    made.lastName = rstring("Example")
    made.ldap = rbool(val=False)
    return made

"""Find or make the Screen, Dataset or Project that a target names, as ``omero import -T`` does.

Where it differs: ``Project:name:P/Dataset:name:D`` looks for D inside P only, and a container of another group is
refused before anything is uploaded. ``@name`` makes a new container once per request, however many attempts it takes:
the container says in an annotation of its own whom it was made for.

Threading: safe in any thread. Two that make the same container at once end with one: each makes its own, then the
lowest id wins and the loser deletes its own. The caller holds a lock around it all the same, for OMERO has no unique
names, and a third could find the loser's before it is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import omero
import omero.model
import omero.rtypes

from fleet_common.errors import Reason, failure
from fleet_common.targets import Choice, Container, Kind, Target
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.deletion import delete_container
from fleet_worker.omero.facts import OwnerIds, ResolvedTarget
from fleet_worker.omero.queries import parameters, rows
from fleet_worker.omero.translate import translated

_MODEL: Final[Mapping[Kind, Any]] = MappingProxyType(
    {Kind.DATASET: omero.model.DatasetI, Kind.SCREEN: omero.model.ScreenI, Kind.PROJECT: omero.model.ProjectI}
)
NAMESPACE: Final = "omero-import-fleet/container"
"""Of the annotation on a container of ``@name``."""
_MOST: Final = 1000
"""Of containers with one name, so many are looked at."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """Finds and makes containers as one owner in one group.

    Attributes:
        connection: The owner's session.
        owner: Who that is.
        creates: Whether a container that is not there may be made.
        made_for: The request whose own container ``@name`` is.
    """

    connection: Connection
    owner: OwnerIds
    creates: bool
    made_for: str

    def resolve(self, target: Target) -> ResolvedTarget:
        """The container that receives plates or images.

        Raises:
            Permanent: ``target-not-found``, ``target-not-linkable`` or ``target-ambiguous``.
        """
        if target.project is None:
            return self._single(target.container, None)
        project = self._single(target.project, None)
        dataset = self._single(target.container, project.id)
        if not dataset.created:
            self._ensure_link(project, dataset)
        return dataset

    def _single(self, container: Container, project_id: int | None) -> ResolvedTarget:
        if container.choice is Choice.ID:
            return self._by_id(container)
        is_new = container.choice is Choice.NEW
        found = self._of_an_earlier_attempt(container) if is_new else self._by_name(container, project_id)
        if len(found) > 1 and container.choice is Choice.UNIQUE:
            raise failure(
                Reason.TARGET_AMBIGUOUS,
                f"{len(found)} {container.kind}s of group {self.owner.group!r} are named {container.value!r}",
            )
        return found[0] if found else self._make(container, project_id)

    def _by_id(self, container: Container) -> ResolvedTarget:
        # A query leaves out what the owner may not read; `find` ends as SecurityViolation, which tells people nothing.
        hql = f"select o from {container.kind} o where o.id = :id and o.details.group.id = :group"  # noqa: S608  HQL; the kind is one of three words
        values = parameters({"id": container.id, "group": self.owner.group_id})
        with translated(f"the look-up of {container.kind} {container.id}"):
            found = self.connection.query.findByQuery(hql, values)
        if found is None:
            raise failure(
                Reason.TARGET_NOT_FOUND,
                f"{container.kind} {container.id} is not in the group {self.owner.group!r}, or {self.owner.user!r} may"
                " not see it",
            )
        if not found.details.permissions.canLink():
            raise failure(
                Reason.TARGET_NOT_LINKABLE,
                f"{self.owner.user!r} may see {container.kind} {container.id} but not put anything into it",
            )
        return ResolvedTarget(container.kind, container.id, found.name.val)

    def _by_name(self, container: Container, project_id: int | None) -> list[ResolvedTarget]:
        order = "asc" if container.choice is Choice.OLDEST else "desc"
        inside = " and o.id in (select l.child.id from ProjectDatasetLink l where l.parent.id = :project)"
        hql = f"select o from {container.kind} o where o.name = :name and o.details.group.id = :group"  # noqa: S608  HQL; the kind is one of three words
        values: dict[str, str | int] = {"name": container.value, "group": self.owner.group_id}
        if project_id is not None:
            hql, values["project"] = hql + inside, project_id
        made = parameters(values)
        made.page(0, _MOST)
        with translated(f"the look-up of {container.kind} {container.value!r}"):
            found = self.connection.query.findAllByQuery(f"{hql} order by o.id {order}", made)
        linkable = (one for one in found if one.details.permissions.canLink())
        return [ResolvedTarget(container.kind, one.id.val, container.value) for one in linkable]

    def _of_an_earlier_attempt(self, container: Container) -> list[ResolvedTarget]:
        hql = (
            f"select o.id from {container.kind}AnnotationLink l join l.parent o join l.child a join a.mapValue mv"  # noqa: S608  HQL; the kind is one of three words
            " where a.ns = :ns and mv.name = 'request_id' and mv.value = :request and o.name = :name"
            " and o.details.group.id = :group and o.details.owner.id = :owner"
            " and l.details.owner.id = :owner and a.details.owner.id = :owner order by o.id"
        )
        values: dict[str, str | int] = {
            "ns": NAMESPACE,
            "request": self.made_for,
            "name": container.value,
            "group": self.owner.group_id,
            "owner": self.owner.user_id,
        }
        found = rows(self.connection, f"the look-up of this request's {container.kind}", hql, values, limit=1)
        return [ResolvedTarget(container.kind, row[0], container.value) for row in found]

    def _make(self, container: Container, project_id: int | None) -> ResolvedTarget:
        if not self.creates:
            raise failure(
                Reason.TARGET_NOT_FOUND, f"there is no {container.kind} named {container.value!r} to put anything into"
            )
        made = self._saved(container, project_id)
        if container.choice is Choice.NEW:
            return made
        lowest = self._lowest_own(container, project_id)
        if lowest == made.id:
            return made
        delete_container(self.connection, container.kind, made.id)
        return ResolvedTarget(container.kind, lowest, container.value)

    def _saved(self, container: Container, project_id: int | None) -> ResolvedTarget:
        fresh = _MODEL[container.kind]()
        fresh.name = omero.rtypes.rstring(container.value)
        if container.choice is Choice.NEW:
            fresh.linkAnnotation(_made_for(self.made_for))
        with translated(f"the creation of {container.kind} {container.value!r}"):
            if project_id is None:
                made = self.connection.update.saveAndReturnObject(fresh)
            else:
                made = self.connection.update.saveAndReturnObject(_link(project_id, fresh)).child
        return ResolvedTarget(container.kind, made.id.val, container.value, created=True)

    def _lowest_own(self, container: Container, project_id: int | None) -> int:
        hql = (
            f"select o.id from {container.kind} o where o.name = :name and o.details.owner.id = :owner"  # noqa: S608  as above
            " and o.details.group.id = :group"
        )
        values: dict[str, str | int] = {
            "name": container.value,
            "owner": self.owner.user_id,
            "group": self.owner.group_id,
        }
        if project_id is not None:
            hql += " and o.id in (select l.child.id from ProjectDatasetLink l where l.parent.id = :project)"
            values["project"] = project_id
        found = rows(self.connection, "the election of a container", f"{hql} order by o.id", values, limit=1)
        return int(found[0][0])

    def _ensure_link(self, project: ResolvedTarget, dataset: ResolvedTarget) -> None:
        hql = "select l.id from ProjectDatasetLink l where l.parent.id = :project and l.child.id = :dataset"
        what = f"the link of {dataset} into {project}"
        if rows(self.connection, what, hql, {"project": project.id, "dataset": dataset.id}, limit=1):
            return
        with translated(what):
            link = _link(project.id, omero.model.DatasetI(dataset.id, False))  # noqa: FBT003  Ice knows no keywords
            self.connection.update.saveObject(link)


def _made_for(request_id: str) -> Any:
    annotation = omero.model.MapAnnotationI()
    annotation.ns = omero.rtypes.rstring(NAMESPACE)
    annotation.mapValue = [omero.model.NamedValue("request_id", request_id)]
    return annotation


def _link(project_id: int, dataset: Any) -> Any:
    link = omero.model.ProjectDatasetLinkI()
    link.parent = omero.model.ProjectI(project_id, False)  # noqa: FBT003  Ice knows no keywords
    link.child = dataset
    return link

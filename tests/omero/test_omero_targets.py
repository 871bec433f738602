"""Targets on a real OMERO, in OMERO's own grammar."""

from __future__ import annotations

import uuid

import pytest

from fleet_common.errors import Permanent, Reason
from fleet_common.targets import Kind, parse_target
from fleet_worker.omero.containers import Resolver
from fleet_worker.omero.deletion import delete_container
from fleet_worker.omero.facts import ResolvedTarget
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.queries import rows
from fleet_worker.omero.session import OwnerSession

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def name() -> str:
    """A name that no container has yet."""
    return f"target {uuid.uuid4()}"


def resolve(session: OwnerSession, text: str, *, creates: bool = True, made_for: str = "") -> ResolvedTarget:
    """The container of a target as text, of one request or of one that nobody else asks for."""
    return session.resolve_target(parse_target(text), creates=creates, made_for=made_for or str(uuid.uuid4()))


def reason_of(session: OwnerSession, text: str, *, creates: bool = True) -> Reason:
    """Why a target is refused."""
    with pytest.raises(Permanent) as caught:
        resolve(session, text, creates=creates)
    return caught.value.reason


def ids_named(session: OwnerSession, kind: str, name: str) -> list[int]:
    """All containers of that name that the session sees."""
    hql = f"select o.id from {kind} o where o.name = :name order by o.id"  # noqa: S608  HQL of a test
    return [row[0] for row in rows(session._connection, "a test", hql, {"name": name})]


@pytest.mark.parametrize("kind", ["Dataset", "Screen"])
def test_a_name_makes_a_container_once_and_finds_it_ever_after(alice: OwnerSession, kind: str, name: str) -> None:
    """``name`` and ``+name`` are the same."""
    made = resolve(alice, f"{kind}:name:{name}")
    assert (made.kind, made.created) == (Kind(kind), True)
    found = resolve(alice, f"{kind}:+name:{name}", creates=False)
    assert (found.id, found.created) == (made.id, False)
    assert resolve(alice, f"{kind}:{made.id}").name == name


def test_plus_takes_the_newest_and_minus_the_oldest(alice: OwnerSession, name: str) -> None:
    """As the official importer documents it; ``@name`` makes a new one for each request."""
    first, second, third = (resolve(alice, f"Dataset:@name:{name}") for _ in range(3))
    assert first.id < second.id < third.id
    assert resolve(alice, f"Dataset:+name:{name}").id == third.id
    assert resolve(alice, f"Dataset:-name:{name}").id == first.id


@pytest.mark.parametrize("text", ["Screen:@name:{0}", "Project:name:{0}/Dataset:@name:{0}"])
def test_at_is_one_container_for_all_attempts_of_a_request(alice: OwnerSession, name: str, text: str) -> None:
    """Given a worker that was killed right after it made one, when another one comes, then it finds that."""
    resolve(alice, text.format(name))
    first = resolve(alice, text.format(name), made_for="one request")
    again = resolve(alice, text.format(name), made_for="one request", creates=False)
    assert (first.created, again.created, again.id) == (True, False, first.id)
    assert len(ids_named(alice, first.kind, name)) == 2


def test_nobody_else_can_say_what_a_container_was_made_for(gateway: Gateway, alice: OwnerSession, name: str) -> None:
    """In a read-annotate group everybody may annotate everybody's containers."""
    hers = resolve(alice, f"Dataset:@name:{name}", made_for="her request")
    with gateway.sudo("bob", "screening") as bob:
        assert resolve(bob, f"Dataset:@name:{name}", made_for="her request").id != hers.id


def test_percent_insists_on_one(alice: OwnerSession, name: str) -> None:
    """Made where there is none, taken where there is one, refused where there are two."""
    made = resolve(alice, f"Screen:%name:{name}")
    assert resolve(alice, f"Screen:%name:{name}").id == made.id
    resolve(alice, f"Screen:@name:{name}")
    assert reason_of(alice, f"Screen:%name:{name}") is Reason.TARGET_AMBIGUOUS


def test_nothing_is_made_unless_allowed(alice: OwnerSession, name: str) -> None:
    """The caller looks first, then takes its lock and looks again."""
    assert reason_of(alice, f"Dataset:name:{name}", creates=False) is Reason.TARGET_NOT_FOUND
    assert ids_named(alice, "Dataset", name) == []


def test_a_project_holds_a_dataset_of_its_own(alice: OwnerSession, name: str) -> None:
    """A dataset of the same name outside the project is another one."""
    outside = resolve(alice, f"Dataset:name:{name}")
    inside = resolve(alice, f"Project:name:{name}/Dataset:name:{name}")
    assert inside.id != outside.id
    assert resolve(alice, f"Project:name:{name}/Dataset:name:{name}", creates=False).id == inside.id
    links = "select l.id, l.child.id from ProjectDatasetLink l where l.parent.name = :name"
    assert [row[1] for row in rows(alice._connection, "a test", links, {"name": name})] == [inside.id]


def test_a_dataset_by_id_is_put_into_the_project_once(alice: OwnerSession, name: str) -> None:
    """Doing it again adds no second link."""
    dataset = resolve(alice, f"Dataset:name:{name}")
    for _ in range(2):
        assert resolve(alice, f"Project:name:{name}/Dataset:id:{dataset.id}").id == dataset.id
    links = "select l.id from ProjectDatasetLink l where l.child.id = :id"
    assert len(rows(alice._connection, "a test", links, {"id": dataset.id})) == 1


def test_an_id_that_does_not_exist_is_refused(alice: OwnerSession) -> None:
    """OMERO itself would say OK and link nothing."""
    assert reason_of(alice, "Screen:999999999") is Reason.TARGET_NOT_FOUND
    assert reason_of(alice, "Project:999999999/Dataset:name:x") is Reason.TARGET_NOT_FOUND


def test_an_id_of_another_group_is_refused(gateway: Gateway, alice: OwnerSession, name: str) -> None:
    """One that alice may see, and one that she may not."""
    with gateway.sudo("alice", "private-lab") as elsewhere:
        own = resolve(elsewhere, f"Screen:name:{name}")
    with gateway.sudo("dave", "other") as stranger:
        foreign = resolve(stranger, f"Screen:name:{name}")
    assert reason_of(alice, f"Screen:{own.id}") is Reason.TARGET_NOT_FOUND
    assert reason_of(alice, f"Screen:{foreign.id}") is Reason.TARGET_NOT_FOUND


def test_what_one_may_see_but_not_fill_is_refused_by_id_and_passed_over_by_name(
    gateway: Gateway, alice: OwnerSession, name: str
) -> None:
    """In a read-annotate group everybody sees everything; only its owner may put images into a dataset."""
    with gateway.sudo("bob", "screening") as bob:
        his = resolve(bob, f"Dataset:name:{name}")
    assert reason_of(alice, f"Dataset:{his.id}") is Reason.TARGET_NOT_LINKABLE
    hers = resolve(alice, f"Dataset:name:{name}")
    assert hers.created
    assert hers.id != his.id


def test_the_name_reaches_the_database_as_it_is(alice: OwnerSession) -> None:
    """Quotes, colons, slashes and umlauts are no syntax."""
    odd = f"Würfel ' or '1'='1 : %/{uuid.uuid4()}"
    made = resolve(alice, f"Dataset:name:{odd}")
    assert resolve(alice, f"Dataset:name:{odd}").id == made.id
    assert resolve(alice, f"Dataset:{made.id}").name == odd


@pytest.mark.parametrize("text", ["Screen:name:{0}", "Project:name:{0}/Dataset:name:{0}"])
def test_who_loses_a_race_takes_the_winners_container_and_deletes_its_own(
    gateway: Gateway, alice: OwnerSession, name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loser looked before the winner had made its own, and made one, too."""
    winner = resolve(alice, text.format(name))
    with gateway.sudo("alice", "screening") as late, monkeypatch.context() as patch:
        patch.setattr(Resolver, "_by_name", lambda *_: [])
        found = resolve(late, text.format(name))
    assert found == ResolvedTarget(winner.kind, winner.id, name)
    assert len(ids_named(alice, text.partition(":")[0], name)) == 1
    assert ids_named(alice, winner.kind, name) == [winner.id]


def test_a_deleted_container_leaves_what_is_in_it(alice: OwnerSession, name: str) -> None:
    """Somebody may have found the loser's container in the moment before it is deleted."""
    dataset = resolve(alice, f"Project:name:{name}/Dataset:name:{name}")
    project = ids_named(alice, "Project", name)[0]
    delete_container(alice._connection, "Project", project)
    assert ids_named(alice, "Project", name) == []
    assert ids_named(alice, "Dataset", name) == [dataset.id]

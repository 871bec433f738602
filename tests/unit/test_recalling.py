"""What a worker's installation reads out of OMERO for status --verify."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from fleet_common.errors import UsageError
from fleet_common.recall import Holding
from fleet_common.settings import Settings
from fleet_common.targets import Kind
from fleet_worker.annotations import provenance, refusal, result_from, result_of
from fleet_worker.omero.facts import ImportedFacts, ResolvedTarget
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.state import FilesetState, State
from fleet_worker.recalling import OmeroVerifier, open_verifier
from support.builders import BATCH, DIGEST, NOW, POSSIBLE_STATES, REQUEST_ID, a_fileset, a_request
from support.fakes import facts_of

FACTS = facts_of("phenix1/cell.tif", 5)
TARGET = ResolvedTarget(Kind.DATASET, 5, "Tuesday")
TOLD = provenance(a_request(), 3, result_of(a_request(), FACTS, TARGET, {}), NOW)


@dataclass
class FakeGateway:
    """OMERO with some filesets."""

    filesets: list[FilesetState] = field(default_factory=list)
    requests: tuple[str, ...] = ()
    sessions: list[str] = field(default_factory=list)

    def find_filesets(self, request_id: str) -> tuple[FilesetState, ...]:
        """All."""
        assert request_id == str(REQUEST_ID)
        return tuple(self.filesets)

    def find_requests(self, batch: str) -> tuple[str, ...]:
        """All."""
        assert batch == "tuesday"
        return self.requests

    @contextmanager
    def sudo(self, user: str, group: str) -> Iterator[FakeGateway]:
        """A session of the owner."""
        self.sessions.append(f"{user} in {group}")
        yield self

    def verify(self, fileset_id: int) -> ImportedFacts:
        """What is held."""
        assert fileset_id == self.filesets[0].id
        return FACTS


def verifier(*filesets: FilesetState, requests: tuple[str, ...] = ()) -> tuple[FakeGateway, OmeroVerifier]:
    """Reads from these filesets."""
    gateway = FakeGateway(list(filesets), requests)
    return gateway, OmeroVerifier(cast("Gateway", gateway))


def complete(told: dict[str, str], **changes: Any) -> FilesetState:
    """A fileset with images."""
    return a_fileset(19, State.COMPLETE, annotation={"digest": DIGEST, **told}, **changes)


def test_everything_that_an_outcome_needs_comes_back_from_a_verified_fileset() -> None:
    """Given what a worker wrote after its verification, then lane, batch, source and result are the request's."""
    gateway, made = verifier(complete(TOLD))
    (found,) = made.find(REQUEST_ID)
    assert (found.fileset_id, found.owner, found.group) == (19, "alice", "screening")
    assert found.holding is Holding.VERIFIED
    assert (found.lane, found.batch, found.source, found.attempt) == ("phenix1", BATCH, "hcs/phenix1/cell.tif", 3)
    assert found.result == result_of(a_request(), FACTS, TARGET, {})
    assert gateway.sessions == ["alice in screening"]


def test_a_failed_verification_says_what_differed() -> None:
    """It is not read back: its content is not what was asked for."""
    gateway, made = verifier(complete(refusal(a_request(), 2, "well B2 is missing", NOW)))
    (found,) = made.find(REQUEST_ID)
    assert (found.holding, found.difference, found.result) == (Holding.FAILED, "well B2 is missing", None)
    assert (found.lane, found.batch, found.attempt) == ("phenix1", BATCH, 2)
    assert gateway.sessions == []


EXPECTED = {
    (State.UPLOAD_UNFINISHED, True): Holding.UNFINISHED,
    (State.UPLOAD_UNFINISHED, False): Holding.IN_WORK,
    (State.QUEUED_OR_RUNNING, False): Holding.IN_WORK,
    (State.BROKEN, True): Holding.UNFINISHED,
    (State.COMPLETE, True): Holding.UNVERIFIED,
}


@pytest.mark.parametrize(("state", "closed"), POSSIBLE_STATES)
def test_every_state_of_a_fileset_has_a_meaning(state: State, closed: bool) -> None:  # noqa: FBT001  a parameter
    """Without a result nothing is an outcome."""
    _, made = verifier(a_fileset(19, state, session_closed=closed))
    (found,) = made.find(REQUEST_ID)
    assert found.holding is EXPECTED[state, closed]
    assert found.result is None


@pytest.mark.parametrize("state", [State.UPLOAD_UNFINISHED, State.BROKEN])
def test_a_result_on_an_unfinished_fileset_does_not_count(state: State) -> None:
    """Facts win over what is written."""
    _, made = verifier(a_fileset(19, state, annotation=TOLD))
    assert made.find(REQUEST_ID)[0].holding is Holding.UNFINISHED


@pytest.mark.parametrize(
    "changed",
    [
        {"lane": "Not A Lane"},
        {"lane": ""},
        {"batch_id": "5"},
        {"batch": "a\nb"},
        {"attempt": "many"},
        {"attempt": "²"},
        {"attempt": "-1"},
        {"source": ""},
    ],
)
def test_what_somebody_changed_in_the_annotation_is_left_out(changed: dict[str, str]) -> None:
    """Whoever owns the fileset can edit it in OMERO."""
    _, made = verifier(complete(TOLD | changed))
    (found,) = made.find(REQUEST_ID)
    missing = {"lane": found.lane, "batch": found.batch, "batch_id": found.batch, "source": found.source}
    assert not missing.get(next(iter(changed)), found.attempt)
    assert found.holding is Holding.VERIFIED


def test_the_requests_of_a_batch_are_those_that_are_ids() -> None:
    """Once each."""
    other = uuid.UUID(int=7)
    _, made = verifier(requests=(str(REQUEST_ID), "nonsense", str(other), str(REQUEST_ID)))
    assert made.requests_of("tuesday") == (other, REQUEST_ID)


def test_a_rebuilt_result_counts_what_omero_holds() -> None:
    """Also where nothing was written of it."""
    assert result_from({}, FACTS) == result_of(a_request(), FACTS, None, {})


def test_without_a_password_nothing_is_asked() -> None:
    """The text names the account."""
    with pytest.raises(UsageError, match="no account of omero is set"), open_verifier(Settings()):
        pass

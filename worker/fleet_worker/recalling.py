"""Looks into OMERO for ``omero-fleet status --verify``: what is held for a request, read from the filesets themselves.

Owner and group are the fileset's own: an annotation counts only where its owner made it. Neighbours:
:mod:`fleet_common.recall` decides what follows; the entry point group ``omero_fleet.verifiers`` names
:func:`open_verifier`. Threading: one thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import pydantic

from fleet_common.events import Result
from fleet_common.messages import Batch, Name
from fleet_common.recall import Found, Holding
from fleet_common.settings import Settings
from fleet_worker.annotations import BATCH, BATCH_ID, DIFFERENCE, FAILED, LANE, RESULT, VERIFIED, result_from
from fleet_worker.connect import omero_address
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.state import FilesetState, State, classify

_NAME: Final = pydantic.TypeAdapter(Name)


@contextmanager
def open_verifier(settings: Settings) -> Iterator[OmeroVerifier]:
    """Log in to OMERO as the account of the settings, for as long as the context lasts.

    Raises:
        UsageError: The account has no password in the settings.
        RequestError: OMERO is away, or refuses the account.
    """
    gateway = Gateway(omero_address(settings.omero), clock=time.monotonic)
    try:
        gateway.open()
        yield OmeroVerifier(gateway)
    finally:
        gateway.close()


class OmeroVerifier:
    """Reads through one logged-in gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def find(self, request_id: uuid.UUID) -> tuple[Found, ...]:
        """Every fileset that carries the request's id, lowest id first.

        Raises:
            RequestError: OMERO is away, or the owner of a fileset may not be read any more.
        """
        return tuple(map(self._found, self._gateway.find_filesets(str(request_id))))

    def requests_of(self, batch: str) -> tuple[uuid.UUID, ...]:
        """The requests whose filesets name this batch, by its name or id."""
        found = map(_id, self._gateway.find_requests(batch))
        return tuple(sorted({one for one in found if one is not None}))

    def _found(self, state: FilesetState) -> Found:
        holding, told = holding_of(state), state.annotation
        return Found(
            fileset_id=state.id,
            owner=state.owner,
            group=state.group,
            holding=holding,
            attempt=_number(told.get("attempt")),
            lane=_lane(told.get(LANE)),
            batch=_batch(told),
            source=told.get("source") or None,
            result=self._result(state) if holding is Holding.VERIFIED else None,
            difference=told.get(DIFFERENCE, ""),
        )

    def _result(self, state: FilesetState) -> Result:
        with self._gateway.sudo(state.owner, state.group) as session:
            return result_from(state.annotation, session.verify(state.id))


def holding_of(state: FilesetState) -> Holding:
    """What a fileset is, by its facts and what its last attempt wrote on it."""
    verdict = classify(state)
    if verdict is State.COMPLETE:
        by_result = {VERIFIED: Holding.VERIFIED, FAILED: Holding.FAILED}
        return by_result.get(state.annotation.get(RESULT, ""), Holding.UNVERIFIED)
    sending = verdict is State.UPLOAD_UNFINISHED and not state.session_closed
    return Holding.IN_WORK if sending or verdict is State.QUEUED_OR_RUNNING else Holding.UNFINISHED


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _lane(text: str | None) -> str | None:
    # Whoever owns the fileset may have changed what is written on it.
    try:
        return _NAME.validate_python(text)
    except pydantic.ValidationError:
        return None


def _batch(told: Mapping[str, str]) -> Batch | None:
    batch_id = _id(told.get(BATCH_ID, ""))
    try:
        return Batch(id=batch_id, name=told.get(BATCH, "")) if batch_id else None
    except pydantic.ValidationError:
        return None


def _id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None

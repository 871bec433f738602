"""One try at one scan request: find what its folder holds, and publish an import request for each.

::

    allow-list ─ owner ─ same files as the producer saw ─ find ─ assemble, allow-list ─ each: publish, confirmed ─ told

What is found in the same files is always the same, with the same ids, and these are the ids that ``submit`` gives the
same files. So a scan that is delivered again publishes again, and nothing is imported twice: its requests meet in
reconcile, as all duplicates do. Runs on the thread that took the request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import structlog

from fleet_common.assembling import Order, build, check_files
from fleet_common.broker import FIRST_SEEN, SUBMITTED_BY, Outgoing
from fleet_common.errors import Reason, RequestError, failure
from fleet_common.events import Event, Kind, Phase
from fleet_common.messages import ImportRequest, encode
from fleet_common.plates import Plate
from fleet_common.scanning import list_folder, nonce_of
from fleet_common.storage import ManifestEntry, Share, ShareReader
from fleet_worker.allow import check_allowed
from fleet_worker.checks import Checks
from fleet_worker.files import compare_manifest
from fleet_worker.job import Expanded, Job
from fleet_worker.parts import Parts
from fleet_worker.reporting import Reporter
from fleet_worker.scan.answers import Answer
from fleet_worker.scan.finding import Findings, LeftOut, find
from fleet_worker.scanning import ask_about

_LOG = structlog.get_logger()
_MAX_TOLD: Final = 5
_MAX_CHARACTERS: Final = 2000
_STOPS: Final = frozenset({Reason.SHARE_UNAVAILABLE})


class Expansion:
    """One try at one scan request; used once, by one thread.

    Args:
        parts: Of the worker.
        job: The request, its lane, and the number of the attempt.
        submitter: The broker user who submitted it, for whom its requests are published.
        reporter: Tells how it goes.
        check: Raises when the attempt must stop.
    """

    def __init__(self, parts: Parts, job: Job, submitter: str | None, reporter: Reporter, check: Checks) -> None:
        self._parts, self._job, self._request = parts, job, job.request
        self._submitter, self._report, self._check = submitter, reporter, check

    def run(self) -> Expanded:
        """Expand it; the message says into how many requests, and what was left out.

        Raises:
            RequestError: It was not expanded, or not wholly; it is safe to try again.
        """
        with self._report.phase(Phase.CHECK):
            self._allowed(self._request)
            self._parts.gateway.check_owner(self._request.owner.user, self._request.owner.group)
            share = self._parts.shares[self._request.source.share]
            found = self._find(share, self._listed(share))
            requests = list(self._assembled(share, found))
            for one in found.left_out:
                _LOG.warning("left out of a scan", file=one.path, why=one.why)
            if not requests:
                raise failure(
                    Reason.UNKNOWN_FORMAT, f"nothing to import in {self._request.source.path}: {told(0, found)}"
                )
        for request in requests:
            self._check()
            self._publish(request)
        return Expanded(told(len(requests), found))

    def _allowed(self, request: ImportRequest) -> None:
        check_allowed(request, self._job.lane, self._parts.settings.worker.lanes)

    def _listed(self, share: Share) -> tuple[ManifestEntry, ...]:
        entries = list_folder(share, self._request.source.path)
        compare_manifest(self._request, entries)
        return entries

    def _find(self, share: Share, entries: tuple[ManifestEntry, ...]) -> Findings:
        def ask(path: str) -> Answer:
            self._report.alive()
            return ask_about(self._parts.scanner, share, path, self._check)

        paths = [entry.path for entry in entries if entry.size_bytes]
        with ShareReader(share) as reader:
            found = find(self._request.source.path, paths, reader, ask)
        found.unknown += len(entries) - len(paths)
        return found

    def _assembled(self, share: Share, found: Findings) -> Iterator[ImportRequest]:
        """A request for everything that is fit for import; what is not is left out."""
        order = self._order()
        for plate in found.plates:
            self._report.alive()
            try:
                request = self._assemble(share, plate, order)
                self._allowed(request)
            except RequestError as error:
                if error.reason in _STOPS:
                    raise
                found.left_out.append(LeftOut(plate.entry, f"{error.reason}: {error}"))
            else:
                yield request

    def _assemble(self, share: Share, plate: Plate, order: Order) -> ImportRequest:
        return build(share, plate, check_files(share, plate), order, self._request.submitted_at).request

    def _order(self) -> Order:
        request = self._request
        return Order(
            owner=request.owner,
            target=request.target,
            lane=request.lane,
            priority=request.priority,
            batch=request.batch,
            submitted_by=request.submitted_by,
            options=request.options,
            nonce=nonce_of(request),
        )

    def _publish(self, request: ImportRequest) -> None:
        publisher = self._parts.publisher
        headers = {FIRST_SEEN: self._parts.clock().isoformat()}
        publisher.publish(
            Outgoing(
                exchange=publisher.names.requests,
                routing_key=request.routing_key,
                body=encode(request),
                headers=headers | ({SUBMITTED_BY: self._submitter} if self._submitter else {}),
                message_id=str(request.request_id),
                timestamp=request.submitted_at,
            )
        )
        publisher.publish_event(self._accepted(request), required=False)
        _LOG.info("expanded", into=str(request.request_id), source=request.source.path)

    def _accepted(self, request: ImportRequest) -> Event:
        """As a producer would tell it: an outcome that the request already has stays what it is."""
        event = self._report.event(Kind.ACCEPTED)
        source = f"{request.source.share}/{request.source.path}"
        about = {"request_id": request.request_id, "source": source, "attempt": 0, "seq": 0, "worker": None}
        return event.model_copy(update=about)


def told(count: int, found: Findings) -> str:
    """How many requests a folder gave, and what was left out; the first few by name. Pure."""
    parts = [f"{count} import requests"]
    if found.unknown:
        parts.append(f"{found.unknown} files are no images")
    if found.left_out:
        named = "; ".join(map(str, found.left_out[:_MAX_TOLD]))
        more = f"; and {len(found.left_out) - _MAX_TOLD} more" if len(found.left_out) > _MAX_TOLD else ""
        parts.append(f"{len(found.left_out)} left out: {named}{more}")
    return ", ".join(parts)[:_MAX_CHARACTERS]

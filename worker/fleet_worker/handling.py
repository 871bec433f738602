"""Handles one delivery on one thread, from decoding to ack; whatever happens, the worker lives on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Final

import structlog

from fleet_common.broker import Delivery, submitted_by
from fleet_common.errors import Permanent, Reason, RequestError, Transient, failure
from fleet_common.events import Event
from fleet_common.messages import ImportRequest, decode
from fleet_common.scanning import SCAN
from fleet_worker.attempt import Attempt
from fleet_worker.checks import Checks
from fleet_worker.crashes import CRASH_LIMIT, Course, Judgement
from fleet_worker.expansion import Expansion
from fleet_worker.job import Expanded, Job, Outcome
from fleet_worker.parts import Parts
from fleet_worker.reporting import Reporter
from fleet_worker.settling import (
    attempt_number,
    request_id_of,
    settle_failure,
    settle_success,
    unreadable_event,
)

_LOG = structlog.get_logger()
_LATER_SECONDS: Final = 10.0
_UNSUSPECTED: Final = Judgement(Course.RUN)
_SUSPECT: Final = "workers died while they had it: it is tried alone, and is dead when {} die of it"


class Handler:
    """Handles deliveries; one instance serves all threads of a worker.

    Args:
        parts: Of the worker.
        paused: Called with the error when the server does not let us work, so that nothing more is taken.
        hurry: Set when attempts must stop at their next check and hand their requests back.
    """

    def __init__(self, parts: Parts, paused: Callable[[RequestError], None], hurry: threading.Event) -> None:
        self._parts = parts
        self._paused = paused
        self._hurry = hurry

    def handle(self, delivery: Delivery, judgement: Judgement = _UNSUSPECTED) -> None:
        """Import the request and settle it, or set it aside if it is suspected of killing workers."""
        with self._parts.metrics.in_progress.labels(delivery.lane).track_inprogress():
            try:
                self._handle(delivery, judgement)
            except RequestError as error:
                # The broker could not be told: the delivery is not acked and comes again, here or elsewhere.
                _LOG.warning("request not settled", reason=error.reason, error=str(error))
            except Exception:
                # The boundary of a request: no defect in one may end the worker. It is not acked, so nothing is lost.
                self._parts.metrics.internal_errors.inc()
                _LOG.exception("request not settled because of a defect")

    def _handle(self, delivery: Delivery, judgement: Judgement) -> None:
        attempt = attempt_number(delivery, self._parts.settings.worker.fleet_users)
        try:
            request = self._decode(delivery)
        except RequestError as error:
            self._settle_unreadable(delivery, error)
            return
        with structlog.contextvars.bound_contextvars(
            request=str(request.request_id), lane=delivery.lane, attempt=attempt
        ):
            job = Job(request, delivery.lane, attempt)
            if judgement.course in {Course.RUN, Course.RUN_ALONE}:
                self._attempt(delivery, job)
            else:
                self._set_aside(delivery, job, judgement)

    def _set_aside(self, delivery: Delivery, job: Job, judgement: Judgement) -> None:
        """Without an attempt: back to the lane or a tier with the count, or to the dead letters."""
        tell = self._reporter(job).event
        if judgement.course is Course.BURY:
            died = f"{judgement.deaths} workers died of this request while they had nothing else in work"
            settle_failure(self._parts, delivery, failure(Reason.CRASH_LOOP, died), tell, job.number)
            return
        delay_seconds = _LATER_SECONDS if judgement.course is Course.LATER else 0.0
        error = Transient(Reason.CRASH_SUSPECT, _SUSPECT.format(CRASH_LIMIT), delay_seconds=delay_seconds)
        settle_failure(self._parts, delivery, error, tell, job.number, alone=judgement.deaths)

    def _decode(self, delivery: Delivery) -> ImportRequest:
        if submitted_by(delivery, self._parts.settings.worker.fleet_users) is None:
            raise Permanent(Reason.NO_USER_ID, "the request does not say which broker user submitted it")
        request = decode(delivery.body)
        if request.lane != delivery.lane:
            # Told before anything else: its events would speak in another lane's name.
            raise Permanent(
                Reason.NOT_ALLOWED,
                f"not allowed: the request says lane {request.lane!r} but came through lane {delivery.lane!r}",
            )
        return request

    def _settle_unreadable(self, delivery: Delivery, error: RequestError) -> None:
        known = request_id_of(delivery)
        worker = self._parts.settings.worker.name
        make = unreadable_event(delivery, known, worker, self._parts.clock()) if known else None
        settle_failure(self._parts, delivery, error, make, attempt_number(delivery, ()))

    def _attempt(self, delivery: Delivery, job: Job) -> None:
        reporter = self._reporter(job)
        lease = self._parts.locks.try_take(self._parts.names.lock(str(job.request.request_id)))
        if lease is None:
            # Without an event: whoever holds the lock tells how the request goes, and would seem to be contradicted.
            error = failure(Reason.LOCK_HELD, "another worker is at this request")
            settle_failure(self._parts, delivery, error, None, job.number)
            return
        with lease:
            check = Checks(lease, self._hurry, lambda: self._parts.cancelled(job.request))
            with closing(reporter):
                self._locked(delivery, job, reporter, check)

    def _locked(self, delivery: Delivery, job: Job, reporter: Reporter, check: Checks) -> None:
        reporter.started()
        try:
            outcome = self._run(delivery, job, reporter, check)
        except RequestError as error:
            self._fail(delivery, reporter, job, error)
            return
        except Exception as defect:
            # The boundary of an attempt: a defect is tried again a few times, then buried with its name.
            self._parts.metrics.internal_errors.inc()
            _LOG.exception("attempt ended by a defect")
            self._fail(delivery, reporter, job, failure(Reason.INTERNAL_ERROR, f"{type(defect).__name__}: {defect}"))
            return
        settle_success(self._parts, delivery, reporter, outcome)
        if isinstance(outcome, Outcome):
            reporter.succeeded(outcome.kind, outcome.result)

    def _run(self, delivery: Delivery, job: Job, reporter: Reporter, check: Checks) -> Outcome | Expanded:
        if job.request.source.format != SCAN:
            return Attempt(self._parts, job, reporter, check).run()
        submitter = submitted_by(delivery, self._parts.settings.worker.fleet_users)
        return Expansion(self._parts, job, submitter, reporter, check).run()

    def _fail(self, delivery: Delivery, reporter: Reporter, job: Job, error: RequestError) -> None:
        decision = settle_failure(self._parts, delivery, error, reporter.event, job.number)
        if decision.pause:
            self._paused(error)

    def _reporter(self, job: Job) -> Reporter:
        parts = self._parts

        def tell(event: Event) -> None:
            parts.publisher.publish_event(event, required=False)

        return Reporter(
            job.request,
            job.number,
            parts.settings.worker.name,
            tell=tell,
            metrics=parts.metrics,
            clock=parts.clock,
            monotonic=parts.monotonic,
        )

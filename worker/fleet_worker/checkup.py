"""Look at everything that a worker needs, in the order in which it needs it; changes nothing.

Neighbours: ``findings`` judges what is read here, ``commands.doctor`` prints it and may sweep with these connections.
Threading: one thread; broker link and gateway own theirs until :meth:`Checkup.close`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

from fleet_common.broker import BrokerRefused, Link, Locks, Names, exchange_exists, queue_depth
from fleet_common.broker.topology import describe
from fleet_common.connect import broker_address, broker_names
from fleet_common.errors import Reason, RequestError, UsageError
from fleet_common.metrics import Metrics
from fleet_common.settings import Settings
from fleet_common.wholeness import nothing
from fleet_worker import findings
from fleet_worker.connect import omero_address
from fleet_worker.findings import Finding, Verdict
from fleet_worker.linking import links_of
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.leftovers import ends_with_time
from fleet_worker.scan import why_online
from fleet_worker.scanning import scanner_of

CONNECT_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0
_FORBIDDEN: Final = 403


class Checkup:
    """One look at everything; a context manager that closes its connections. It is what a sweep works with, too.

    Attributes:
        gateway: The service account; logged in once :meth:`of_omero` was run through without a failure.
        locks: Of the consuming link.
        names: Of everything in the broker.
        metrics: Counts what a sweep removes; nobody reads it.
        unreachable: Whether the broker or OMERO did not answer.
    """

    def __init__(self, settings: Settings) -> None:
        """Prepare, without a call to any server.

        Raises:
            UsageError: A password is missing or cannot be read.
        """
        self._settings = settings
        self.names: Names = broker_names(settings.broker)
        self._link = Link(broker_address(settings.broker), role="doctor")
        self.locks = Locks(self._link, names=self.names)
        self.gateway = Gateway(omero_address(settings.omero), clock=time.monotonic)
        self.metrics = Metrics()
        self.unreachable = False

    def __enter__(self) -> Self:
        self._link.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.close()
        self._link.stop(_STOP_SECONDS)

    def run(self) -> Iterator[Finding]:
        """Every check, each as soon as it is done; what cannot be checked after a failure is left out."""
        yield findings.of_settings(self._settings)
        yield from self.of_shares()
        yield self.of_scan()
        yield from self.of_broker()
        yield from self.of_omero()

    def of_shares(self) -> tuple[Finding, ...]:
        """Whether every share can be listed."""
        problems = {name: problem for name, root in self._settings.shares.items() if (problem := share_problem(root))}
        return findings.of_shares(problems, self._settings.shares)

    def of_scan(self) -> Finding:
        """Whether Bio-Formats answers, where it is configured."""
        try:
            return self._one("scan", self._scan)
        except UsageError as error:
            return findings.fail("scan", str(error), "Correct scan.jar or scan.network, or install a JDK.")

    def of_broker(self) -> Iterator[Finding]:
        """Connection, topology, locks and delivery time-out."""
        if not self._link.wait_connected(CONNECT_SECONDS):
            self.unreachable = True
            text = f"no connection to {self._link.address}: {self._link.state.reason or 'no answer'}"
            yield findings.fail("broker", text, "Check host, port, certificate and account in the group broker.")
            return
        version = self._link.server_version
        yield findings.ok("broker", f"RabbitMQ {'.'.join(map(str, version))} at {self._link.address}")
        yield from self._try("topology", self._topology)
        yield from self._try("locks", self._lock)
        yield findings.of_delivery_timeout(version, self._settings.worker.import_deadline_seconds)

    def of_omero(self) -> Iterator[Finding]:
        """Login, privileges, and what the server bears."""
        opened = self._one("omero", self._log_in)
        yield opened
        if opened.verdict is Verdict.FAIL:
            self.unreachable = opened.text.startswith(Reason.OMERO_UNAVAILABLE)
            return
        omero = self._settings.omero
        yield self._one("account", lambda: findings.of_account(self.gateway.server_info(), omero.user))
        yield self._one("writable", lambda: findings.of_read_only(self.gateway.read_only()))
        yield self._one("space", lambda: findings.of_space(self.gateway.free_bytes(), omero.min_free_bytes))
        yield from self._try("in-place", self._in_place)
        yield from self._try("slots", lambda: findings.of_limits(self.gateway.limits(), omero))
        yield findings.of_size(omero, self._settings.worker)
        yield self._one("clock", lambda: findings.of_clock(self.gateway.clock_difference_seconds(time.time)))
        yield self._one("folders", self._template)

    def _try(self, check: str, look: Callable[[], tuple[Finding, ...]]) -> tuple[Finding, ...]:
        try:
            return look()
        except RequestError as error:
            return (findings.failed(check, error),)

    def _one(self, check: str, look: Callable[[], Finding]) -> Finding:
        (found,) = self._try(check, lambda: (look(),))
        return found

    def _log_in(self) -> Finding:
        self.gateway.open()
        address = self.gateway.address
        return findings.ok("omero", f"logged in to {address.host}:{address.port} as {address.user!r}")

    def _in_place(self) -> tuple[Finding, ...]:
        links = links_of(self._settings)
        if links is None:
            return ()
        links.repository.check(self.gateway.server_info().repository_uuid)
        return findings.of_in_place(self._settings)

    def _template(self) -> Finding:
        template = self.gateway.folder_template()
        return findings.of_template(template, is_known=ends_with_time(template or ""))

    def _scan(self) -> Finding:
        scanner = scanner_of(self._settings.scan)
        if scanner is None:
            return findings.of_scan(None)
        try:
            return findings.of_scan(scanner.start(nothing), why_online())
        finally:
            scanner.close()

    def _topology(self) -> tuple[Finding, ...]:
        wanted = describe(self.names, tuple(self._settings.worker.lanes))
        looks: list[tuple[str, Callable[[], bool]]] = []
        looks += [(one.name, lambda name=one.name: exchange_exists(self._link, name)) for one in wanted.exchanges]  # type: ignore[misc]
        looks += [(one.name, lambda name=one.name: queue_depth(self._link, name) is not None) for one in wanted.queues]  # type: ignore[misc]
        there = {name: self._is_there(look) for name, look in looks}
        missing = [name for name, answer in there.items() if answer is False]
        hidden = [name for name, answer in there.items() if answer is None]
        return (findings.of_topology(missing, hidden, len(there) - len(missing) - len(hidden)),)

    def _is_there(self, look: Callable[[], bool]) -> bool | None:
        try:
            return look()
        except BrokerRefused as error:
            if error.code == _FORBIDDEN:
                return None
            raise

    def _lock(self) -> tuple[Finding, ...]:
        lease = self.locks.try_take(self.names.lock(f"doctor.{uuid.uuid4()}"))
        if lease is None:
            return (findings.fail("locks", "a new lock is held by another", "Report this: it is a defect."),)
        lease.release()
        return (findings.ok("locks", "locks and slots can be taken"),)


def share_problem(root: Path) -> str:
    """Why a share cannot be read; empty if it can."""
    try:
        if next(root.iterdir(), None) is None:
            return "it is empty: nothing is mounted here, it seems"
    except OSError as error:
        return f"{error.strerror or error}"
    return ""

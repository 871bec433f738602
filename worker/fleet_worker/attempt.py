"""One try at one request, in the order of the design: nothing is sent before everything that can be checked is.

::

    allow-list ─ owner ─ reconcile ─ files ─ reader ─ target ─ [staged slot: [create slot: register] ─ elect ─ upload ─
        [import slot: server]] ─ verify ─ annotate ─ elect once more

The thread that took the request runs all of it. The check is called between any two costly steps and raises when the
lock of the request is lost: such an attempt stops, settles nothing, and deletes the fileset that it made, unless the
server is at it. Neighbours: ``reconcile`` decides, ``adoption`` waits for a dead worker's import, ``serverside`` has
the server's part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import structlog

from fleet_common.errors import NeedsOperator, Reason, RequestError, failure
from fleet_common.events import Kind, Phase, Result, Transfer
from fleet_common.instruments import fleet_version
from fleet_common.storage import OpenFiles
from fleet_common.targets import Choice
from fleet_worker.adoption import Adoption
from fleet_worker.allow import check_allowed
from fleet_worker.annotations import plate_warnings, provenance, refusal, result_of
from fleet_worker.checks import Checks
from fleet_worker.files import FilesHere, find_files
from fleet_worker.job import Job, Outcome
from fleet_worker.omero.facts import ImportedFacts, ImportSpec, OwnerIds, ResolvedTarget, SpecFile
from fleet_worker.omero.session import OwnerSession
from fleet_worker.omero.state import FilesetState
from fleet_worker.omero.upload import RegisteredImport
from fleet_worker.parts import Parts
from fleet_worker.readercheck import check_reader
from fleet_worker.reconcile import Plan, Step, elect, plan
from fleet_worker.reporting import Reporter
from fleet_worker.sampling import choose, look
from fleet_worker.scanning import read_group, with_images
from fleet_worker.serverside import ServerSide
from fleet_worker.slots import asking, slot
from fleet_worker.verification import verify

_LOG = structlog.get_logger()
_TARGET_SECONDS: Final = 120.0
_NOTHING_CAN_BE_DELETED: Final = frozenset({Reason.OMERO_UNAVAILABLE, Reason.OMERO_BUSY, Reason.SESSION_LOST})


@dataclass(frozen=True, slots=True)
class _Sent:
    """What this attempt did itself; empty where it found the work done."""

    hashes: tuple[str, ...] = ()
    target: ResolvedTarget | None = None
    seconds: Mapping[Phase, float] = field(default_factory=dict)
    transfer: Transfer | None = None


class Attempt:
    """One try at one request; used once, by one thread."""

    def __init__(self, parts: Parts, job: Job, reporter: Reporter, check: Checks) -> None:
        self._parts, self._job, self._request = parts, job, job.request
        self._report, self._check = reporter, check
        self._id = str(job.request.request_id)

    def run(self) -> Outcome:
        """Import the request, or find that it was imported before.

        Raises:
            RequestError: It was not imported; the reason says what follows.
        """
        with self._report.phase(Phase.CHECK):
            check_allowed(self._request, self._job.lane, self._parts.settings.worker.lanes)
            owner = self._parts.gateway.check_owner(self._request.owner.user, self._request.owner.group)
            found = self._reconcile(owner)
            files = None if found.verified else self._find_files()
            if files is not None and found.step is Step.IMPORT:
                check_reader(files.plate, self._parts.gateway.bioformats_version)
        if files is None or found.step is Step.ADOPT_COMPLETE:
            with self._session(owner) as session:
                return self._adopt(session, files, found.fileset_id)
        return self._import(owner, files)

    def _find_files(self) -> FilesHere:
        ask = partial(read_group, self._parts.scanner, stop=self._check)
        found = find_files(self._request, self._parts.shares, ask)
        plate = with_images(self._parts.scanner, found.share, found.plate, self._check)
        return replace(found, plate=plate)

    def _session(self, owner: OwnerIds) -> AbstractContextManager[OwnerSession]:
        return self._parts.sessions.lend(owner.user, owner.group)

    def _reconcile(self, owner: OwnerIds) -> Plan:
        """Find what earlier attempts left, wait for what the server still has, and remove the debris.

        Nobody wants a cancelled request's import; one that is complete by now is its result all the same.
        """
        found = self._plan(owner)
        if found.debris:
            with self._session(owner) as session:
                for fileset_id in found.debris:
                    self._check.held()
                    session.delete_fileset(fileset_id)
        if found.step is Step.IMPORT:
            self._check()
        return found

    def _plan(self, owner: OwnerIds) -> Plan:
        left = self._look()
        while True:
            found = plan(left, owner, self._request.source.manifest.digest)
            if found.step is not Step.ADOPT_RUNNING:
                return found
            _LOG.info("adopting an import of a dead worker", fileset=found.fileset_id)
            left = self._adoption().wait(found.fileset_id)

    def _adoption(self) -> Adoption:
        return Adoption(
            look=self._look,
            told=self._report.seen_at,
            check=self._check.held,
            deadline_seconds=self._parts.settings.worker.import_deadline_seconds,
            pause=self._parts.pause,
            monotonic=self._parts.monotonic,
        )

    def _look(self) -> tuple[FilesetState, ...]:
        return self._parts.gateway.find_filesets(self._id)

    def _adopt(self, session: OwnerSession, files: FilesHere | None, fileset_id: int) -> Outcome:
        """Take what an earlier attempt imported as the result; verify it first unless that attempt has."""
        if files is not None:
            return Outcome(Kind.ALREADY_IMPORTED, self._verify_and_annotate(session, files, fileset_id, _Sent()))
        facts = session.verify(fileset_id)
        return Outcome(Kind.ALREADY_IMPORTED, result_of(self._request, facts, None, self._report.seconds))

    def _import(self, owner: OwnerIds, files: FilesHere) -> Outcome:
        with self._report.phase(Phase.TARGET), self._session(owner) as session:
            target = self._resolve(session, owner)
        self._report.enter(Phase.QUEUED)
        # Who waits for a slot has no session: of a long lane only as many as work are open.
        with ExitStack() as staged:
            staged.enter_context(slot(self._parts, "staged", self._check))
            with self._session(owner) as session:
                registered, sent = self._send(session, owner, files, target)
                staged.close()
                result = self._verify_and_annotate(session, files, registered.fileset_id, sent)
                self._elect_once_more(session, owner, registered.fileset_id)
        return Outcome(Kind.IMPORTED, result)

    def _send(
        self, session: OwnerSession, owner: OwnerIds, files: FilesHere, target: ResolvedTarget
    ) -> tuple[RegisteredImport, _Sent]:
        """From the registration until the server is done."""
        self._check()
        with self._report.phase(Phase.REGISTER):
            session.prepare()
            spec = self._spec(files, target)
            with slot(self._parts, "create", self._check):
                registered = session.register(spec)
        server = ServerSide(self._parts, registered, files, self._report, self._check, session=session)
        with self._discarded_on_failure(session, server):
            # The first fileset since the server's start is the first to tell its version.
            check_reader(files.plate, lambda: session.bioformats_version(registered.fileset_id))
            self._elect(session, owner, registered.fileset_id, complete=False)
            server.hashes = self._upload(registered, files)
            done = server.run()
        seconds = {**done.seconds, Phase.UPLOAD: self._report.seconds[Phase.UPLOAD]}
        return registered, _Sent(server.hashes, target, seconds, self._parts.transfer(files.share.name))

    def _resolve(self, session: OwnerSession, owner: OwnerIds) -> ResolvedTarget:
        """Find the target, or make it under a lock, so that two workers make one container of one name."""
        target = self._request.parsed_target
        try:
            return session.resolve_target(target, creates=False, made_for=self._id)
        except RequestError as error:
            if error.reason is not Reason.TARGET_NOT_FOUND or target.container.choice is Choice.ID:
                raise
        name = self._parts.names.lock(f"target.{owner.group_id}.{_short(self._request.target)}")
        with self._parts.locks.take_one_of([name], _TARGET_SECONDS, stop=asking(self._check)):
            return session.resolve_target(target, creates=True, made_for=self._id)

    def _spec(self, files: FilesHere, target: ResolvedTarget) -> ImportSpec:
        request, options = self._request, self._request.options
        share = files.share.name
        spec = ImportSpec(
            request_id=self._id,
            digest=request.source.manifest.digest,
            attempt=self._job.number,
            source=f"{share}/{request.source.path}",
            format=request.source.format,
            files=tuple(SpecFile(f"{share}/{entry.path}", entry.size_bytes) for entry in files.entries),
            reader_class=files.plate.reader or None,
            target=target,
            name=options.name,
            description=options.description,
            skip=options.skip,
            fleet_version=fleet_version(),
            transfer=self._parts.transfer(share),
        )
        return replace(spec, algorithm=options.checksum_algorithm) if options.checksum_algorithm else spec

    def _elect(self, session: OwnerSession, owner: OwnerIds, fileset_id: int, *, complete: bool) -> None:
        """Ask OMERO who else imports this request: a call of a killed worker may have landed meanwhile."""
        rivals = self._parts.gateway.find_filesets(self._id, besides=fileset_id)
        election = elect(rivals, owner, fileset_id, complete=complete)
        if election.winner != fileset_id:
            raise failure(Reason.ELECTION_LOST, f"Fileset:{election.winner} was there before Fileset:{fileset_id}")
        for debris in election.debris:
            self._check.held()
            session.delete_fileset(debris)
        if election.running:
            raise failure(Reason.STILL_RUNNING, f"Fileset:{election.running[0]} of this request is in work, too")

    def _elect_once_more(self, session: OwnerSession, owner: OwnerIds, fileset_id: int) -> None:
        """Only the loser of an election deletes what is complete; any other error leaves it to be adopted."""
        try:
            self._elect(session, owner, fileset_id, complete=True)
        except RequestError as error:
            if error.reason is Reason.ELECTION_LOST:
                self._discard(session, fileset_id)
            raise

    def _upload(self, registered: RegisteredImport, files: FilesHere) -> tuple[str, ...]:
        if self._parts.transfer(files.share.name) is Transfer.LN_S:
            self._report.linking()
        with self._report.phase_in_turn(Phase.UPLOAD) as begin, OpenFiles(files.share) as opened:
            return self._parts.sender(files.share.name).send(
                opened,
                files.entries,
                registered,
                limit=self._request.options.parallel_upload,
                on_begin=begin,
                on_bytes=self._report.add_bytes,
                on_file=self._report.add_file,
                check=self._check,
            )

    def _verify_and_annotate(self, session: OwnerSession, files: FilesHere, fileset_id: int, sent: _Sent) -> Result:
        with self._report.phase(Phase.VERIFY):
            facts = session.verify(fileset_id)
            self._compare(session, files, sent, facts)
            warnings = (*plate_warnings(files.plate), *self._look_at_planes(session, files, facts))
        with self._report.phase(Phase.ANNOTATE):
            result = result_of(
                self._request, facts, sent.target, self._report.seconds, warnings, transfer=sent.transfer
            )
            told = provenance(self._request, self._job.number, result, self._parts.clock())
            session.annotate(fileset_id, told, sent.seconds)
        return result

    def _look_at_planes(self, session: OwnerSession, files: FilesHere, facts: ImportedFacts) -> tuple[str, ...]:
        """What a sample of planes looks like; a cancel comes too late for it."""
        count = self._parts.settings.worker.sampled_planes
        samples = choose(files.plate, (entry.path for entry in files.entries), facts, count)
        return look(session, samples, check=self._check.held, monotonic=self._parts.monotonic).warnings

    def _compare(self, session: OwnerSession, files: FilesHere, sent: _Sent, facts: ImportedFacts) -> None:
        """Verify; a failure is written on the fileset, so that every later attempt gives the same answer."""
        try:
            verify(files.plate, files.entries, sent.hashes, facts, sent.target)
        except NeedsOperator as error:
            difference = str(error).removeprefix(f"Fileset:{facts.fileset_id}: ")
            told = refusal(self._request, self._job.number, difference, self._parts.clock())
            session.annotate(facts.fileset_id, told, {})
            raise

    @contextmanager
    def _discarded_on_failure(self, session: OwnerSession, server: ServerSide) -> Iterator[None]:
        """Leave no debris: delete the own fileset when the attempt ends before its import is complete."""
        try:
            yield
        except RequestError as error:
            # What the server may still be working on is left to it, and to the next attempt, which finds it by its id;
            # where the server or the session is gone nothing can be deleted now.
            if not server.may_run and error.reason not in _NOTHING_CAN_BE_DELETED:
                self._discard(session, server.fileset_id)
            raise

    def _discard(self, session: OwnerSession, fileset_id: int) -> None:
        try:
            session.delete_fileset(fileset_id)
        except RequestError as error:
            _LOG.warning("fileset left behind", fileset=fileset_id, request=self._id, error=str(error))


def _short(text: str) -> str:
    """A name of any length and spelling as a few characters that a queue name may hold."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]

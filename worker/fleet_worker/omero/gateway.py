"""The service account: one session that is kept alive and made anew, and what is done with it.

Neighbours: :mod:`~fleet_worker.omero.session` for what is done as the owner. Threading: every method may be called from
any thread. A gateway owns one keep-alive thread for its own session and all owner sessions that it opened; it ends in
``close``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

import Ice
import omero
import omero.rtypes
import structlog

from fleet_common.errors import Reason, RequestError, Transient, failure
from fleet_worker.omero import account, bioformats, filesets, leftovers, occupancy, owners, vitals
from fleet_worker.omero.address import OmeroAddress
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import OwnerIds, ServerInfo
from fleet_worker.omero.keepalive import INTERVAL_SECONDS, KeepAlive, nothing
from fleet_worker.omero.serverfacts import LostFolder, ServerLimits
from fleet_worker.omero.session import OwnerSession
from fleet_worker.omero.state import FilesetState
from fleet_worker.omero.translate import translated

T = TypeVar("T")

IDLE_SECONDS: Final = 600.0
"""Idle time-out of owner sessions. The server looks every 120 s; at 20 s it was seen to end a running import."""

LOGIN_PAUSE_SECONDS: Final = 2.0
"""After a failed login its error stands for so long: many threads must not turn an outage into a storm of logins."""

_LOST: Final = frozenset({Reason.SESSION_LOST, Reason.OMERO_UNAVAILABLE})


class Gateway:
    """The service account's access to OMERO.

    Attributes:
        address: Where the server is.
    """

    def __init__(  # noqa: PLR0913  all but the address are named and most have defaults
        self,
        address: OmeroAddress,
        *,
        clock: Callable[[], float],
        keep_alive_seconds: float = INTERVAL_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        min_free_bytes: int = 0,
        on_keep_alive_failure: Callable[[], None] = nothing,
    ) -> None:
        """Prepare, without a call to the server.

        Args:
            address: Where the server is, and the account.
            clock: Monotonic, in seconds.
            keep_alive_seconds: Between two pings of every session.
            idle_seconds: After how long without a sign of life the server closes an owner session.
            min_free_bytes: With less free space in OMERO's data folder `check` fails; 0 does not look.
            on_keep_alive_failure: Called for every ping that failed.
        """
        self.address = address
        self._clock = clock
        self._min_free_bytes = min_free_bytes
        self._idle_ms = int(idle_seconds * 1000)
        self._keep_alive = KeepAlive(keep_alive_seconds, on_failure=on_keep_alive_failure)
        self._keep_alive.add("service account", self._ping, on_silence=self._give_up)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._refusal: tuple[float, RequestError] | None = None
        self._closed = False
        self._log = structlog.get_logger(__name__)

    def open(self) -> None:
        """Log in and start to keep the session alive; may be called again until it succeeds.

        Raises:
            Transient: OMERO is not there (yet).
            NeedsOperator: The account is refused, has no Sudo privilege, or is OMERO's root.
        """
        self._keep_alive.start()
        self._connected()

    def close(self) -> None:
        """End the session and the thread; never raises."""
        self._closed = True
        self._keep_alive.close()
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            self._end_own(connection)

    def check(self) -> None:
        """Whether OMERO can take an import: it answers, its database too, it is writable, and has space.

        A few short calls, 20 ms on an idle server, each of which ends after 20 s.

        Raises:
            Transient: It cannot, ``omero-read-only`` and ``omero-full`` among the reasons.
            NeedsOperator: The account is refused.
        """
        self._call(self._examine)

    def _examine(self, connection: Connection) -> None:
        connection.probe()
        vitals.check_vitals(connection, self._min_free_bytes)

    def server_info(self) -> ServerInfo:
        """Version, checksum algorithms, the account's privileges, and which repository it is."""
        return self._call(account.server_info)

    def bioformats_version(self) -> tuple[int, ...]:
        """Of the server's Bio-Formats; empty while nothing was registered since the server's start."""
        return self._call(bioformats.newest_version)

    def limits(self) -> ServerLimits:
        """How much the server does at once, as far as the account may know."""
        return self._call(vitals.server_limits)

    def free_bytes(self) -> int | None:
        """Free space in OMERO's data folder; None where the server cannot tell."""
        return self._call(vitals.free_bytes)

    def read_only(self) -> tuple[str, ...]:
        """What of the server is read-only: ``database``, ``repository``, both or nothing."""
        return self._call(vitals.read_only)

    def folder_template(self) -> str | None:
        """How the server names the folders of imports (``omero.fs.repo.path``); None where it does not tell."""
        return self._call(lambda connection: vitals.setting(connection, leftovers.TEMPLATE))

    def clock_difference_seconds(self, clock: Callable[[], float]) -> float:
        """How far the server's clock is ahead of ours, to half of a call's time.

        Args:
            clock: Ours, in seconds since 1970.
        """
        return self._call(lambda connection: vitals.clock_difference_seconds(connection, clock))

    def check_owner(self, user: str, group: str) -> OwnerIds:
        """The ids of an ordinary user and a group that the user is in; refuses everybody else, see `owners`."""
        return self._call(lambda connection: owners.check_owner(connection, user, group))

    def find_filesets(self, request_id: str, *, besides: int = 0) -> tuple[FilesetState, ...]:
        """What attempts left, lowest id first, but for one; of any owner: compare owner and group before use."""
        return self._call(lambda connection: filesets.find_filesets(connection, request_id, besides=besides))

    def find_requests(self, batch: str) -> tuple[str, ...]:
        """The request ids of all verified filesets of a batch, given by its name or id."""
        return self._call(lambda connection: filesets.find_requests(connection, batch))

    def unfinished(self) -> tuple[FilesetState, ...]:
        """The fleet's filesets that nobody will finish, whosever they are; see `leftovers`."""
        return self._call(leftovers.unfinished)

    def lost_folders(self, older_than_seconds: float) -> tuple[LostFolder, ...]:
        """Import folders of the fleet that no fileset names; ask `in_use` once more before you delete one."""
        return self._call(lambda connection: leftovers.lost_folders(connection, older_than_seconds))

    def in_use(self, folder: LostFolder) -> bool:
        """Whether a fileset keeps files in or around the folder by now."""
        return self._call(lambda connection: leftovers.in_use(connection, folder.path))

    def running_imports(self, *, besides: int = 0) -> int:
        """How many imports of the whole fleet the server has queued or running, or gets now, besides one fileset's."""
        return sum(state.id != besides for state in self._call(filesets.running))

    def open_sessions(self) -> int:
        """How many sessions of all users are open."""
        return self._call(occupancy.open_sessions)

    def sudo(self, user: str, group: str) -> OwnerSession:
        """A new session as the owner in the group; use it as a context manager, which closes it.

        Raises:
            Permanent: There is no such user, the user is not in the group, or is an administrator.
            Transient: OMERO is unavailable or busy.
            NeedsOperator: The service account may not do this.
        """
        uuid = self._call(lambda connection: self._create_session(connection, user, group))
        try:
            connection = Connection.join(self.address, uuid)
            session = self._entered(connection, uuid, user, group)
        except BaseException:
            self._end(uuid)
            raise
        self._keep_alive.add(session.name, connection.ping, on_silence=connection.cut)
        return session

    def _create_session(self, connection: Connection, user: str, group: str) -> str:
        principal = omero.sys.Principal()
        principal.name, principal.group, principal.eventType = user, group, "User"
        with translated(f"the session for {user!r} in {group!r}"):
            return str(connection.sessions.createSessionWithTimeouts(principal, 0, self._idle_ms).uuid.val)

    def _entered(self, connection: Connection, uuid: str, user: str, group: str) -> OwnerSession:
        try:
            owner = account.identity(connection, user, group)
            connection.use_group(owner.group_id)
        except BaseException:
            connection.disconnect()
            raise
        return OwnerSession(connection, owner, on_close=lambda session: self._left(session, uuid))

    def _left(self, session: OwnerSession, uuid: str) -> None:
        self._keep_alive.remove(session.name)
        if session.may_be_importing:
            self._log.info("session left to the running import", session=session.name)
        elif session.given_up:
            # What the server still does in it is not known: it locks up when a session ends in the middle of a save.
            self._log.warning("session left to its idle time-out", session=session.name)
        else:
            self._end(uuid)

    def _end(self, uuid: str) -> None:
        try:
            self._call(lambda connection: account.close_session(connection, uuid))
        except RequestError as error:
            # It ends by itself after its idle time-out; the caller's own outcome matters more.
            self._log.warning("session not closed", reason=error.reason, error=str(error))

    def _end_own(self, connection: Connection) -> None:
        try:
            with translated("the logout of the service account"):
                account.close_session(connection, connection.session_uuid)
        except RequestError as error:
            self._log.warning("own session not closed", reason=error.reason, error=str(error))
        connection.disconnect()

    def _call(self, work: Callable[[Connection], T]) -> T:
        """Do something that may safely be done twice; once more in a new session if this one turns out to be lost."""
        connection = self._connected()
        try:
            with translated("a call to OMERO"):
                return work(connection)
        except Transient as error:
            # A server that was waited for in vain is not asked twice: the caller would wait twice as long.
            if error.reason not in _LOST or isinstance(error.__cause__, Ice.TimeoutException):
                raise
            self._drop(connection)
            self._log.warning("session of the service account lost", reason=error.reason, error=str(error))
        connection = self._connected()
        with translated("a call to OMERO"):
            return work(connection)

    def _ping(self) -> None:
        self._call(lambda connection: connection.ping())

    def _give_up(self) -> None:
        """Nothing answers: end the calls that wait, and log in anew with the next one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.cut()
            connection.disconnect()

    def _drop(self, connection: Connection) -> None:
        with self._lock:
            if self._connection is connection:
                self._connection = None
        connection.disconnect()

    def _connected(self) -> Connection:
        with self._lock:
            if self._closed:
                raise failure(Reason.SESSION_LOST, "the connection to OMERO was closed by the worker")
            if self._connection is None:
                self._raise_recent_refusal()
                self._connection = self._log_in()
            return self._connection

    def _raise_recent_refusal(self) -> None:
        if self._refusal is not None and self._clock() - self._refusal[0] < LOGIN_PAUSE_SECONDS:
            error = self._refusal[1]
            raise failure(error.reason, str(error)) from error

    def _log_in(self) -> Connection:
        try:
            connection = Connection.log_in(self.address)
            try:
                with translated("the check of the service account"):
                    account.check_account(connection, self.address.user)
            except BaseException:
                connection.disconnect()
                raise
        except RequestError as error:
            self._refusal = (self._clock(), error)
            raise
        self._refusal = None
        self._log.info("logged in to OMERO", host=self.address.host, port=self.address.port, user=self.address.user)
        return connection

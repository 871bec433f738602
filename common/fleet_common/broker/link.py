"""One connection to the broker on a thread of its own, rebuilt for ever.

Role: owns a pika ``SelectConnection`` and the thread that serves it, so that heartbeats are answered however long a job
takes; hands work to that thread and answers back. Neighbours: publisher, lanes, locks and event log each run on a link;
``promises`` holds the rules of late answers. Threading: the link owns the thread ``broker-<role>``, from :meth:`start`
to :meth:`stop`; operations and hooks run on it and must not block; every other method may be called from any other
thread.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pika.exceptions
import structlog
import tenacity
from pika.adapters.select_connection import IOLoop

from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.connection import parameters, quiet
from fleet_common.broker.failures import BrokerUnavailable
from fleet_common.broker.linkstate import Backoff, LinkState, version_numbers
from fleet_common.broker.promises import Promise, explain, fail
from fleet_common.broker.session import STOPPED, Call, Connection, Hook, Operation, Session, abort, close, perform

T = TypeVar("T")
_LOG = structlog.get_logger()


class _NeverOpened(Exception):
    """The connection could not be opened."""


class Link:
    """A connection that comes back by itself.

    Args:
        address: Where to connect.
        role: ``consume``, ``publish``, ``events``...: names the thread, the connection and log lines.
        on_state: Called on the link's thread after every change of the state; must return at once and not raise.
        backoff: Waits between tries.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        role: str,
        on_state: Callable[[LinkState], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.address = address
        self.role = role
        self._on_state = on_state
        self._backoff = backoff or Backoff()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._state = LinkState()
        self._session: Session | None = None
        self._server_version: tuple[int, ...] = (0, 0)
        self._on_open: list[Hook] = []
        self._thread = threading.Thread(target=self._run, name=f"broker-{role}", daemon=True)
        self._log = _LOG.bind(role=role, broker=str(address))

    @property
    def state(self) -> LinkState:
        """How the link is right now."""
        return self._state

    @property
    def connected(self) -> bool:
        """Whether operations can be posted."""
        return self._state.connected

    @property
    def generation(self) -> int:
        """The number of the current connection, or of the last one while there is none."""
        return self._state.generation

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called: nothing will work any more."""
        return self._stopping.is_set()

    @property
    def server_version(self) -> tuple[int, ...]:
        """The broker's version as far as numbers go, such as (4, 0, 5); (0, 0) before the first connection."""
        return self._server_version

    def on_open(self, hook: Hook) -> None:
        """Have a hook run on the link's thread in every new generation, before anybody else can use it.

        When the link is connected already, the hook runs soon for this generation, too.
        """
        with self._changed:
            self._on_open.append(hook)
            self.post(hook)

    def start(self) -> None:
        """Begin to connect, for ever; returns at once."""
        quiet()
        self._thread.start()

    def stop(self, deadline_seconds: float) -> None:
        """Close the connection in an orderly way, by force when the broker does not answer; final."""
        self._stopping.set()
        self._post_to_loop(close)
        self._join(deadline_seconds / 2)
        if self._thread.is_alive():
            self._post_to_loop(abort)
            self._join(deadline_seconds / 2)

    def wait_connected(self, deadline_seconds: float) -> bool:
        """Wait until the link is connected; False when it is not by the deadline or was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.connected or self._stopping.is_set(), deadline_seconds)
            return self._state.connected

    def wait_writable(self, deadline_seconds: float) -> bool:
        """Wait until the link is connected and the broker takes what is published."""
        with self._changed:
            self._changed.wait_for(lambda: self._writable() or self._stopping.is_set(), deadline_seconds)
            return self._writable()

    def call(self, operation: Operation[T], deadline_seconds: float, *, generation: int | None = None) -> T:
        """Run an operation on the link's thread and wait until it keeps its promise.

        Args:
            operation: Gets the connection and a promise, which it or a callback of pika keeps or breaks.
            deadline_seconds: How long to wait at most.
            generation: Only in this generation, because the operation touches something that belongs to it.

        Raises:
            BrokerUnavailable: There is no connection (of that generation), or it was lost before the answer.
            BrokerSilent: No answer by the deadline.
            BrokerRefused: The broker closed the operation's channel.
        """
        return self.begin(operation, generation=generation).result(deadline_seconds)

    def begin(self, operation: Operation[T], *, generation: int | None = None) -> Call[T]:
        """Run an operation on the link's thread soon; its answer is waited for later, so that many may be on the way.

        Raises:
            BrokerUnavailable: There is no connection (of that generation).
        """
        promise: Promise[T] = Future()
        with self._changed:
            session, state = self._session, self._state
            if session is None or not state.connected:
                raise BrokerUnavailable(f"no connection to {self.address}: {state.reason}")
            if generation not in {None, state.generation}:
                raise BrokerUnavailable(f"the connection to {self.address} is another one since")
            session.pending.add(promise)
            promise.add_done_callback(session.pending.discard)
            session.loop.add_callback_threadsafe(partial(perform, operation, session, promise))
        return Call(promise, str(self.address))

    def post(self, action: Hook) -> bool:
        """Run an action on the link's thread soon, without waiting; False when there is no connection."""
        with self._changed:
            session = self._session
            if session is None or not self._state.connected:
                return False
            session.loop.add_callback_threadsafe(partial(self._act, action, session))
            return True

    def _writable(self) -> bool:
        return self._state.connected and not self._state.blocked

    def _act(self, action: Hook, session: Session) -> None:
        try:
            action(session.connection)
        except pika.exceptions.AMQPError as error:
            self._log.warning("broker action failed", reason=explain(error))

    def _post_to_loop(self, action: Hook) -> None:
        with self._changed:
            session = self._session
            if session is not None:
                session.loop.add_callback_threadsafe(partial(self._act, action, session))

    def _join(self, seconds: float) -> None:
        if self._thread.is_alive():
            self._thread.join(seconds)

    # --- on the link's thread ---

    def _run(self) -> None:
        connecting = tenacity.Retrying(
            wait=self._backoff.strategy(),
            stop=tenacity.stop_when_event_set(self._stopping),
            sleep=tenacity.sleep_using_event(self._stopping),
            retry=tenacity.retry_if_exception_type(_NeverOpened),
        )
        while not self._stopping.is_set():
            with contextlib.suppress(tenacity.RetryError):
                connecting(self._live_once)
            # A connection that was open is missed at once, but not by a whole fleet in the same millisecond.
            self._stopping.wait(random.uniform(0, self._backoff.first_seconds))  # noqa: S311  spreads load
        self._tell(replace(self._state, connected=False, blocked=False, reason=STOPPED))

    def _live_once(self) -> None:
        session = Session(IOLoop())
        try:
            self._connect(session)
            session.loop.start()
        except Exception as error:
            # The boundary of the link's thread. pika asserts on itself when it is closed while it connects.
            level = logging.DEBUG if self._stopping.is_set() else logging.ERROR
            self._log.log(level, "broker connection failed in an unexpected way", exc_info=error)
            self._ended(session, "an unexpected error, see the log")
        finally:
            with self._changed:
                self._session = None
                session.loop.close()
        if not session.opened:
            raise _NeverOpened

    def _connect(self, session: Session) -> None:
        session.connection = pika.SelectConnection(
            parameters(self.address, self.role),
            on_open_callback=partial(self._opened, session),
            on_open_error_callback=lambda _, reason: self._ended(session, explain(reason)),
            on_close_callback=lambda _, reason: self._ended(session, explain(reason)),
            custom_ioloop=session.loop,
        )
        with self._changed:
            self._session = session
            if self._stopping.is_set():
                session.loop.add_callback_threadsafe(partial(self._act, close, session))

    def _opened(self, session: Session, connection: Connection) -> None:
        session.opened = True
        self._server_version = version_numbers(str(connection.server_properties.get("version", "")))
        connection.add_on_connection_blocked_callback(lambda _, frame: self._blocked(str(frame.method.reason)))
        connection.add_on_connection_unblocked_callback(lambda _, __: self._blocked(""))
        self._log.info("broker connected", server_version=".".join(map(str, self._server_version)))
        with self._changed:
            for hook in self._on_open:
                hook(connection)
            state = LinkState(connected=True, generation=self._state.generation + 1, reason="")
            self._set(state)
        self._report(state)

    def _blocked(self, reason: str) -> None:
        if reason:
            self._log.warning("broker takes nothing that is published", reason=reason)
        self._tell(replace(self._state, blocked=bool(reason), reason=reason and f"the broker is blocked: {reason}"))

    def _ended(self, session: Session, reason: str) -> None:
        if not self._stopping.is_set():
            self._log.warning("broker connection lost" if session.opened else "broker not reached", reason=reason)
        self._tell(replace(self._state, connected=False, blocked=False, reason=reason))
        for promise in list(session.pending):
            fail(promise, BrokerUnavailable(f"the connection to {self.address} was lost: {reason}"))
        session.loop.stop()

    def _tell(self, state: LinkState) -> None:
        self._set(state)
        self._report(state)

    def _set(self, state: LinkState) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def _report(self, state: LinkState) -> None:
        if self._on_state is not None:
            self._on_state(state)

"""Two producers: each sends its wishes when their time has come, again and again until the broker has confirmed.

Most go through ``omero-fleet submit`` in a process of its own; what that refuses to send is published by hand.
Threading: one thread per producer keeps the time, two more send.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from fleet_common.messages import Owner, Priority, encode
from fleet_stack.fleet import Fleet
from soak.brokereyes import BrokerEyes
from soak.facts import Sent
from soak.material import Instruments
from soak.wishes import BY_HAND, Sort, Wish
from support import handmade
from support.proxy import Proxy

_AT_ONCE: Final = 2
_AGAIN_SECONDS: Final = 2.0
_NOT_CONFIRMED: Final = frozenset({4, 5})
"""Exit codes after which the same command may be repeated, see ``docs/reference/exit-codes.md``."""
_OF_REQUESTS: Final = uuid.UUID("6c1f4f0a-7a53-4bd2-8f6b-52f2f3a1c0de")


@dataclass(frozen=True, slots=True)
class Post:
    """What all producers share."""

    instruments: Instruments
    eyes: BrokerEyes
    seed: int
    tell: Callable[[str], None]


class Producer:
    """One acquisition host.

    Attributes:
        proxy: Between it and RabbitMQ.
        sent: What the broker has confirmed.
        failures: What could not be sent, and why.
    """

    def __init__(self, index: int, fleet: Fleet, post: Post) -> None:
        self.proxy = Proxy(fleet.stack.broker.amqp_port)
        there = replace(fleet.stack, broker=replace(fleet.stack.broker, amqp_port=self.proxy.port))
        folder = fleet.folder / f"producer-{index}"
        own = {"producer": {"host": f"acquisition-{index}", "spool": str(folder / "spool")}}
        self._fleet = replace(fleet, stack=there, folder=folder, extra={**fleet.extra, **own})
        self._index = index
        self._post = post
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=f"producer-{index}")
        self._thread: threading.Thread | None = None
        self.sent: list[Sent] = []
        self.failures: list[str] = []

    def start(self, wishes: Sequence[Wish], began: float) -> None:
        """Begin; wishes of other producers are left to them.

        Args:
            wishes: In order of time.
            began: The start of the soak on the monotonic clock.
        """
        own = [wish for wish in wishes if wish.producer == self._index]
        self._thread = threading.Thread(target=self._keep_time, args=(own, began), name=f"producer {self._index}")
        self._thread.start()

    def finish(self) -> None:
        """Wait until everything is sent."""
        if self._thread is not None:
            self._thread.join()
        self._pool.shutdown(wait=True)

    def close(self) -> None:
        """Give up what is not sent yet."""
        self._over.set()
        self.finish()
        self.proxy.close()

    def _keep_time(self, wishes: Sequence[Wish], began: float) -> None:
        for wish in wishes:
            if self._over.wait(max(0.0, began + wish.at_seconds - time.monotonic())):
                return
            self._pool.submit(self._send, wish)

    def _send(self, wish: Wish) -> None:
        try:
            self._send_for_certain(wish)
        # What could not be sent is told at the end of the soak: thread boundary.
        except Exception as error:
            self._fail(wish, f"{type(error).__name__}: {error}")

    def _send_for_certain(self, wish: Wish) -> None:
        attempt = self._publish if wish.sort in BY_HAND else self._submit
        while not self._over.is_set():
            request_id = attempt(wish)
            if request_id:
                self.sent.append(Sent(wish, request_id, time.time()))
                return
            self._over.wait(_AGAIN_SECONDS)

    def _submit(self, wish: Wish) -> str:
        """The request id once the broker has confirmed it, empty for another try."""
        done = self._fleet.run(
            wish.lane, "submit", str(self._post.instruments.material(wish).path), "--target", wish.target,
            "--user", wish.user, "--group", wish.group, "--priority", wish.priority, "--deadline", "20", "--json",
        )  # fmt: skip
        if done.returncode in _NOT_CONFIRMED:
            self._post.tell(f"wish {wish.number} is sent again: {done.stderr.strip()[-200:]}")
            return ""
        if done.returncode:
            raise RuntimeError(f"submit ended with {done.returncode}: {done.stderr.strip()[-1000:]}")
        (row,) = json.loads(done.stdout)["requests"]
        return str(row["request_id"])

    def _publish(self, wish: Wish) -> str:
        request_id = uuid.uuid5(_OF_REQUESTS, f"{self._post.seed}/{wish.number}")
        material = self._post.instruments.material(wish)
        # One byte more than there is: no worker will ever see such a file.
        more = 1 if wish.sort is Sort.NEVER_FITS else 0
        request = handmade.request(
            material.share,
            material.entry,
            {path: size + more for path, size in material.sizes.items()},
            request_id=request_id,
            lane=wish.lane,
            owner=Owner(user=wish.user, group=wish.group),
            target=wish.target,
            priority=Priority(wish.priority),
        )
        try:
            self._post.eyes.publish(wish.lane, wish.priority, encode(request), str(request_id))
        # Whatever pika raises while the broker is away: it is published again.
        except Exception as error:
            self._post.tell(f"wish {wish.number} is published again: {type(error).__name__}")
            return ""
        return str(request_id)

    def _fail(self, wish: Wish, why: str) -> None:
        self.failures.append(f"wish {wish.number} ({wish.sort}) could not be sent: {why}")
